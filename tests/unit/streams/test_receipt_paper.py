"""A receipt as people read it."""

import json
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import InvalidEventError, Paper, PaperItem, PaperTax, ReceiptStream, UndecodableEventError
from tests.unit.streams.sample import MISSING, SAMPLE, receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))


def paper_of(value: object, stream: ReceiptStream = STREAM) -> Paper:
    """The paper of a receipt that was sent."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return stream.paper(stream.accept(raw, 1_763_725_200.25))


def test_the_sample_reads_as_its_till_printed_it() -> None:
    """Every part of it, exactly, without the noise of floats."""
    assert paper_of(SAMPLE) == Paper(
        title="Receipt 40213",
        day="2026-11-18",
        time="11:06:40",
        facts=(("Store", "612"), ("Terminal", "3"), ("Cashier", "7"), ("Customer", "85320")),
        items=(
            PaperItem(
                text="Menu déjeuner",
                code="00000011",
                category="Menu",
                quantity=Decimal(3),
                unit="piece",
                unit_price=Decimal("7.31"),
                tax_percent=Decimal(10),
                amount=Decimal("24.12"),
            ),
            PaperItem(
                text="Baguette tradition",
                code="00000017",
                category="Pain",
                quantity=Decimal(2),
                unit="piece",
                unit_price=Decimal("1.14"),
                tax_percent=Decimal("5.5"),
                amount=Decimal("2.41"),
            ),
        ),
        taxes=(
            PaperTax(rate=Decimal("5.5"), gross=Decimal("2.41"), tax=Decimal("0.1256")),
            PaperTax(rate=Decimal(10), gross=Decimal("24.12"), tax=Decimal("2.1927")),
        ),
        totals=(("Net", Decimal("24.21")), ("Tax", Decimal("2.32")), ("Total", Decimal("26.53"))),
        payments=(("CB", Decimal("20.00")), ("Especes", Decimal("6.53"))),
        remark="",
        extra="",
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [(20, "20.00"), (0, "0.00"), (-3.5, "-3.50"), (1.005, "1.005"), (0.0001, "0.0001"), (1e9, "1000000000.00")],
)
def test_amounts_have_two_digits_or_what_they_need(amount: float, text: str) -> None:
    """Their text is fit to be shown: no exponent, no zeros behind the cents."""
    paper = paper_of(receipt({"lines.0.settlementAmount": amount, "settlements.0.settlementAmount": amount}))
    assert str(paper.items[0].amount) == str(paper.payments[0][1]) == text


@pytest.mark.parametrize(("quantity", "text"), [(2, "2"), (100, "100"), (0, "0"), (0.25, "0.25"), (-1.5, "-1.5")])
def test_quantities_and_rates_have_the_digits_that_they_need(quantity: float, text: str) -> None:
    """Two loaves are 2, not 2.0000."""
    item = paper_of(receipt({"lines.0.quantity": quantity, "lines.0.taxPercentage": quantity})).items[0]
    assert str(item.quantity) == str(item.tax_percent) == text


@pytest.mark.parametrize(("name", "label"), [("agentID", "Cashier"), ("customerID", "Customer")])
@pytest.mark.parametrize("value", [None, MISSING])
def test_only_what_is_known_is_a_fact(name: str, label: str, value: object) -> None:
    """Somebody who walked in has no line of their own."""
    labels = [found for found, _ in paper_of(receipt({name: value})).facts]
    assert labels == [each for each in ("Store", "Terminal", "Cashier", "Customer") if each != label]


def test_the_time_is_the_local_one() -> None:
    """Whatever offset the till sent."""
    paper = paper_of(receipt({"date": "2026-11-18T23:30:05Z"}), ReceiptStream(ZoneInfo("Asia/Tokyo")))
    assert (paper.day, paper.time) == ("2026-11-19", "08:30:05")


@pytest.mark.parametrize(
    ("gross", "rate", "tax"),
    [
        (10.55, 5.5, "0.55"),
        (12, 20, "2.00"),
        (-12, 20, "-2.00"),
        (5, 0, "0.00"),
        (1.00005, 100, "0.50"),
        (0.0003, 100, "0.0002"),
        (0.0001, 100, "0.00"),
        (7, -100, "0.00"),
        (7, -300, "10.50"),
    ],
)
def test_the_tax_contained_is_exact(gross: float, rate: float, tax: str) -> None:
    """Rounded once, half to even, to 1/10000; also where a rate makes no sense."""
    line = {**SAMPLE["lines"][0], "settlementAmount": gross, "taxPercentage": rate}
    assert str(paper_of(receipt({"lines": [line]})).taxes[0].tax) == tax


def test_lines_of_one_rate_are_one_tax() -> None:
    """However the rate was written."""
    first, second = SAMPLE["lines"]
    paper = paper_of(receipt({"lines": [first, {**second, "taxPercentage": "10.000"}]}))
    assert [(one.rate, one.gross) for one in paper.taxes] == [(Decimal(10), Decimal("26.53"))]
    assert paper_of(receipt({"lines": [], "documentTotal.grossTotal": 0})).taxes == ()


@pytest.mark.parametrize(
    ("gross", "remark"),
    [
        (26.55, ""),
        (26.56, "The lines add up to 26.53, not to the total."),
        (20, "The lines add up to 26.53, not to the total."),
    ],
)
def test_a_receipt_that_does_not_add_up_says_so(gross: float, remark: str) -> None:
    """By the same rule by which it is flagged."""
    value = receipt({"documentTotal.grossTotal": gross})
    assert paper_of(value).remark == remark
    event = STREAM.parse(STREAM.accept(json.dumps(value).encode(), 1.0))
    assert event.facts.mismatch is bool(remark)


def test_unknown_fields_are_shown_by_where_they_stand() -> None:
    """With their own digits, also those that a float would change; `receivedTime` is ours and no news."""
    value = receipt({"zone": "é", "a": [1, {"b": None}], "documentTotal.tip": "@@", "lines.1.shelf": "B7"})
    raw = json.dumps(value).replace('"@@"', "1.10000000000000000000000001").encode()
    extra = paper_of(raw).extra
    assert json.loads(extra) == {
        "receipt": {"a": [1, {"b": None}], "zone": "é"},
        "lines[1]": {"shelf": "B7"},
        "total": {"tip": 1.10000000000000000000000001},
    }
    assert "1.10000000000000000000000001" in extra
    assert extra.startswith('{\n  "receipt": {\n    "a": [')


@pytest.mark.parametrize("number", ["1e999", "-0.0", f"1e{'9' * 20}"])
def test_absurd_numbers_in_unknown_fields_keep_their_text(number: str) -> None:
    """They are shown, not computed with."""
    raw = json.dumps(receipt({"u": "@@"})).replace('"@@"', number).encode()
    assert f'"u": {number}' in paper_of(raw).extra


def test_deeply_nested_fields_are_shown_deep_in_the_stack() -> None:
    """What was accepted anywhere has a paper everywhere."""
    raw = (json.dumps(SAMPLE)[:-1] + ', "x": ' + "[" * 400 + "]" * 400 + "}").encode()
    line = STREAM.accept(raw, 1.0)

    def deeper(calls: int) -> Paper:
        return deeper(calls - 1) if calls else STREAM.paper(line)

    assert deeper(600) == STREAM.paper(line)


def test_a_paper_needs_a_receipt() -> None:
    """What is none raises; a receipt that never was received has one."""
    assert STREAM.paper(json.dumps(SAMPLE).encode()) == paper_of(SAMPLE)
    with pytest.raises(InvalidEventError):
        STREAM.paper(json.dumps(receipt({"storeID": MISSING})).encode())
    with pytest.raises(InvalidEventError):
        STREAM.paper(json.dumps(receipt({"date": "2026-02-30 10:00:00"})).encode())
    with pytest.raises(UndecodableEventError):
        STREAM.paper(b'{"lines":\xff\0')


@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9) | st.just(-100) | st.floats(-100.001, -99.999)), max_size=5
    )
)
def test_whatever_was_accepted_has_a_paper(lines: list[tuple[float, float]]) -> None:
    """Also amounts and rates at their limits; gross amounts by rate add up to the lines."""
    made = [{**SAMPLE["lines"][0], "settlementAmount": gross, "taxPercentage": rate} for gross, rate in lines]
    event = STREAM.parse(STREAM.accept(json.dumps(receipt({"lines": made})).encode(), 1.0))
    paper = STREAM.paper(event.line if event.document is None else msgspec.json.encode(event.document))
    assert sum(one.gross for one in paper.taxes) == sum(item.amount for item in paper.items)
    for item in paper.items:
        assert "E" not in f"{item.amount}{item.quantity}{item.tax_percent}"
