"""Moments as people write them: a date, a time, or how long ago."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) *([a-z]+)(?: +ago)?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{3}|\.\d{6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_EPOCH = re.compile(r"\d{1,11}(?:\.\d{1,6})?", re.ASCII)


def read_moment(text: str, *, now: float, zone: ZoneInfo | None) -> float:
    """A moment in epoch seconds, from `2026-11-21`, `2026-11-21 08:30`, RFC 3339, `2h`, `3d ago`, or epoch seconds.

    Arguments:
        now: what `ago` is counted from, epoch seconds.
        zone: of days and of times without an offset (one that it has twice is the first); None refuses them.
    Raises ValueError with one phrase that says what was expected.
    """
    given = text.strip()
    match = _AGO.fullmatch(given.lower())
    if match and match[2] in _UNITS:
        return now - float(match[1]) * _UNITS[match[2]]
    if _EPOCH.fullmatch(given):
        return float(given)
    match = _TIME.fullmatch(given.upper())
    if match and (match[1] or zone):
        try:
            moment = datetime.fromisoformat(given.upper())
            return (moment if match[1] else moment.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError):  # a day or an hour that does not exist
            pass
    expected = "2026-11-21, 2026-11-21T08:30 or 3d" if zone else "2026-11-21T08:30:00Z, 3d or epoch seconds"
    raise ValueError(f"a time such as {expected}, not {text[:40]!r}")
