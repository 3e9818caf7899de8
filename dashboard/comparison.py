"""Today against other days at the same time: pure.

Both sides follow one rule, so that they can be compared: what is on receipts of the minutes before the current local
minute, by the receipts' own time on the wall clock. So the minute under way, which is not whole yet, is on neither
side; a receipt that comes late counts on both sides where it belongs; and on a day when the clocks change, the hour
that is doubled counts as one and the hour that is left out as none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from dashboard.formats import UNKNOWN, Formats
from dashboard.history import DayTotals
from dashboard.messages import Amount
from dashboard.moments import Moment
from dashboard.snapshot import MinuteTables

MINUTES_A_DAY = 24 * 60
NOTHING = Amount(Decimal(), 0)
#: Days that today is compared with, as days before it.
YESTERDAY = 1
A_WEEK_AGO = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a number compares.

    Attributes:
        kind: which way it went; `unknown` where it cannot be said.
        text: `4.2% more`, or a dash.
        than: `than yesterday at 12:40`, or the reason why it cannot be said.
        was: what it was then, with its unit; empty where it is not known.
    """

    kind: Literal["more", "less", "same", "unknown"]
    text: str
    than: str
    was: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Today and another day, both up to the same minute; `reason` says why there is nothing to compare."""

    now: Amount = NOTHING
    then: Amount = NOTHING
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How today compares: revenue with yesterday and with the same weekday a week ago, the others with yesterday."""

    revenue: Change
    revenue_week: Change
    receipts: Change
    basket: Change


def minute_now(moment: Moment) -> int:
    """The local minute under way, 0 to 1439, as minutes since midnight of the business day; 1440 when that day is
    over, 0 before its first total."""
    count = moment.snapshot.count
    if count is None:
        return 0
    at = datetime.fromtimestamp(count.as_of, moment.config.timezone)
    day = at.date().isoformat()
    if day != count.day:
        return MINUTES_A_DAY if day > count.day else 0
    return at.hour * 60 + at.minute


def minutes_today(moment: Moment) -> Mapping[str, Amount] | None:
    """Today's minutes `HH:MM`, by the receipts' own time; None when earlier ones may be missing."""
    return _whole(moment, lambda tables: tables.own, lambda read: read.minutes)


def received_today(moment: Moment) -> tuple[Mapping[str, Amount], bool]:
    """Today's minutes `HH:MM`, by the receipts' arrival, as far as they are known, and whether those are all."""
    whole = _whole(moment, lambda tables: tables.received, lambda read: read.received)
    if whole is not None:
        return whole, True
    tables = moment.snapshot.minutes
    return (tables.received if tables and tables.day == moment.snapshot.day else {}), False


def _whole(
    moment: Moment,
    of_tables: Callable[[MinuteTables], Mapping[str, Amount]],
    of_read: Callable[[DayTotals], Mapping[str, Amount]],
) -> Mapping[str, Amount] | None:
    """Until everything was heard at once, what was read from the store fills the gaps: a minute only grows, so that
    of two figures the larger is the newer. Where it is too old for that, the minutes come to less than the day."""
    snapshot = moment.snapshot
    if snapshot.count is None:
        return None
    if snapshot.count.count == 0:
        return {}
    tables = snapshot.minutes if snapshot.minutes and snapshot.minutes.day == snapshot.day else None
    heard = of_tables(tables) if tables else {}
    if tables is not None and tables.complete:
        return heard
    read = moment.past.days.get(snapshot.count.day)
    if read is None:
        return None
    own = _newer(read.minutes, tables.own if tables else {})
    if sum(row.count for row in own.values()) < snapshot.count.count:
        return None
    return _newer(of_read(read), heard)


def _newer(read: Mapping[str, Amount], heard: Mapping[str, Amount]) -> Mapping[str, Amount]:
    newer = {minute: row for minute, row in heard.items() if minute not in read or row.count >= read[minute].count}
    return {**read, **newer}


def minutes_before(moment: Moment, ago: int) -> Mapping[str, Amount] | None:
    """The minutes of the day so many days before the business day; None when it was not read."""
    day = moment.snapshot.day
    found = moment.past.before(day, ago) if day else None
    return found.minutes if found else None


