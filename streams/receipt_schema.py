"""The schema of receipts, and reading them: which bytes are a receipt, and what is said of those that are not.

The schema is that of the tills (`docs/receipts.md`); unknown fields are not looked at here.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streams.decoding import invalid_event, undecodable
from streams.errors import InvalidEventError, UndecodableEventError
from streams.money import LIMIT, in_range

#: A till prints tens of lines; beyond this it is not a receipt.
MAX_LINES = 1000
#: Brackets within brackets that are taken: what is accepted here is read anywhere, in whatever depth of calls.
MAX_NESTING = 500

_INT64 = 2**63
Identifier = Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)] | Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=4096)]


_TOO_DEEP = "expected JSON of reasonable depth"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEPTH = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class Line(Struct, frozen=True):
    """One line of a receipt. Revenue by category is the sum of `settlementAmount`."""

    lineNumber: Annotated[int, Meta(ge=0, le=1_000_000)]
    productCode: Identifier
    productDescription: Text
    productCategoryCode: Identifier
    productCategoryName: Name
    quantity: Decimal
    unitOfMeasure: Name
    unitPrice: Decimal
    creditAmount: Decimal
    taxPercentage: Decimal
    settlementAmount: Decimal


class DocumentTotal(Struct, frozen=True):
    """The totals that the till printed: the truth, whatever the lines add up to."""

    grossTotal: Decimal
    taxPayable: Decimal
    netTotal: Decimal


class Settlement(Struct, frozen=True):
    """One payment."""

    paymentMechanism: Name
    settlementAmount: Decimal


class Receipt(Struct, frozen=True):
    """A receipt as a till sends it; ids are integers or strings, and compared as strings."""

    cashReceiptID: Identifier
    storeID: Identifier
    terminalID: Identifier
    date: Annotated[str, Meta(max_length=64)]
    lines: Annotated[list[Line], Meta(max_length=MAX_LINES)]
    documentTotal: DocumentTotal
    settlements: Annotated[list[Settlement], Meta(max_length=MAX_LINES)]
    agentID: Identifier | None = None
    customerID: Identifier | None = None
    receivedTime: float | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(Receipt).decode
_decode_texts = msgspec.json.Decoder(float_hook=str).decode
_LINE_AMOUNTS = ("quantity", "unitPrice", "creditAmount", "taxPercentage", "settlementAmount")
#: An amount that was sent as text: a number as in JSON, with a sign if need be, and spaces around it.
_AMOUNT = re.compile(r" *[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})? *", re.ASCII)
#: C0, DEL, C1, line and paragraph separator, surrogates, noncharacters. Fixed ranges: Python's own tables of characters
#: grow with its version, and an id that one process accepts must not be invalid for another one.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17))
    + "]"
)
_LONG_EXPONENT = re.compile(rb"[eE][+-]?[0-9]{4}")
#: Within the limit by so much that a binary float cannot hide an amount beyond it.
_SURE = float(LIMIT) - 1


def _with_numbers(kind: type[Struct], **replaced: Any) -> type[Struct]:
    """The same struct with binary floats for decimals: quick to check, never added up."""
    sure = Annotated[float, Meta(ge=-_SURE, le=_SURE)]
    fields: list[Any] = []
    for item in msgspec.structs.fields(kind):
        field_type = replaced.get(item.name, sure if item.type is Decimal else item.type)
        fields.append((item.name, field_type) if item.required else (item.name, field_type, item.default))
    return msgspec.defstruct(f"Quick{kind.__name__}", fields, frozen=True)


_QuickLine: Any = _with_numbers(Line)
_QuickSettlement: Any = _with_numbers(Settlement)
_QuickReceipt: Any = _with_numbers(
    Receipt,
    lines=Annotated[list[_QuickLine], Meta(max_length=MAX_LINES)],
    documentTotal=_with_numbers(DocumentTotal),
    settlements=Annotated[list[_QuickSettlement], Meta(max_length=MAX_LINES)],
)
_decode_quick = msgspec.json.Decoder(_QuickReceipt).decode


def check_receipt(raw: bytes) -> tuple[str, bool]:
    """Whether bytes are a receipt, but for the date; gives its date, and whether the sender set `receivedTime`.

    Nearly all receipts send their amounts as JSON numbers of ordinary size: those are told at once, without making
    decimals. All others are read in full; both ways accept the same.

    Raises InvalidEventError.
    """
    try:
        return _check_receipt(raw)
    except RecursionError:  # before it could be counted
        raise UndecodableEventError(_TOO_DEEP) from None


def _check_receipt(raw: bytes) -> tuple[str, bool]:
    try:
        receipt = _decode_quick(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        receipt = read_receipt(raw)
        _check_texts(raw)
    else:
        if _has_zero(receipt) and _LONG_EXPONENT.search(raw):
            receipt = read_receipt(raw)  # where a float is 0, Decimal may find no number
        _check_utf8(raw)
        _check_ids(receipt)
    _check_depth(raw)
    return receipt.date, receipt.receivedTime is not UNSET


def read_receipt(raw: bytes) -> Receipt:
    """Read a receipt, but for its date. Raises InvalidEventError, and RecursionError for nesting beyond
    what the stack has room for."""
    _check_utf8(raw)
    try:
        receipt = _decode(raw)
    except msgspec.DecodeError as exc:
        raise invalid_event(exc, raw) from None
    try:
        in_order = _amounts_in_range(receipt)
    except InvalidOperation:  # comparing with NaN
        in_order = False
    if not in_order:
        raise _out_of_range(receipt)
    _check_ids(receipt)
    return receipt


def _check_utf8(raw: bytes) -> None:
    """msgspec does not look inside what it skips."""
    if raw.isascii():
        return
    try:
        raw.decode()
    except UnicodeDecodeError as exc:
        raise undecodable(raw, f"expected UTF-8, found something else at byte {exc.start}") from None


def _check_depth(raw: bytes) -> None:
    """Nesting is counted, where there are brackets enough: what the stack has room for differs from place to place.

    The bytes have to be JSON.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING:
        brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
        if max(accumulate(map(_DEPTH.__getitem__, brackets))) > MAX_NESTING:
            raise UndecodableEventError(_TOO_DEEP)


