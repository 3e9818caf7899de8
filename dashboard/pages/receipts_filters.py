"""What somebody looks for among the receipts: read from an address, and written into one again. Pure.

An address without a day means today, unless it names a store, terminal, customer or receipt: these have indexes of
their own. `day=` means any day.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from babel import Locale

from dashboard.pages.amounts import amount_text, read_amount
from store.protocol import EventQuery

#: Parameters that are looked up by their index.
KEYS = ("receipt", "store", "terminal", "customer")
#: All parameters, in the order in which they are shown.
PARAMETERS = ("day", *KEYS, "category", "min", "max")
#: Parameters that are not compared as they are.
_READ = ("day", "min", "max")
#: A text longer than this is no id or name of anybody's.
LONGEST = 300

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is looked for; what is empty or None does not matter.

    Attributes:
        day: business day `YYYY-MM-DD`.
        keys: parameter → value, of `KEYS`; none is empty.
        at_least, at_most: 1/10000, inclusive.
    """

    day: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    category: str = ""
    at_least: int | None = None
    at_most: int | None = None

    def query(self, *, after: str = "", limit: int) -> EventQuery:
        """The same as the store is asked it."""
        return EventQuery(
            day=self.day or None,
            keys=self.keys,
            category=self.category or None,
            at_least=self.at_least,
            at_most=self.at_most,
            after=after or None,
            limit=limit,
        )

    def parameters(self, without: str = "") -> dict[str, str]:
        """The same as an address says it, perhaps without one of them. The day is always said, so that an address
        that was kept means the same tomorrow."""
        values = {"day": self.day, **self.keys, "category": self.category}
        values["min"] = "" if self.at_least is None else amount_text(self.at_least)
        values["max"] = "" if self.at_most is None else amount_text(self.at_most)
        if without:
            values[without] = ""
        return {name: value for name in PARAMETERS if (value := values.get(name, "")) or name == "day"}

    def bare(self) -> "Filters":
        """The same without the blanks around ids and names, for somebody who did not mean them."""
        keys = {name: bare for name, value in self.keys.items() if (bare := value.strip())}
        return replace(self, keys=keys, category=self.category.strip())

    @property
    def indexed(self) -> bool:
        """Whether an index leads to these receipts; otherwise the store may have to look at all that it has."""
        return bool(
            self.day or self.keys or not (self.category or self.at_least is not None or self.at_most is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An address as it was read.

    Attributes:
        values: parameter → text for its field, as it was given; empty when it was not.
        errors: parameter → what was expected.
        filters: None if there are errors.
    """

    values: Mapping[str, str]
    errors: Mapping[str, str]
    filters: Filters | None


def read_form(given: Callable[[str], str | None], *, today: str, locale: Locale) -> Form:
    """Read an address.

    Arguments:
        given: parameter → its text, None when it is not there.
        today: the current business day.
        locale: of people who write amounts.
    """
    texts = {name: given(name) for name in PARAMETERS}
    if texts["day"] is None and not any(texts[name] for name in KEYS):
        texts["day"] = today
    # Days and amounts are read as people write them; ids and names are compared exactly, with the blanks around them.
    values = {name: (text or "").strip() if name in _READ else text or "" for name, text in texts.items()}
    errors: dict[str, str] = {
        name: f"Expected at most {LONGEST} characters." for name, text in values.items() if len(text) > LONGEST
    }
    bounds: dict[str, int | None] = {"min": None, "max": None}
    for name in bounds:
        if values[name] and name not in errors:
            try:
                bounds[name] = read_amount(values[name], locale)
            except ValueError as exc:
                errors[name] = str(exc)
    low, high = bounds["min"], bounds["max"]
    if low is not None and high is not None and low > high:
        errors["max"] = "Expected no less than the amount from which the list begins."
    if "day" not in errors and values["day"] and not _is_day(values["day"]):
        errors["day"] = "Expected a day such as 2026-11-21."
    if errors:
        return Form(values=values, errors=errors, filters=None)
    filters = Filters(
        day=values["day"],
        keys={name: values[name] for name in KEYS if values[name]},
        category=values["category"],
        at_least=low,
        at_most=high,
    )
    return Form(values=values, errors={}, filters=filters)


def _is_day(text: str) -> bool:
    try:
        return _DAY.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False
