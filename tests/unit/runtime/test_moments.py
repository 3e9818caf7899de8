"""Moments as people write them."""

from zoneinfo import ZoneInfo

import pytest

from runtime import read_moment

PARIS = ZoneInfo("Europe/Paris")
NOW = 1795265998.5


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2h", NOW - 7200),
        (" 3d ago ", NOW - 3 * 86_400),
        ("30 minutes ago", NOW - 1800),
        ("1.5 Hours", NOW - 5400),
        ("1w", NOW - 7 * 86_400),
        ("0s", NOW),
        ("2026-11-21", 1795215600.0),
        ("2026-11-21 08:30", 1795246200.0),
        ("2026-11-21T08:30:15", 1795246215.0),
        ("2026-11-21T07:30:15.500Z", 1795246215.5),
        ("2026-11-21t09:30:15+02:00", 1795246215.0),
        ("2026-10-25 02:30:00", 1792888200.0),
        ("1795246215.25", 1795246215.25),
    ],
)
def test_a_moment_is_read(text: str, epoch: float) -> None:
    """How long ago, local days and times, RFC 3339, epoch seconds."""
    assert read_moment(text, now=NOW, zone=PARIS) == epoch


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "3 months ago",
        "2 x",
        "-1h",
        "2026-02-30",
        "2026-11-21T25:00",
        "21.11.2026",
        "0000-01-01",
        "1e9",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match="a time such as 2026-11-21, "):
        read_moment(text, now=NOW, zone=PARIS)


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T08:30"])
def test_without_a_zone_an_offset_is_needed(text: str) -> None:
    """A guess would be wrong by hours; moments that mean one thing everywhere are read."""
    with pytest.raises(ValueError, match="08:30:00Z"):
        read_moment(text, now=NOW, zone=None)
    assert read_moment("2026-11-21T07:30:15Z", now=NOW, zone=None) == 1795246215.0
    assert read_moment("1h", now=NOW, zone=None) == NOW - 3600
