"""A page of the list of receipts, in words that are ready to be shown. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.dates import format_date

from dashboard.formats import Formats
from dashboard.pages.amounts import amount_text
from dashboard.pages.receipts_filters import Filters
from store.protocol import StoredEvent

#: Categories of a receipt that are named in its row; the others are counted.
MOST_CATEGORIES = 4
#: Characters of an id or name in a row: what is longer is on the receipt.
LONGEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One receipt.

    Attributes:
        iso: its date and time as browsers read them.
        others: how many categories are not named.
    """

    id: str
    iso: str
    day: str
    time: str
    store: str
    terminal: str
    receipt: str
    customer: str
    categories: tuple[str, ...]
    others: int
    amount: str
    negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A filter that is on.

    Attributes:
        name: its parameter.
    """

    name: str
    text: str


def row(event: StoredEvent, zone: ZoneInfo, formats: Formats) -> Row:
    """A stored receipt as a row."""
    at = datetime.fromtimestamp(event.time, zone)
    keys = event.keys
    return Row(
        id=event.id,
        iso=at.isoformat(timespec="seconds"),
        day=event.day,
        time=at.strftime("%H:%M:%S"),
        store=short(keys.get("store", "")),
        terminal=short(keys.get("terminal", "")),
        receipt=short(keys.get("receipt", "")),
        customer=short(keys.get("customer", "")),
        categories=event.categories[:MOST_CATEGORIES],
        others=max(0, len(event.categories) - MOST_CATEGORIES),
        amount=exact(Decimal(event.amount).scaleb(-4), formats),
        negative=event.amount < 0,
    )


def chips(filters: Filters, formats: Formats) -> list[Chip]:
    """The filters that are on, in words."""

    def money(units: int) -> str:
        return f"{exact(Decimal(amount_text(units)), formats)} {formats.currency}"

    found = [Chip(name="day", text=long_day(filters.day))] if filters.day else []
    found += [Chip(name=name, text=f"{name} {short(value)}") for name, value in filters.keys.items()]
    if filters.category:
        found.append(Chip(name="category", text=f"with {short(filters.category)}"))
    if filters.at_least is not None:
        found.append(Chip(name="min", text=f"from {money(filters.at_least)}"))
    if filters.at_most is not None:
        found.append(Chip(name="max", text=f"up to {money(filters.at_most)}"))
    return found


def names(events: Sequence[StoredEvent]) -> list[str]:
    """All categories of these receipts, each once."""
    return list(dict.fromkeys(name for event in events for name in event.categories))


def exact(amount: Decimal, formats: Formats) -> str:
    """An amount with the digits of its currency, or with all that it has."""
    cents = Decimal(1).scaleb(-formats.digits)
    return formats.amount(amount) if amount == amount.quantize(cents) else formats.quantity(amount)


def short(text: str) -> str:
    """A text that fits in a row."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def long_day(day: str) -> str:
    """`Saturday 21 November 2026`: pages are in English, whatever the locale of numbers."""
    return format_date(date.fromisoformat(day), "EEEE d MMMM y", locale="en")
