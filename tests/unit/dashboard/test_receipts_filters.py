"""Reading what somebody looks for, and writing it into an address again."""

from collections.abc import Mapping

import pytest
from babel import Locale

from dashboard.pages.receipts_filters import Filters, Form, read_form
from store.protocol import EventQuery

TODAY = "2026-11-21"


def form(given: Mapping[str, str], locale: str = "en") -> Form:
    """An address as it is read."""
    return read_form(given.get, today=TODAY, locale=Locale.parse(locale))


def filters(given: Mapping[str, str]) -> Filters:
    """What a right address asks for."""
    read = form(given)
    assert read.errors == {}
    assert read.filters is not None
    return read.filters


def test_without_a_word_the_day_is_today() -> None:
    """The plain address lists today's receipts."""
    assert filters({}) == Filters(day=TODAY)
    assert filters({"category": "Pain", "min": "5"}).day == TODAY


def test_a_link_to_a_store_or_customer_is_about_all_days() -> None:
    """What an index leads to needs no day; an empty day means any."""
    assert filters({"store": "612"}) == Filters(keys={"store": "612"})
    assert filters({"customer": "85320"}).day == ""
    assert filters({"day": ""}) == Filters()
    assert filters({"day": "2026-11-18", "store": "612"}).day == "2026-11-18"


def test_everything_reaches_the_store() -> None:
    """Each field becomes a condition; what is empty becomes none."""
    given = {
        "day": "2026-11-18",
        "receipt": "40213",
        "store": "612",
        "terminal": "3",
        "customer": "85320",
        "category": "Pain",
        "min": "5",
        "max": "26,53",
    }
    assert filters(given).query(after="x", limit=51) == EventQuery(
        day="2026-11-18",
        keys={"receipt": "40213", "store": "612", "terminal": "3", "customer": "85320"},
        category="Pain",
        at_least=50_000,
        at_most=265_300,
        after="x",
        limit=51,
    )
    assert Filters().query(limit=5) == EventQuery(limit=5)


def test_ids_and_names_are_read_exactly() -> None:
    """Blanks of any kind around ids and names belong to them; around a day and an amount they do not."""
    given = {"store": "612   ", "customer": "\u00a07", "terminal": "  ", "category": " Pain"}
    read = filters({**given, "day": " 2026-11-18 ", "min": " 5 "})
    assert read.query(limit=1).keys == {"store": "612   ", "customer": "\u00a07", "terminal": "  "}
    assert (read.category, read.day, read.at_least) == (" Pain", "2026-11-18", 50_000)
    assert filters(read.parameters()) == read
    assert read.bare().parameters() == {
        "day": "2026-11-18",
        "store": "612",
        "customer": "7",
        "category": "Pain",
        "min": "5.00",
    }


def test_an_address_is_read_as_it_was_written() -> None:
    """Filters → parameters → filters changes nothing, and one can be left out."""
    asked = Filters(day=TODAY, keys={"store": "6 & 12"}, category="Café=", at_least=-5, at_most=1_000_000)
    assert filters(asked.parameters()) == asked
    assert asked.parameters(without="category") == {"day": TODAY, "store": "6 & 12", "min": "-0.0005", "max": "100.00"}
    assert asked.parameters(without="day")["day"] == ""
    assert filters(asked.parameters(without="store")).keys == {}
    assert Filters().parameters() == {"day": ""}


def test_wrong_fields_are_named_and_nothing_is_lost() -> None:
    """Each wrong field has its own sentence, and all texts stay as they were typed."""
    read = form({"day": "2026-02-30", "store": "612", "min": "abc", "max": "1.23456", "customer": "x" * 301})
    assert read.filters is None
    assert set(read.errors) == {"day", "min", "max", "customer"}
    assert (read.values["day"], read.values["store"], read.values["min"]) == ("2026-02-30", "612", "abc")


def test_a_range_has_to_have_room() -> None:
    """From more than to is a mistake; from as much as to is an exact amount."""
    assert set(form({"min": "5", "max": "4"}).errors) == {"max"}
    assert filters({"min": "5", "max": "5"}).at_most == 50_000


@pytest.mark.parametrize("day", ["21.11.2026", "2026-1-1", "20261121", "2026-W01-1", "yesterday", "2026-13-01"])
def test_a_day_has_one_form(day: str) -> None:
    """What Python would take for a date beyond that is not taken."""
    assert set(form({"day": day}).errors) == {"day"}


def test_only_what_no_index_leads_to_is_slow() -> None:
    """A category or amount alone is looked for in all that there is."""
    assert not Filters(category="Pain").indexed
    assert not Filters(at_most=5).indexed
    assert Filters(category="Pain", day=TODAY).indexed
    assert Filters(keys={"store": "1"}, at_least=5).indexed
    assert Filters().indexed
