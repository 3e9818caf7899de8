"""A set of frames in constant memory."""

from engine.frame_filter import FrameFilter


def test_a_frame_that_was_added_is_never_missing() -> None:
    """And hardly any other is taken for one of them, nor by two filters for the same reason."""
    one, other = FrameFilter(), FrameFilter()
    for number in range(20_000):
        for each in (one, other):
            each.add(f"{number:032x}")
    assert all(f"{number:032x}" in one for number in range(20_000))
    assert sum(f"x{number:031x}" in one for number in range(20_000)) <= 1
    assert one._places("x") != other._places("x")
