"""From what the feed knows to what the page says: pure, and in words that are ready to be shown.

Two views that are equal look the same, so whoever shows them pushes only what differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboard.colours import OTHER
from dashboard.comparison import Changes, changes, received_today
from dashboard.formats import UNKNOWN, Formats
from dashboard.messages import Amount, minute_of_day
from dashboard.moments import Moment

#: Stores shown among the first, and among the last.
MOST_STORES = 5
#: Colour of a bar that has none of its own.
MARK = "var(--mark)"
#: Categories with a bar of their own; what is beyond them shares one, so that odd data cannot make an endless page.
MOST_BARS = 12
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One category, or one payment mechanism.

    Attributes:
        share: part of all sales, as text; empty where it says nothing.
        width: percent of the longest bar.
        colour: of the bar, as a value for CSS.
    """

    name: str
    amount: str
    share: str
    width: float
    colour: str = MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRow:
    """A store among the first or the last; `place` counts from 1, from the top."""

    place: int
    store: str
    amount: str
    receipts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What has to be said before any number is read; `alarm` marks trouble."""

    text: str
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every live page says.

    Attributes:
        empty: the day has no receipts yet.
    """

    day: str
    updated: str
    notice: Notice | None
    empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The texts of today's page.

    Attributes:
        basket: revenue per receipt; a dash without receipts.
        changes: against other days.
        pace: receipts received in the last minute; `speed` says how fast they were counted.
        payments: by mechanism.
        top, bottom: stores by revenue, the best first, and the worst first; `stores` is how many there are.
        minutes_note: what is not yet right about the minutes; empty when nothing is.
    """

    revenue: str
    receipts: str
    basket: str
    changes: Changes
    pace: str
    speed: str
    bars: tuple[Bar, ...]
    payments: tuple[Bar, ...]
    top: tuple[StoreRow, ...]
    bottom: tuple[StoreRow, ...]
    stores: int
    minutes_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Receipts per minute.

    Attributes:
        minutes, counts: minutes since midnight that have receipts, ascending, and how many.
        start, end: minutes since midnight at the chart's edges, whole hours.
        top: upper end of the scale.
    """

    minutes: tuple[int, ...]
    counts: tuple[int, ...]
    start: int
    end: int
    top: int


def common(moment: Moment) -> Common:
    """The texts of any live page."""
    count, zone = moment.snapshot.count, moment.config.timezone
    return Common(
        day=_day(count.day) if count else UNKNOWN,
        updated=_clock(count.as_of, zone) if count else UNKNOWN,
        notice=_notice(moment),
        empty=count is not None and count.count == 0,
    )


def today(moment: Moment) -> View:
    """The texts of today's page."""
    snapshot, formats = moment.snapshot, moment.formats
    count, day = snapshot.count, snapshot.day
    rate = snapshot.rate if snapshot.rate and snapshot.rate.day == day else None
    categories = snapshot.categories.categories if snapshot.categories and snapshot.categories.day == day else {}
    payments = snapshot.payments.payments if snapshot.payments and snapshot.payments.day == day else {}
    stores = snapshot.stores.stores if snapshot.stores and snapshot.stores.day == day else {}
    top, bottom = ends(stores, formats)
    return View(
        revenue=formats.money(count.sum) if count else UNKNOWN,
        receipts=formats.count(count.count) if count else UNKNOWN,
        basket=formats.money(count.sum / count.count) if count and count.count > 0 else UNKNOWN,
        changes=changes(moment),
        pace=formats.count(round(rate.average_per_minute)) if rate else UNKNOWN,
        speed=_speed(rate.average_ms_system) if rate else "",
        bars=bars(categories, formats, moment.colours.of(categories)),
        payments=bars({name: row.sum for name, row in payments.items()}, formats, nameless="(not named)"),
        top=top,
        bottom=bottom,
        stores=len(stores),
        minutes_note="" if count is None or received_today(moment)[1] else "earlier minutes follow shortly",
    )


