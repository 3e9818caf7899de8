"""Backoff: a table of attempts and delays."""

import pytest

from runtime import Backoff


@pytest.mark.parametrize(
    ("attempt", "chance", "expected"),
    [
        (1, 0.0, 0.1),
        (2, 0.0, 0.2),
        (3, 0.0, 0.4),
        (8, 0.0, 10.0),
        (10_000, 0.0, 10.0),
        (0, 0.0, 0.1),
        (1, 0.5, 0.075),
        (3, 1.0, 0.2),
        (100, 0.999999, 5.000005),
    ],
)
def test_delay_doubles_up_to_the_cap_less_the_jitter(attempt: int, chance: float, expected: float) -> None:
    """A delay is base · 2^(attempt-1), at most the cap, shortened by chance times the jitter."""
    assert Backoff(base_s=0.1, cap_s=10.0, jitter=0.5).delay(attempt, chance) == pytest.approx(expected)


def test_without_jitter_chance_changes_nothing() -> None:
    """Jitter 0 makes delays exact."""
    assert Backoff(base_s=1, cap_s=4, jitter=0).delay(2, 0.9) == 2


@pytest.mark.parametrize("wrong", [{"base_s": 0}, {"base_s": 2, "cap_s": 1}, {"jitter": 1.1}, {"jitter": -0.1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """A back-off that would not wait, or wait backwards, cannot be made."""
    with pytest.raises(ValueError, match="expected"):
        Backoff(**wrong)