def _has_zero(receipt: Any) -> bool:
    """Whether an amount is 0 as a float: then a number like 1e-99999999999999999999 may stand there."""
    for line in receipt.lines:
        if not (
            line.quantity and line.unitPrice and line.creditAmount and line.taxPercentage and line.settlementAmount
        ):
            return True
    for settlement in receipt.settlements:
        if not settlement.settlementAmount:
            return True
    total = receipt.documentTotal
    return not (total.grossTotal and total.taxPayable and total.netTotal)


def _check_ids(receipt: Any) -> None:
    if not (
        _is_text(str(receipt.storeID)) and _is_text(str(receipt.terminalID)) and _is_text(str(receipt.cashReceiptID))
    ):
        raise _unprintable(receipt)


def _is_text(identifier: str) -> bool:
    """Whether an id has no control characters, by a rule that is the same on every Python."""
    return (identifier.isascii() and identifier.isalnum()) or _CONTROL.search(identifier) is None


def _amounts_in_range(receipt: Receipt) -> bool:
    low, high = -LIMIT, LIMIT
    for line in receipt.lines:
        if not (
            low <= line.quantity <= high
            and low <= line.unitPrice <= high
            and low <= line.creditAmount <= high
            and low <= line.taxPercentage <= high
            and low <= line.settlementAmount <= high
        ):
            return False
    total = receipt.documentTotal
    if not (low <= total.grossTotal <= high and low <= total.taxPayable <= high and low <= total.netTotal <= high):
        return False
    return all(low <= settlement.settlementAmount <= high for settlement in receipt.settlements)


def _each_amount(lookup: Callable[[Any, str], Any], lines: Any, total: Any, settlements: Any) -> Any:
    """Every amount of a receipt with its path, whether it is held in structs or in dicts."""
    for number, line in enumerate(lines):
        for name in _LINE_AMOUNTS:
            yield f"$.lines[{number}].{name}", lookup(line, name)
    for name in DocumentTotal.__struct_fields__:
        yield f"$.documentTotal.{name}", lookup(total, name)
    for number, settlement in enumerate(settlements):
        yield f"$.settlements[{number}].settlementAmount", lookup(settlement, "settlementAmount")


def _out_of_range(receipt: Receipt) -> InvalidEventError:
    for path, amount in _each_amount(getattr, receipt.lines, receipt.documentTotal, receipt.settlements):
        if not in_range(amount):
            return InvalidEventError(path, f"expected a number from -10^9 to 10^9, got {str(amount)[:40]}")
    raise AssertionError("an amount was out of range, and then was not")


def _unprintable(receipt: Any) -> InvalidEventError:
    for name in ("storeID", "terminalID", "cashReceiptID"):
        if not _is_text(str(getattr(receipt, name))):
            return InvalidEventError(f"$.{name}", "expected an id without control characters")
    raise AssertionError("an id was unprintable, and then was not")


def _check_texts(raw: bytes) -> None:
    """Amounts sent as text: Python's Decimal would read "1_0" as 10, and digits of any script, which no till means."""
    try:
        plain = _decode_texts(raw)
    except msgspec.DecodeError as exc:  # something that only an unknown field holds, such as half a surrogate pair
        raise invalid_event(exc, raw) from None
    amounts = _each_amount(dict.__getitem__, plain["lines"], plain["documentTotal"], plain["settlements"])
    for path, amount in amounts:
        if isinstance(amount, str) and not _AMOUNT.fullmatch(amount):
            raise InvalidEventError(path, f"expected a decimal number, got {amount[:40]!r}")
