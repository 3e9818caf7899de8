"""A receipt as its till printed it (`streams.paper`), and whether its lines add up to its total."""

from decimal import Decimal
from typing import Any

import msgspec

from streams.decoding import invalid_event
from streams.local_time import Moment
from streams.money import SCALE, to_text, to_units
from streams.paper import Paper, PaperItem, PaperTax
from streams.receipt_document import unknown_fields
from streams.receipt_schema import Line, Receipt

#: How far the lines may be from the total, for each of them: what tills round.
_TOLERANCE = SCALE // 100
_HUNDRED = 100 * SCALE
#: What people call the places of unknown fields; lines and payments go by their number.
_PLACES = {"": "receipt", "documentTotal": "total"}
#: Objects whose values stay as they stand: nothing in them has to be understood to be shown.
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def adds_up(settled: int, total: int, lines: int) -> bool:
    """Whether lines that come to `settled` are what a total says, but for a cent a line; both in 1/10000."""
    return abs(settled - total) <= lines * _TOLERANCE


def receipt_paper(receipt: Receipt, moment: Moment, body: bytes) -> Paper:
    """A receipt as people read it.

    Arguments:
        receipt: what `body` says.
        moment: its date.
        body: its JSON, for the fields that the schema does not know. Raises RecursionError when that is nested deeper
            than the stack has room for.
    """
    total = receipt.documentTotal
    settled, revenue = sum(to_units(line.settlementAmount) for line in receipt.lines), to_units(total.grossTotal)
    people = (
        ("Store", receipt.storeID),
        ("Terminal", receipt.terminalID),
        ("Cashier", receipt.agentID),
        ("Customer", receipt.customerID),
    )
    return Paper(
        title=f"Receipt {receipt.cashReceiptID}",
        day=moment.day,
        time=moment.text[11:],
        facts=tuple((label, str(value)) for label, value in people if value is not None),
        items=tuple(map(_item, receipt.lines)),
        taxes=_taxes(receipt.lines),
        totals=(
            ("Net", _amount(to_units(total.netTotal))),
            ("Tax", _amount(to_units(total.taxPayable))),
            ("Total", _amount(revenue)),
        ),
        payments=tuple((one.paymentMechanism, _amount(to_units(one.settlementAmount))) for one in receipt.settlements),
        remark=""
        if adds_up(settled, revenue, len(receipt.lines))
        else f"The lines add up to {to_text(settled)}, not to the total.",
        extra=_extra(body),
    )


def _item(line: Line) -> PaperItem:
    return PaperItem(
        text=line.productDescription,
        code=str(line.productCode),
        category=line.productCategoryName,
        quantity=_number(to_units(line.quantity)),
        unit=line.unitOfMeasure,
        unit_price=_amount(to_units(line.unitPrice)),
        tax_percent=_number(to_units(line.taxPercentage)),
        amount=_amount(to_units(line.settlementAmount)),
    )


def _taxes(lines: list[Line]) -> tuple[PaperTax, ...]:
    by_rate: dict[int, int] = {}
    for line in lines:
        rate = to_units(line.taxPercentage)
        by_rate[rate] = by_rate.get(rate, 0) + to_units(line.settlementAmount)
    return tuple(
        PaperTax(rate=_number(rate), gross=_amount(gross), tax=_amount(_contained(gross, rate)))
        for rate, gross in sorted(by_rate.items())
    )


def _contained(gross: int, rate: int) -> int:
    """The tax in a gross amount, both in 1/10000, rounded half to even; none where a rate takes all of it away."""
    divisor = _HUNDRED + rate
    if divisor == 0:
        return 0
    whole, rest = divmod(gross * rate, divisor)
    twice, size = abs(2 * rest), abs(divisor)
    return whole + (twice > size or (twice == size and whole % 2 == 1))


def _amount(units: int) -> Decimal:
    """An amount with two digits, or up to four where it has them."""
    number = Decimal(units).scaleb(-4)
    return number.quantize(Decimal("0.01")) if units % 100 == 0 else _trimmed(number)


def _number(units: int) -> Decimal:
    """A number with the digits that it needs."""
    number = Decimal(units).scaleb(-4)
    return number.quantize(Decimal(1)) if units % SCALE == 0 else _trimmed(number)


def _trimmed(number: Decimal) -> Decimal:
    """Without zeros at its end; only for what has a fraction, as others get an exponent."""
    return number.normalize()


def _extra(body: bytes) -> str:
    """The unknown fields by where they stand, as indented JSON with their own digits."""
    try:
        plain: dict[str, Any] = {**_decode_object(body)}
        for name, decode in (
            ("lines", _decode_objects),
            ("documentTotal", _decode_object),
            ("settlements", _decode_objects),
        ):
            plain[name] = decode(plain[name])
    except msgspec.DecodeError as exc:  # a name that is no text, such as half a surrogate
        raise invalid_event(exc, body) from None
    found = unknown_fields(plain)
    if not found:
        return ""
    named = {_PLACES.get(place, place): dict(sorted(fields.items())) for place, fields in found.items()}
    return msgspec.json.format(msgspec.json.encode(named), indent=2).decode()
