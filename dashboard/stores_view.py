"""The day by store, as the page of all stores shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from dashboard.formats import UNKNOWN
from dashboard.messages import Amount
from dashboard.moments import Moment

#: A store's row: revenue in 1/100, as a browser's numbers hold it exactly, and receipts.
Row = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresFacts:
    """What all stores have in common, as text.

    Attributes:
        average: revenue of a store, on average; empty without stores.
    """

    stores: str
    revenue: str
    receipts: str
    average: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What turns the rows that are shown into the rows that are.

    Attributes:
        changed: names of rows with new numbers.
        added: names of rows that were not there.
        anew: all has to be shown again: rows are gone, so this is another day.
    """

    changed: tuple[str, ...] = field(default=())
    added: tuple[str, ...] = field(default=())
    anew: bool = False


def stores_of_day(moment: Moment) -> Mapping[str, Amount]:
    """The stores of the day that is shown; empty while they are not known."""
    stores = moment.snapshot.stores
    return stores.stores if stores and stores.day == moment.snapshot.day else {}


def store_rows(moment: Moment) -> Mapping[str, Row]:
    """Store → its row."""
    return {name: (cents(amount.sum), amount.count) for name, amount in stores_of_day(moment).items()}


def changes(before: Mapping[str, Row], now: Mapping[str, Row]) -> Changes:
    """What differs between two mappings of rows."""
    added = tuple(name for name in now if name not in before)
    if len(before) + len(added) != len(now):
        return Changes(anew=True)
    return Changes(changed=tuple(name for name, row in before.items() if now[name] != row), added=added)


def stores_facts(moment: Moment) -> StoresFacts:
    """The figures beside the table. Revenue and receipts are the sums of its rows, so that they always agree."""
    known, formats = moment.snapshot.stores is not None, moment.formats
    stores = stores_of_day(moment).values()
    revenue, receipts = sum((store.sum for store in stores), Decimal()), sum(store.count for store in stores)
    return StoresFacts(
        stores=formats.count(len(stores)) if known else UNKNOWN,
        revenue=formats.money(revenue) if known else UNKNOWN,
        receipts=formats.count(receipts) if known else UNKNOWN,
        average=formats.money(revenue / len(stores)) if stores else "",
    )


def cents(amount: Decimal) -> int:
    """An amount in 1/100; what is published has two digits, so nothing is lost."""
    return int((amount * 100).to_integral_value())
