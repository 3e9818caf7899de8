"""One receipt in words: its slip, its row in the list, its journey."""

from zoneinfo import ZoneInfo

import msgspec
import pytest

from dashboard.formats import Formats
from dashboard.pages.receipt_journey import duration, journey
from dashboard.pages.receipt_slip import Slip, slip
from dashboard.pages.receipts_filters import Filters
from dashboard.pages.receipts_list import chips, long_day, row
from store.protocol import LedgerEntry
from streams import ReceiptStream
from tests.unit.dashboard.stored_receipt import stored
from tests.unit.streams.sample import receipt

PARIS = ZoneInfo("Europe/Paris")


def sheet(changes: dict[str, object] | None = None, locale: str = "en") -> Slip:
    """The slip of the sample, changed."""
    paper = ReceiptStream(PARIS).paper(msgspec.json.encode(receipt(changes)))
    return slip(paper, Formats(locale, "EUR"))


def entry(at: float, seq: int = 12) -> LedgerEntry:
    """What the frame added."""
    return LedgerEntry(frame="f" * 32, stream="receipts", writer="w1", seq=seq, tally=None, at=at)


def test_a_slip_has_every_figure() -> None:
    """Lines with quantity and price, sums, taxes by rate, payments."""
    made = sheet()
    assert (made.title, made.day, made.time) == ("Receipt 40213", "Wednesday 18 November 2026", "11:06:40")
    assert dict(made.facts) == {"Store": "612", "Terminal": "3", "Cashier": "7", "Customer": "85320"}
    assert [(line.text, line.price, line.net, line.rate, line.category, line.amount) for line in made.lines] == [
        ("Menu déjeuner", "3 piece × 7.31", True, "10%", "Menu", "24.12"),  # noqa: RUF001
        ("Baguette tradition", "2 piece × 1.14", True, "5.5%", "Pain", "2.41"),  # noqa: RUF001
    ]
    assert made.sums == (("Net", "24.21"), ("Tax", "2.32"))
    assert made.total == ("Total", "26.53")
    assert made.taxes == (("5.5%", "2.41", "0.13"), ("10%", "24.12", "2.19"))
    assert made.payments == (("CB", "20.00"), ("Especes", "6.53"))
    assert made.remark == ""


def test_numbers_are_written_as_in_the_locale() -> None:
    """A decimal comma where people use one."""
    made = sheet({"documentTotal.grossTotal": 1226.53}, "de")
    assert made.total == ("Total", "1.226,53")
    assert made.lines[0].price == "3 piece × 7,31"  # noqa: RUF001
    assert "not to the total" in made.remark


@pytest.mark.parametrize(
    ("price", "amount", "net"), [(7.31, 24.12, True), (8.04, 24.12, False), (7.31, 21.93, False), (5, 24.12, False)]
)
def test_a_price_without_tax_is_told_by_the_figures(price: float, amount: float, net: bool) -> None:
    """Where neither reading fits the amount nothing is claimed."""
    made = sheet({"lines.0.unitPrice": price, "lines.0.settlementAmount": amount})
    assert made.lines[0].net is net


def test_amounts_finer_than_a_cent_are_shown_in_full() -> None:
    """What the till said is not rounded; a return is marked."""
    made = sheet({"lines.0.settlementAmount": -0.1234})
    assert (made.lines[0].amount, made.lines[0].negative) == ("-0.1234", True)


def test_a_row_of_the_list() -> None:
    """Local time, keys, a few categories and how many more, the amount."""
    many = tuple("ABCDEF")
    shown = row(stored(categories=many, amount=-12_345_000), PARIS, Formats("en", "EUR"))
    assert (shown.time, shown.iso) == ("11:06:40", "2026-11-18T11:06:40+01:00")
    assert (shown.store, shown.terminal, shown.receipt, shown.customer) == ("612", "3", "40213", "85320")
    assert (shown.categories, shown.others) == (("A", "B", "C", "D"), 2)
    assert (shown.amount, shown.negative) == ("-1,234.50", True)
    assert len(row(stored(keys={"store": "9" * 500}), PARIS, Formats()).store) == 40


def test_filters_in_words() -> None:
    """Each has the parameter that takes it away."""
    asked = Filters(day="2026-11-21", keys={"store": "612"}, category="Pain", at_least=125_000, at_most=12_345_000)
    assert [(chip.name, chip.text) for chip in chips(asked, Formats("en", "EUR"))] == [
        ("day", "Saturday 21 November 2026"),
        ("store", "store 612"),
        ("category", "with Pain"),
        ("min", "from 12.50 EUR"),
        ("max", "up to 1,234.50 EUR"),
    ]


def test_a_journey_of_one_flush() -> None:
    """Till, reception, and the flush that stored and counted at once, each with its delay."""
    event = stored()
    steps = journey(event, entry(event.stored), PARIS)
    assert [(step.name, step.at, step.delay, step.odd) for step in steps] == [
        ("Rung up", "2026-11-18 11:06:40", "", False),
        ("Received", "2026-11-18 11:06:41.250", "1.2 s after it was rung up", False),
        ("Stored and counted", "2026-11-18 11:06:41.293", "43 ms after it was received", False),
    ]
    assert steps[-1].note == "Entry 12 in the ledger of writer w1."


def test_a_journey_that_was_interrupted() -> None:
    """Stored by one flush and counted by a later one: two steps; not yet counted is said."""
    event = stored()
    steps = journey(event, entry(event.stored + 75), PARIS)
    assert [step.name for step in steps] == ["Rung up", "Received", "Stored", "Counted"]
    assert steps[-1].delay == "75 s after it was stored"
    waiting = journey(event, None, PARIS)[-1]
    assert (waiting.name, waiting.at, waiting.odd) == ("Counted", "", True)
    assert "Not yet" in waiting.note


def test_a_clock_that_is_ahead_is_said_so() -> None:
    """No delay is ever negative."""
    event = stored(received=1794996388.0, stored=1794996387.0)
    steps = journey(event, entry(1794996386.0), PARIS)
    assert steps[1].delay == "The till's clock was 12 s ahead of ours."
    assert steps[2].delay == "Our clocks differ: 1.0 s before it was received, it says."
    assert steps[3].delay.startswith("Our clocks differ")
    assert [step.odd for step in steps] == [False, True, True, True]


def test_rounding_is_no_clock_that_differs() -> None:
    """The time of reception is rounded to the millisecond, and may come out after the storing."""
    event = stored(stored=1794996401.2496)
    assert journey(event, entry(event.stored), PARIS)[-1].delay == "less than 1 ms after it was received"


def test_a_receipt_that_comes_on_another_day_counts_on_its_own() -> None:
    """That is what surprises people who look for it on the day it came."""
    event = stored(received=1794996400.0 + 3 * 86400, stored=1794996400.0 + 3 * 86400)
    step = journey(event, entry(event.stored), PARIS)[1]
    assert (step.delay, step.odd) == ("3 days after it was rung up", True)
    assert step.note == "It came on another day, and counts on its own, 2026-11-18."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "less than 1 ms"),
        (0.0431, "43 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (7200.0, "2 h"),
        (172_800.0, "2 days"),
    ],
)
def test_durations_have_the_digits_that_people_read(seconds: float, text: str) -> None:
    """Three at most, and the unit that fits."""
    assert duration(seconds) == text


def test_days_are_in_english() -> None:
    """Whatever the locale of the numbers and of the process."""
    assert long_day("2026-03-01") == "Sunday 1 March 2026"
