"""What a few bakeries sold on three days: receipts with everything in them that makes a page wrong or a name dangerous.

Amounts are exact: prices are taken as decimals, and what is posted are their shortest JSON numbers.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

#: Names that break what is not escaped, in HTML, in addresses, in spreadsheets.
TAG = "<script>alert(1)</script> & Co"
FORMULA = '=1+1" onmouseover="alert(1)'
STORE = '<img src=x onerror=alert(1)> & "Söhne"'
CUSTOMER = 'O\'Brien; & <b>"Söhne"</b>'
CHEQUE = "<i>Chèque</i>"
#: A line: category, quantity, price with tax, percent of tax.
Line = tuple[str, str, str, str]
Receipt = dict[str, Any]


def sale(number: int | str, at: str, store: int | str, *lines: Line, **more: Any) -> Receipt:
    """A receipt whose lines add up.

    Arguments:
        at: `YYYY-MM-DD HH:MM:SS`.
        more: further fields, and `paid`: mechanism → amount, by default all of it by card.
    """
    made = [_line(place, *line) for place, line in enumerate(lines, start=1)]
    gross = sum((amount for _, amount, _ in made), Decimal())
    tax = _cents(sum((part for _, _, part in made), Decimal()))
    paid = more.pop("paid", {"CB": gross})
    return {
        "cashReceiptID": number,
        "storeID": store,
        "terminalID": 1,
        "agentID": 7,
        "customerID": None,
        "date": at,
        "lines": [line for line, _, _ in made],
        "documentTotal": {"taxPayable": float(tax), "netTotal": float(gross - tax), "grossTotal": float(gross)},
        "settlements": [{"settlementAmount": float(amount), "paymentMechanism": name} for name, amount in paid.items()],
        **more,
    }


def _line(place: int, category: str, quantity: str, price: str, percent: str) -> tuple[Receipt, Decimal, Decimal]:
    """A line, its amount, and the tax in it."""
    amount, rate = Decimal(quantity) * Decimal(price), Decimal(percent)
    line = {
        "lineNumber": place,
        "productCode": f"{place:08}",
        "productDescription": f"{category or 'Sundries'}, one",
        "productCategoryCode": category[:1] or "-",
        "productCategoryName": category,
        "quantity": float(quantity),
        "unitOfMeasure": "piece",
        "unitPrice": float(price),
        "creditAmount": float(amount),
        "taxPercentage": float(percent),
        "settlementAmount": float(amount),
    }
    return line, amount, amount * rate / (100 + rate)


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def before(today: str) -> list[Receipt]:
    """Yesterday's and those of a week ago: in the morning, at noon, and late in the evening."""
    yesterday, week = (str(date.fromisoformat(today) - timedelta(days=ago)) for ago in (1, 7))
    return [
        sale(1, f"{yesterday} 09:01:30", 612, ("Pain", "3", "1.20", "5.5"), ("Menu", "11", "9.90", "10")),
        sale(2, f"{yesterday} 12:40:00", 7, ("Menu", "20", "9.90", "10")),
        sale(3, f"{yesterday} 23:58:59", 612, ("Menu", "40", "9.90", "10"), paid={"Especes": Decimal("396.00")}),
        sale(1, f"{week} 08:15:00", 612, ("Menu", "100", "9.90", "10")),
        sale(2, f"{week} 23:59:59", 9, ("Pain", "1", "1.20", "5.5")),
    ]


def of(today: str) -> list[Receipt]:
    """Today's, all of them before two in the afternoon."""
    many = [(f"Sort {letter}", "1", f"2.{place}1", "5.5") for place, letter in enumerate("ABCDEFG", start=1)]
    return [
        sale(1, f"{today} 06:59:59", 612, ("Pain", "2", "1.20", "5.5"), customerID=85320),
        sale(2, f"{today} 07:00:00", 612, ("Pain", "1", "1.35", "5.5"), ("Menu", "3", "9.90", "10"), terminalID=3),
        sale(3, f"{today} 09:12:07", STORE, (FORMULA, "1", "3.3", "20"), (TAG, "2", "9.45", "10"), customerID=CUSTOMER),
        sale("4:b", f"{today} 09:12:07", 7, ("", "1", "0.85", "5.5"), customerID=85320, terminalID="T/2"),
        sale(5, f"{today} 10:30:00", 7, ("Menu", "101", "9.90", "10"), paid={"CB": "900", "Especes": "99.90"}),
        # What was brought back: a negative quantity, and money that went out.
        sale(6, f"{today} 11:05:00", 8, ("Pfand", "-3", "2.15", "20"), paid={"Especes": "-6.45"}),
        sale(7, f"{today} 11:45:10", 9, *many, paid={CHEQUE: "17.57"}),
        sale(8, f"{today} 12:29:59", 10, ("Glace", "0.125", "12.90", "20"), ("Pain", "1", "1.20", "5.5")),
        # Nobody prints such a number but a program that adds up floats.
        {**sale(9, f"{today} 12:30:00", 11, ("Pain", "15", "1.20", "5.5")), "settlements": [
            {"settlementAmount": 10.000000000000002, "paymentMechanism": "CB"},
            {"settlementAmount": 8, "paymentMechanism": ""},
        ], "loyalty": {"points": 12}},
        sale(10, f"{today} 12:31:00", 12, ("Menu", "1", "9.90", "10"), ("Menu", "2", "4.50", "10")),
        sale(11, f"{today} 13:10:00", 612, (TAG, "1", "17.45", "10"), customerID=CUSTOMER),
    ]  # fmt: skip


def contradicted(receipts: Sequence[Receipt]) -> Receipt:
    """The first of these with another total."""
    first = receipts[0]
    return {**first, "documentTotal": {**first["documentTotal"], "grossTotal": 99.99}}