def until(minutes: Mapping[str, Amount], end: int) -> Amount:
    """What the minutes before one, in minutes since midnight, add up to."""
    text = clock(end)
    rows = [amount for minute, amount in minutes.items() if minute < text]
    return Amount(sum((row.sum for row in rows), Decimal()), sum(row.count for row in rows))


def sides(moment: Moment, ago: int) -> Sides:
    """Today and the day so many days before it, at the same time."""
    if moment.snapshot.count is None:
        return Sides(reason="nothing heard of today yet")
    today, then, end = minutes_today(moment), minutes_before(moment, ago), minute_now(moment)
    if then is None:
        return Sides(reason="the store does not answer" if moment.past.failing else "not read from the store yet")
    if not then:
        return Sides(reason="no receipts of that day")
    if today is None:
        return Sides(reason="today's earlier minutes are still to come")
    if end == 0:
        return Sides(reason="the day has only begun")
    before = until(then, end)
    if before.count == 0:
        return Sides(reason=f"no receipts before {clock(end)}")
    return Sides(now=until(today, end), then=before)


def changes(moment: Moment) -> Changes:
    """Today's numbers against those of other days."""
    yesterday, week = sides(moment, YESTERDAY), sides(moment, A_WEEK_AGO)
    return Changes(
        revenue=_revenue(moment, "yesterday", yesterday),
        revenue_week=_revenue(moment, "a week ago", week),
        receipts=_receipts(moment, "yesterday", yesterday),
        basket=_basket(moment, "yesterday", yesterday),
    )


def clock(minute: int) -> str:
    """`12:40` of minutes since midnight; the end of the day is `24:00`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def _revenue(moment: Moment, other: str, found: Sides) -> Change:
    """Revenue against another day, by its name."""
    pair = _Pair(found.now.sum, found.then.sum, moment.formats.money(found.then.sum), found.reason)
    return _change(moment, other, pair, ("more", "less"))


def _receipts(moment: Moment, other: str, found: Sides) -> Change:
    """The number of receipts against another day's."""
    now, then = found.now.count, found.then.count
    pair = _Pair(Decimal(now), Decimal(then), moment.formats.count(then), found.reason)
    return _change(moment, other, pair, ("more", "fewer"))


def _basket(moment: Moment, other: str, found: Sides) -> Change:
    """The average basket against another day's."""
    none = f"no receipts today before {clock(minute_now(moment))}" if not found.now.count else ""
    now, then = (side.sum / side.count if side.count else Decimal() for side in (found.now, found.then))
    pair = _Pair(now, then, moment.formats.money(then), found.reason or none)
    return _change(moment, other, pair, ("higher", "lower"))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two numbers, the earlier one as text, and why they cannot be compared, if so."""

    now: Decimal
    then: Decimal
    was: str
    reason: str


def _change(moment: Moment, other: str, pair: _Pair, words: tuple[str, str]) -> Change:
    """Words are for more and for less."""
    if pair.reason:
        return Change(kind="unknown", text=UNKNOWN, than=f"{other}: {pair.reason}")
    at = clock(minute_now(moment))
    if pair.then <= 0:  # returns alone, say: no part of them means anything
        return Change(kind="unknown", text=UNKNOWN, than=f"{other} at {at}: nothing to compare with", was=pair.was)
    ratio = (pair.now - pair.then) / pair.then
    size = _size(ratio, moment.formats)
    if size is None:
        return Change(kind="same", text="the same", than=f"as {other} at {at}", was=pair.was)
    if ratio > 0:
        return Change(kind="more", text=f"{size} {words[0]}", than=f"than {other} at {at}", was=pair.was)
    return Change(kind="less", text=f"{size} {words[1]}", than=f"than {other} at {at}", was=pair.was)


def _size(ratio: Decimal, formats: Formats) -> str | None:
    """The size of a change as text; None when it rounds to nothing."""
    text = formats.share(abs(ratio))
    return None if text == formats.share(Decimal()) else text
