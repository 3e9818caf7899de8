"""Revenue over the day, today's and yesterday's, as lines that rise: pure.

Lines are of points some minutes apart, each with what was sold before its minute: a day is few points, and of these
hardly any changes. What is later than the last of today's points is drawn by itself, up to the minute under way.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from dashboard.comparison import MINUTES_A_DAY, YESTERDAY, clock, minute_now, minutes_before, minutes_today
from dashboard.messages import Amount
from dashboard.moments import Moment
from dashboard.view import nice_top

#: Minutes between the points of a line.
STEP = 5
_MINUTES = {clock(minute): minute for minute in range(MINUTES_A_DAY)}
#: The highest point stays below the top of the scale, so that its name has room.
HEADROOM = 1.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Amounts are in the currency's unit, as numbers to be drawn; NaN would not be equal to itself, so what is not
    there is None.

    Attributes:
        at: minutes since midnight of the points, ascending, from `start` to `end`.
        today, before: what was sold before each, today (None from the minute under way) and yesterday.
        now: the minute under way and what was sold by now; None when that is not known.
        last: the last minute of yesterday and its whole; None when yesterday has nothing.
        start, end: edges of the chart, whole hours.
        bottom, top: of the scale.
        note: all of it in a sentence.
    """

    at: tuple[int, ...]
    today: tuple[float | None, ...]
    before: tuple[float | None, ...]
    now: tuple[int, float] | None
    last: tuple[int, float] | None
    start: int
    end: int
    bottom: float
    top: float
    note: str


def curve(moment: Moment) -> Curve:
    """The lines of the day so far and of the day before."""
    heard, before = minutes_today(moment), _by_minute(minutes_before(moment, YESTERDAY) or {})
    today = None if heard is None else _by_minute(heard)
    end_of_today = minute_now(moment)
    count = moment.snapshot.count
    seen = [*(today or ()), *before, *([end_of_today] if count else ())]
    # An hour at least, also where the day is over: our time zone is another than that of the totals, say.
    start = min(min(seen, default=0) // 60 * 60, MINUTES_A_DAY - 60)
    end = min((max(seen, default=MINUTES_A_DAY - 1) // 60 + 1) * 60, MINUTES_A_DAY)
    at = tuple(range(start, end + 1, STEP))
    lines = (
        _line(today, at, end_of_today) if today else (None,) * len(at),
        _line(before, at, end) if before else (None,) * len(at),
    )
    now = (end_of_today, float(count.sum)) if count and today is not None else None
    last = (max(before) + 1, float(sum(row.sum for row in before.values()))) if before else None
    values = [value for line in lines for value in line if value is not None]
    values += [point[1] for point in (now, last) if point]
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    return Curve(
        at=at,
        today=lines[0],
        before=lines[1],
        now=now,
        last=last,
        start=start,
        end=end,
        bottom=-float(nice_top(int(-lowest * HEADROOM))) if lowest < 0 else 0.0,
        top=float(nice_top(int(highest * HEADROOM) + 1)),
        note=_note(moment, today, before),
    )


def _line(minutes: Mapping[int, Amount], at: tuple[int, ...], end: int) -> tuple[float | None, ...]:
    """What was sold before each point, up to a minute."""
    ordered = sorted(minutes)
    sums = [Decimal(), *accumulate(minutes[minute].sum for minute in ordered)]
    return tuple(float(sums[bisect_left(ordered, minute)]) if minute <= end else None for minute in at)


def _note(moment: Moment, today: Mapping[int, Amount] | None, before: Mapping[int, Amount]) -> str:
    money, count = moment.formats.money, moment.snapshot.count
    if count is None:
        return "Nothing is known of today yet."
    said = f"Today {money(count.sum)} so far"
    if today is None:
        said += ", in minutes that are still to come"
    if not before:
        read = moment.past.before(count.day, YESTERDAY) is not None
        return f"{said}. {'Yesterday had no receipts' if read else 'Yesterday was not read from the store yet'}."
    end = minute_now(moment)
    then = sum((row.sum for minute, row in before.items() if minute < end), Decimal())
    whole = sum((row.sum for row in before.values()), Decimal())
    return f"{said}; yesterday {money(then)} by {clock(end)}, and {money(whole)} in all."


def _by_minute(minutes: Mapping[str, Amount]) -> dict[int, Amount]:
    return {_MINUTES[text]: amount for text, amount in minutes.items() if text in _MINUTES}
