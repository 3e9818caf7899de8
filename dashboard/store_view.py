"""One store's day in words and numbers that are ready to be shown. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from analytics.tally import DayTally
from dashboard.colours import Colours
from dashboard.formats import UNKNOWN, Formats
from dashboard.messages import Amount
from dashboard.moments import Moment
from dashboard.store_day import StoreDay
from dashboard.stores_view import stores_of_day

#: Amounts in tallies are whole numbers of this part.
_SCALE = 10_000
#: Hours that are shown even if they are without receipts: a day with one hour of sales is to look like that.
OPENS, CLOSES = 6, 19
#: Categories or payments with a line of their own; the others share one.
MOST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """A store's live figures, from the totals.

    Attributes:
        known: the store has receipts of the day.
        basket: revenue per receipt; empty without receipts.
        share: of the revenue of all stores; empty where it says nothing.
        rank: its place among the stores by revenue, and how many there are: `3 of 812`; empty without receipts.
    """

    known: bool
    revenue: str
    receipts: str
    basket: str
    share: str
    rank: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What a store sold in one hour of the day.

    Attributes:
        hour: 0 to 23.
        height: percent of the highest hour; 0 for none, and for an hour of more returns than sales.
    """

    hour: int
    revenue: str
    receipts: str
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One category or payment mechanism.

    Attributes:
        name: as in the receipts; empty for what has none.
        detail: what else there is to say of it.
        share: of all lines, as text; empty where it says nothing.
        width: percent of the longest line.
        colour: as a value for CSS; empty where lines have none of their own.
        rest: this is several, which share a line; the name says how many.
    """

    name: str
    amount: str
    detail: str
    share: str
    width: float
    colour: str = ""
    rest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """One of the newest receipts.

    Attributes:
        time: `HH:MM:SS`, local.
    """

    id: str
    time: str
    number: str
    terminal: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDetails:
    """A store's day as it was read from the store.

    Attributes:
        hours: without gaps from the first hour with receipts to the last one, and at least OPENS to CLOSES.
        note: when it was read, and what is missing.
    """

    hours: tuple[Hour, ...]
    categories: tuple[Line, ...]
    payments: tuple[Line, ...]
    newest: tuple[Latest, ...]
    note: str


@lru_cache(maxsize=1)
def ranks(moment: Moment) -> Mapping[Decimal, int]:
    """Revenue → place among the stores of the day; stores with the same revenue share a place."""
    places: dict[Decimal, int] = {}
    ordered = sorted((amount.sum for amount in stores_of_day(moment).values()), reverse=True)
    for place, revenue in enumerate(ordered, start=1):
        places.setdefault(revenue, place)
    return places


def store_facts(moment: Moment, store: str, places: Mapping[Decimal, int]) -> StoreFacts:
    """The live figures of a store. `places` is what `ranks` made of the same moment."""
    stores, formats = stores_of_day(moment), moment.formats
    mine = stores.get(store)
    if mine is None:
        # Known to have none is something else than not known.
        nothing = moment.snapshot.stores is not None
        return StoreFacts(
            known=False,
            revenue=formats.money(Decimal()) if nothing else UNKNOWN,
            receipts=formats.count(0) if nothing else UNKNOWN,
            basket="",
            share="",
            rank="",
        )
    total = sum((amount.sum for amount in stores.values()), Decimal())
    return StoreFacts(
        known=True,
        revenue=formats.money(mine.sum),
        receipts=formats.count(mine.count),
        basket=formats.money(mine.sum / mine.count) if mine.count > 0 else "",
        share=formats.share(mine.sum / total) if total > 0 and mine.sum >= 0 else "",
        rank=f"{formats.count(places[mine.sum])} of {formats.count(len(stores))}",
    )


def events_of(moment: Moment, store: str) -> int:
    """How many receipts of the store are in the totals."""
    return stores_of_day(moment).get(store, Amount(sum=Decimal(), count=0)).count


def store_details(read: StoreDay, moment: Moment) -> StoreDetails:
    """What was read of a store's day, to be shown."""
    formats, zone = moment.formats, moment.config.timezone
    tables = read.tally.tables
    clock = datetime.fromtimestamp(read.at, zone).strftime("%H:%M:%S")
    note = f"Read from the stored receipts at {clock}"
    if not read.complete:
        note += f"; only the newest {formats.count(read.count)} receipts are counted here"
    return StoreDetails(
        hours=hours(read.tally, formats),
        categories=_lines(
            {
                name: (row[0], f"{formats.quantity(_units(row[1]))} sold")
                for name, row in tables.get("categories", {}).items()
            },
            formats,
            moment.colours,
        ),
        payments=_lines(
            {
                name: (row[0], f"{formats.count(row[1])} payment{'' if row[1] == 1 else 's'}")
                for name, row in tables.get("payments", {}).items()
            },
            formats,
        ),
        newest=tuple(
            Latest(
                id=event.id,
                time=datetime.fromtimestamp(event.time, zone).strftime("%H:%M:%S"),
                number=event.keys.get("receipt", ""),
                terminal=event.keys.get("terminal", ""),
                amount=formats.amount(_units(event.amount)),
            )
            for event in read.newest
        ),
        note=note + ".",
    )


def hours(tally: DayTally, formats: Formats) -> tuple[Hour, ...]:
    """The receipts' own minutes, by the hour."""
    sums: dict[int, list[int]] = {}
    for minute, (count, revenue) in tally.tables.get("minutes", {}).items():
        row = sums.setdefault(int(minute[:2]), [0, 0])
        row[0] += count
        row[1] += revenue
    highest = max((revenue for _, revenue in sums.values()), default=0)
    return tuple(
        Hour(
            hour=hour,
            revenue=formats.money(_units(revenue)),
            receipts=_times(count, formats),
            height=round(revenue / highest * 100, 1) if highest > 0 and revenue > 0 else 0.0,
        )
        for hour in (range(min(*sums, OPENS), max(*sums, CLOSES) + 1) if sums else ())
        for count, revenue in [sums.get(hour, [0, 0])]
    )


def _lines(rows: Mapping[str, tuple[int, str]], formats: Formats, colours: Colours | None = None) -> tuple[Line, ...]:
    """Rows of (amount, detail) by amount, largest first; those beyond MOST_LINES share the last line."""
    ordered = sorted(
        ((name, amount, detail) for name, (amount, detail) in rows.items()), key=lambda row: (-row[1], row[0])
    )
    shown, rest = (
        (ordered, []) if len(ordered) <= MOST_LINES else (ordered[: MOST_LINES - 1], ordered[MOST_LINES - 1 :])
    )
    total = sum(amount for _, amount, _ in ordered)
    together = sum(amount for _, amount, _ in rest)
    longest = max((*(amount for _, amount, _ in shown), together), default=0)

    given = colours.of(name for name, _, _ in shown) if colours else {}

    def line(name: str, amount: int, detail: str, *, several: bool = False) -> Line:
        return Line(
            name=name,
            amount=formats.amount(_units(amount)),
            detail=detail,
            share=formats.share(Decimal(amount) / total) if total > 0 and amount >= 0 else "",
            width=round(amount / longest * 100, 1) if longest > 0 and amount > 0 else 0.0,
            colour="" if several else given.get(name, ""),
            rest=several,
        )

    lines = [line(*row) for row in shown]
    if rest:
        lines.append(line(f"{len(rest)} others", together, "", several=True))
    return tuple(lines)


def _times(count: int, formats: Formats) -> str:
    return f"{formats.count(count)} receipt{'' if count == 1 else 's'}"


def _units(amount: int) -> Decimal:
    return Decimal(amount) / _SCALE
