"""A receipt's plain values, as a document store keeps them, and its fields that the schema does not know."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from streams.plain import is_plain
from streams.receipt_schema import DocumentTotal, Line, Receipt, Settlement

_decode_plain = msgspec.json.Decoder().decode
#: Numbers with a point or an exponent stay the text that they are, marked as such.
_decode_texts = msgspec.json.Decoder(float_hook=lambda text: {"number": text}).decode

_FIELDS = frozenset(Receipt.__struct_fields__)
_LINE_FIELDS = frozenset(Line.__struct_fields__)
_TOTAL_FIELDS = frozenset(DocumentTotal.__struct_fields__)
_SETTLEMENT_FIELDS = frozenset(Settlement.__struct_fields__)
#: An amount of 16 significant digits or more, which a binary float may change, has at least so many after its point
#: (being at most 10^9), or an exponent. A hint only, cheap to look for.
_LONG_FRACTION = re.compile(rb"\.[0-9]{6}")
_LONG_NUMBER = re.compile(r"[0-9][0-9.]{14,}[0-9](?:[eE][+-]?[0-9]+)?")


def read_document(line: bytes) -> tuple[dict[str, Any] | None, Any]:
    """The receipt as plain values (None where those would not be faithful), and its unknown fields."""
    try:
        plain: dict[str, Any] = _decode_plain(line)
    except msgspec.DecodeError:  # only an unknown field can be the reason: the rest was decoded
        return None, _unreadable(line)
    unknown = unknown_fields(plain)
    if unknown and not all(is_plain(extras) for extras in unknown.values()):
        return None, unknown
    doubtful = unknown or _LONG_FRACTION.search(line) or b"e-" in line or b"E-" in line
    if doubtful and not _survives(line):
        return None, unknown
    return plain, unknown


def _unreadable(line: bytes) -> Any:
    """The unknown fields of a line that has no plain values: their numbers as text, or else its own text."""
    try:
        return unknown_fields(_decode_texts(line))
    except msgspec.DecodeError:
        return line[line.index(b",") + 1 :].decode()  # without the `receivedTime` that `accept` put first


def _survives(line: bytes) -> bool:
    """Whether the long numbers of a line come back the same from a binary float."""
    try:
        return all(
            Decimal(number) == Decimal(repr(float(number)))
            for number in _LONG_NUMBER.findall(line.decode())
            if number.count(".") < 2  # else it stands in a string
        )
    except InvalidOperation:  # an exponent beyond all reason
        return False


def unknown_fields(plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields that the schema does not know, by where they stand; empty for most receipts."""
    found: dict[str, dict[str, Any]] = {}
    _extras(found, "", plain, _FIELDS)
    for number, line in enumerate(plain["lines"]):
        _extras(found, f"lines[{number}]", line, _LINE_FIELDS)
    _extras(found, "documentTotal", plain["documentTotal"], _TOTAL_FIELDS)
    for number, settlement in enumerate(plain["settlements"]):
        _extras(found, f"settlements[{number}]", settlement, _SETTLEMENT_FIELDS)
    return found


def _extras(found: dict[str, dict[str, Any]], place: str, values: dict[str, Any], known: frozenset[str]) -> None:
    if not known.issuperset(values):
        found[place] = {name: values[name] for name in values.keys() - known}