def minutes_chart(moment: Moment) -> Chart:
    """The bars of the day so far, and a window of whole hours around them and the last update."""
    snapshot, zone = moment.snapshot, moment.config.timezone
    day, count = snapshot.day, snapshot.count
    rows = _rows(received_today(moment)[0])
    seen = [minute for minute, _ in rows]
    if count:
        at = datetime.fromtimestamp(count.as_of, zone)
        if at.date().isoformat() == day:
            seen.append(at.hour * 60 + at.minute)
    start = min(seen, default=0) // 60 * 60
    end = (max(seen) // 60 + 1) * 60 if seen else _MINUTES_A_DAY
    counts = tuple(number for _, number in rows)
    return Chart(
        minutes=tuple(minute for minute, _ in rows),
        counts=counts,
        start=start,
        end=end,
        top=nice_top(max(counts, default=0)),
    )


def bars(
    categories: Mapping[str, Decimal],
    formats: Formats,
    colours: Mapping[str, str] | None = None,
    *,
    nameless: str = "(no category)",
) -> tuple[Bar, ...]:
    """Categories by sales, largest first; those beyond the limit share the last bar.

    Arguments:
        colours: name → colour as a value for CSS; one for all when there is none.
        nameless: what stands for an empty name.
    """
    ordered = sorted(categories.items(), key=lambda row: (-row[1], row[0]))
    if len(ordered) > MOST_BARS:
        rest = ordered[MOST_BARS - 1 :]
        ordered = [
            *ordered[: MOST_BARS - 1],
            (f"{formats.count(len(rest))} others", sum((amount for _, amount in rest), Decimal())),
        ]
    total = sum((amount for _, amount in ordered), Decimal())
    longest = max((amount for _, amount in ordered), default=Decimal())
    return tuple(
        Bar(
            name=name or nameless,
            amount=formats.money(amount),
            colour=colours.get(name, f"var(--{OTHER})") if colours else MARK,
            share=formats.share(amount / total) if total > 0 and amount >= 0 else "",
            # Returns can leave a category below zero: it has an amount, and no bar.
            width=round(float(amount / longest * 100), 1) if longest > 0 and amount > 0 else 0.0,
        )
        for name, amount in ordered
    )


def ends(stores: Mapping[str, Amount], formats: Formats) -> tuple[tuple[StoreRow, ...], tuple[StoreRow, ...]]:
    """The first stores by revenue, and the last from the last one up; no store is in both."""
    ordered = sorted(stores.items(), key=lambda row: (-row[1].sum, row[0]))
    rows = [
        StoreRow(
            place=place,
            store=store,
            amount=formats.money(row.sum),
            receipts=f"{formats.count(row.count)} receipt{'' if row.count == 1 else 's'}",
        )
        for place, (store, row) in enumerate(ordered, start=1)
        if place <= MOST_STORES or place > len(ordered) - MOST_STORES
    ]
    return tuple(rows[:MOST_STORES]), tuple(reversed(rows[MOST_STORES:]))


def nice_top(highest: int) -> int:
    """The next of 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, … above a number: a scale that rarely changes."""
    if highest < 5:
        return 5
    unit = int("1" + "0" * (len(str(highest)) - 1))
    return next(step * unit // 2 for step in (2, 3, 4, 6, 8, 12, 16, 20) if step * unit // 2 > highest)


def _rows(received: Mapping[str, Amount]) -> list[tuple[int, int]]:
    rows = ((minute_of_day(text), amount.count) for text, amount in received.items())
    return sorted((minute, number) for minute, number in rows if minute is not None and number > 0)


def _notice(moment: Moment) -> Notice | None:
    if moment.snapshot.count is None:
        if not moment.stale:
            return Notice(text="Waiting for the first totals …", alarm=False)
        return Notice(
            text=f"Nothing heard from the totals for {_duration(moment.silence)}. Are they running?", alarm=True
        )
    if moment.stale:
        since = _clock(moment.epoch - moment.silence, moment.config.timezone)
        text = f"Not live: no news since {since} ({_duration(moment.silence)}). The figures are as they were then."
        return Notice(text=text, alarm=True)
    if not moment.snapshot.count.complete:
        return Notice(
            text="Catching up: the totals were behind and are reading the ledger. The figures are still too low.",
            alarm=False,
        )
    return None


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def _speed(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"counted in {milliseconds:.0f} ms (mean)"
    return f"counted in {milliseconds / 1000:,.1f} s (mean)"


def _clock(epoch: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(epoch, zone).strftime("%H:%M:%S")


def _day(day: str) -> str:
    """`Saturday 21 November 2026`; what is no date stays as it is."""
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        return day
    return f"{_WEEKDAYS[parsed.weekday()]} {parsed.day} {_MONTHS[parsed.month - 1]} {parsed.year}"


# The page is in English, whatever the locale of the process: strftime would follow it.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
