"""The day by store, without a browser."""

from typing import Any

from dashboard.formats import UNKNOWN
from dashboard.store_view import events_of, ranks, store_facts
from dashboard.stores_view import Changes, changes, store_rows, stores_facts
from tests.unit.dashboard.said import body, count, feed_of, moment_of

SOLD = {"7": (10.05, 2), "612": (30.0, 4), "<b>": (10.05, 1), "9": (-0.5, 1)}


def stores(rows: dict[str, tuple[float, int]], **stamp: Any) -> tuple[str, str, bytes]:
    """A message of stores."""
    said = {name: {"sum": sum_, "count": number} for name, (sum_, number) in rows.items()}
    return "metrics", "receipts.stores", body(stores=said, **stamp)


def test_rows_are_whole_hundredths() -> None:
    """Amounts reach the browser as whole numbers, so that nothing is lost on the way."""
    moment = moment_of(feed_of(count(49.6, 8), stores(SOLD)))
    assert store_rows(moment) == {"7": (1005, 2), "612": (3000, 4), "<b>": (1005, 1), "9": (-50, 1)}


def test_the_figures_are_those_of_the_rows() -> None:
    """Revenue, receipts and the average are added up from the same rows as the table."""
    facts = stores_facts(moment_of(feed_of(count(1.0, 1), stores(SOLD))))
    assert (facts.stores, facts.revenue, facts.receipts, facts.average) == ("4", "€49.60", "8", "€12.40")


def test_what_is_not_known_is_a_dash() -> None:
    """Before the first message there are no numbers; stores of another day than the one shown do not count."""
    nothing = stores_facts(moment_of(feed_of()))
    assert (nothing.stores, nothing.revenue, nothing.receipts, nothing.average) == (UNKNOWN, UNKNOWN, UNKNOWN, "")
    assert store_rows(moment_of(feed_of(count(1.0, 1, day="2026-11-22"), stores(SOLD)))) == {}


def test_only_what_differs_is_pushed() -> None:
    """Rows with new numbers are changed, new names are added; when a name is gone, all is shown anew."""
    before = {"1": (100, 1), "2": (200, 2)}
    assert changes(before, dict(before)) == Changes()
    assert changes(before, {"1": (100, 1), "2": (250, 3)}) == Changes(changed=("2",))
    assert changes(before, {**before, "3": (1, 1)}) == Changes(added=("3",))
    assert changes(before, {"1": (101, 2), "2": (200, 2), "3": (1, 1)}) == Changes(changed=("1",), added=("3",))
    assert changes(before, {"1": (100, 1)}) == Changes(anew=True)
    assert changes(before, {"1": (100, 1), "3": (200, 2)}) == Changes(anew=True)


def test_a_store_among_the_others() -> None:
    """Share of all revenue, place by revenue; stores that sold the same share a place."""
    moment = moment_of(feed_of(count(49.6, 8), stores(SOLD)))
    facts = {name: store_facts(moment, name, ranks(moment)) for name in SOLD}
    assert [facts[name].rank for name in SOLD] == ["2 of 4", "1 of 4", "2 of 4", "4 of 4"]
    assert (facts["612"].revenue, facts["612"].receipts, facts["612"].basket) == ("€30.00", "4", "€7.50")
    assert facts["612"].share == "60.5%"
    assert facts["9"].share == ""
    assert events_of(moment, "612") == 4


def test_a_store_without_receipts_is_known_to_have_none() -> None:
    """Nothing sold is a zero; nothing heard is a dash."""
    moment = moment_of(feed_of(count(49.6, 8), stores(SOLD)))
    nobody = store_facts(moment, "nobody", ranks(moment))
    assert (nobody.known, nobody.revenue, nobody.receipts, nobody.rank) == (False, "€0.00", "0", "")
    silent = moment_of(feed_of())
    assert store_facts(silent, "612", ranks(silent)).revenue == UNKNOWN
    assert events_of(silent, "612") == 0
