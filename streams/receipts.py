"""Receipts: their schema, identity, event time, validation, and what they add up to.

Everything that is peculiar to receipts is here; the rest of the system knows streams. The schema is that of the tills
(`docs/receipts.md`); unknown fields are kept as they came.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from analytics.histogram import Histogram
from analytics.tally import DayTally, Tally
from streams.base import Event
from streams.decoding import invalid_event
from streams.errors import InvalidEventError, UndecodableEventError
from streams.local_time import LocalTime, Moment
from streams.money import LIMIT, SCALE, in_range, to_json, to_units
from streams.plain import is_plain

#: Version of the content hash, its prefix: hashes of different versions are never compared as equal content.
HASH_VERSION = 1
#: Nesting of unknown fields beyond this is refused; known fields need three levels.
MAX_DEPTH = 200
#: A till prints tens of lines; beyond this it is not a receipt.
MAX_LINES = 1000

_INT64 = 2**63
Identifier = Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)] | Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=4096)]


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
    receivedTime: float | None | UnsetType = UNSET


class ReceiptFacts(NamedTuple):
    """What `fold` adds up of one receipt; amounts in 1/10000."""

    revenue: int
    store: str
    minute: str
    lines: tuple[tuple[str, int, int], ...]  # category, sales, quantity
    payments: tuple[tuple[str, int], ...]  # mechanism, amount
    mismatch: bool


_decode = msgspec.json.Decoder(Receipt).decode
_decode_plain = msgspec.json.Decoder().decode
_decode_exact = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(order="deterministic").encode
_encode_exact = msgspec.json.Encoder(decimal_format="number").encode

_FIELDS = frozenset(Receipt.__struct_fields__)
_LINE_FIELDS = frozenset(Line.__struct_fields__)
_TOTAL_FIELDS = frozenset(DocumentTotal.__struct_fields__)
_SETTLEMENT_FIELDS = frozenset(Settlement.__struct_fields__)
_LINE_AMOUNTS = ("quantity", "unitPrice", "creditAmount", "taxPercentage", "settlementAmount")
#: An amount of 16 significant digits or more, which a binary float may change, has at least so many after its point
#: (being at most 10^9), or an exponent. A hint only, cheap to look for.
_LONG_FRACTION = re.compile(rb"\.[0-9]{6}")
_LONG_NUMBER = re.compile(r"[0-9][0-9.]{14,}[0-9](?:[eE][+-]?[0-9]+)?")
#: Brackets, and strings (so that brackets inside them do not count).
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class ReceiptStream:
    """The stream `receipts` (see `streams.base.Stream`), in the business's time zone."""

    name = "receipts"
    key_names = ("store", "terminal", "customer", "receipt")

    def __init__(self, zone: ZoneInfo) -> None:
        self.local = LocalTime(zone)

    def accept(self, raw: bytes, received: float) -> bytes:
        """Check a receipt as sent and give its frame line. Raises InvalidEventError."""
        receipt = self._read(raw)
        self._moment(receipt)
        if receipt.receivedTime is not UNSET:
            raw = _without_received_time(raw)
        if b"\n" in raw:
            raw = msgspec.json.format(raw, indent=-1)
        elif raw[0] != 0x7B:  # white space before the brace
            raw = raw.lstrip()
        return b'{"receivedTime":%.3f,%b' % (received, raw[1:])

    def parse(self, line: bytes) -> Event:
        """Read a receipt from its frame line. Raises InvalidEventError."""
        receipt = self._read(line)
        received = receipt.receivedTime
        if received is UNSET or received is None:
            raise InvalidEventError("$.receivedTime", "is stamped by the entrypoint, and missing")
        moment = self._moment(receipt)
        store, terminal, number = str(receipt.storeID), str(receipt.terminalID), str(receipt.cashReceiptID)
        customer = "" if receipt.customerID is None else str(receipt.customerID)
        canonical, facts = _canonical(receipt, moment)
        document, unknown = _document(line)
        keys = {"store": store, "terminal": terminal, "receipt": number}
        if customer:
            keys["customer"] = customer
        return Event(
            id=f"{_escape(store)}:{_escape(terminal)}:{moment.text}:{_escape(number)}",
            hash=_hash(canonical, unknown),
            day=moment.day,
            time=moment.epoch,
            received=received,
            line=line,
            document=document,
            keys=keys,
            facts=facts,
        )

    def fold(self, tally: Tally, event: Event, counted: float) -> None:
        """Add a receipt to a tally, in place.

        Tables of a day: `total` ("" → revenue, count); `categories` (name → sales, quantity, lines); `stores` and
        `payments` (→ amount, count); `minutes` (the receipt's own local `HH:MM` → count, revenue); `received` (epoch
        minute of reception → count, revenue); `flags` (`totals` → receipts whose lines do not add up to their total).
        Amounts and quantities in 1/10000. Delays: `creation`, from the receipt's date, and `system`, from its
        reception, to being counted. Seconds: epoch second of reception → count, system and creation delay.
        """
        facts: ReceiptFacts = event.facts
        day = tally.day(event.day)
        add = day.add
        add("total", "", facts.revenue, 1)
        for category, sales, quantity in facts.lines:
            add("categories", category, sales, quantity, 1)
        add("stores", facts.store, facts.revenue, 1)
        for mechanism, amount in facts.payments:
            add("payments", mechanism, amount, 1)
        add("minutes", facts.minute, 1, facts.revenue)
        add("received", str(int(event.received // 60)), 1, facts.revenue)
        if facts.mismatch:
            add("flags", "totals", 1)
        creation = round((counted - event.time) * 1_000_000)
        system = round((counted - event.received) * 1_000_000)
        delays = day.delays
        if not delays:
            delays["creation"] = Histogram()
            delays["system"] = Histogram()
        delays["creation"].add(creation)
        delays["system"].add(system)
        second = tally.seconds.setdefault(int(event.received), [0, 0, 0])
        second[0] += 1
        second[1] += system
        second[2] += creation

    def summary(self, day: str, tally: DayTally) -> dict[str, Any]:
        """A day's totals for people and programs; amounts are JSON numbers with two digits."""
        revenue, count = tally.row("total", "", 2)
        tables = tally.tables
        return {
            "stream": self.name,
            "day": day,
            "sum": to_json(revenue),
            "count": count,
            "categories": {
                name: {"sum": to_json(sales), "quantity": quantity_json(quantity), "lines": lines}
                for name, (sales, quantity, lines) in sorted(tables.get("categories", {}).items())
            },
            "stores": _amounts(tables.get("stores", {})),
            "payments": _amounts(tables.get("payments", {})),
            "minutes": {
                minute: {"count": number, "sum": to_json(amount)}
                for minute, (number, amount) in sorted(tables.get("minutes", {}).items())
            },
            "mismatched": tally.row("flags", "totals", 1)[0],
        }

    def _read(self, raw: bytes) -> Receipt:
        """Decode and check all that needs no clock or zone."""
        try:
            if not raw.isascii():
                raw.decode()  # msgspec does not look inside what it skips
            receipt = _decode(raw)
        except UnicodeDecodeError as exc:
            raise UndecodableEventError(f"expected UTF-8, found something else at byte {exc.start}") from None
        except RecursionError:
            raise UndecodableEventError("expected JSON of reasonable depth") from None
        except (msgspec.ValidationError, msgspec.DecodeError) as exc:
            raise invalid_event(exc) from None
        try:
            in_order = _amounts_in_range(receipt)
        except InvalidOperation:  # comparing with NaN
            in_order = False
        if not in_order:
            raise _out_of_range(receipt)
        if not (
            str(receipt.storeID).isprintable()
            and str(receipt.terminalID).isprintable()
            and str(receipt.cashReceiptID).isprintable()
        ):
            raise _unprintable(receipt)
        if b"_" in raw:
            _refuse_underscores(raw)
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
            _refuse_depth(raw)
        return receipt

    def _moment(self, receipt: Receipt) -> Moment:
        try:
            return self.local.parse(receipt.date)
        except ValueError as exc:
            raise InvalidEventError("$.date", str(exc)) from None


def quantity_json(units: int) -> msgspec.Raw:
    """A quantity in 1/10000 as a JSON number with as many digits as it needs."""
    text = f"{'-' if units < 0 else ''}{abs(units) // SCALE}.{abs(units) % SCALE:04d}"
    return msgspec.Raw(text.rstrip("0").rstrip(".").encode())


def _amounts(rows: Mapping[str, list[int]]) -> dict[str, dict[str, Any]]:
    return {key: {"sum": to_json(amount), "count": count} for key, (amount, count) in sorted(rows.items())}


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


def _unprintable(receipt: Receipt) -> InvalidEventError:
    for name in ("storeID", "terminalID", "cashReceiptID"):
        if not str(getattr(receipt, name)).isprintable():
            return InvalidEventError(f"$.{name}", "expected an id without control characters")
    raise AssertionError("an id was unprintable, and then was not")


def _refuse_underscores(raw: bytes) -> None:
    """Amounts sent as text: Python's Decimal would read "1_0" as 10, which no till means."""
    try:
        plain = _decode_exact(raw)
    except msgspec.DecodeError:  # something that only the unknown fields hold
        return
    amounts = _each_amount(dict.__getitem__, plain["lines"], plain["documentTotal"], plain["settlements"])
    for path, amount in amounts:
        if isinstance(amount, str) and "_" in amount:
            raise InvalidEventError(path, f"expected a decimal number, got {amount[:40]!r}")


def _refuse_depth(raw: bytes) -> None:
    """Nesting far beyond any receipt, which recursive readers further on would trip over."""
    depth = 0
    for token in _NESTING.finditer(raw):
        if token[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise UndecodableEventError(f"expected JSON at most {MAX_DEPTH} deep")
        elif token[0] in b"]}":
            depth -= 1


def _without_received_time(raw: bytes) -> bytes:
    """Drop a `receivedTime` that the sender set: it is ours to stamp. Numbers keep their digits."""
    try:
        plain = _decode_exact(raw)
    except msgspec.DecodeError as exc:
        raise invalid_event(exc) from None
    del plain["receivedTime"]
    return _encode_exact(plain)


def _escape(identifier: str) -> str:
    """An id as part of an identity: `:` and whatever a URL would quote become `~` and two hexadecimal digits."""
    if identifier.isascii() and identifier.isalnum():
        return identifier
    return _UNSAFE.sub(lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), identifier)


def _canonical(receipt: Receipt, moment: Moment) -> tuple[list[Any], ReceiptFacts]:
    """A receipt's meaning, equal for equal receipts however they were written, and what is added up of it."""
    lines = []
    sums = []
    settled = 0
    for line in receipt.lines:
        quantity, sales = to_units(line.quantity), to_units(line.settlementAmount)
        lines.append(
            (
                line.lineNumber,
                str(line.productCode),
                line.productDescription,
                str(line.productCategoryCode),
                line.productCategoryName,
                quantity,
                line.unitOfMeasure,
                to_units(line.unitPrice),
                to_units(line.creditAmount),
                to_units(line.taxPercentage),
                sales,
            )
        )
        sums.append((line.productCategoryName, sales, quantity))
        settled += sales
    payments = tuple((item.paymentMechanism, to_units(item.settlementAmount)) for item in receipt.settlements)
    total = receipt.documentTotal
    revenue = to_units(total.grossTotal)
    store = str(receipt.storeID)
    canonical = [
        store,
        str(receipt.terminalID),
        moment.text,
        str(receipt.cashReceiptID),
        None if receipt.agentID is None else str(receipt.agentID),
        None if receipt.customerID is None else str(receipt.customerID),
        lines,
        (revenue, to_units(total.taxPayable), to_units(total.netTotal)),
        payments,
    ]
    facts = ReceiptFacts(
        revenue=revenue,
        store=store,
        minute=moment.minute,
        lines=tuple(sums),
        payments=payments,
        mismatch=abs(settled - revenue) > len(lines) * (SCALE // 100),
    )
    return canonical, facts


def _hash(canonical: list[Any], unknown: Any) -> str:
    content = _encode([*canonical, unknown] if unknown else canonical)
    return f"{HASH_VERSION}:{hashlib.blake2b(content, digest_size=16).hexdigest()}"


def _document(line: bytes) -> tuple[dict[str, Any] | None, Any]:
    """The receipt as plain values (None where those would not be faithful), and its unknown fields."""
    try:
        plain: dict[str, Any] = _decode_plain(line)
    except (msgspec.DecodeError, RecursionError):  # only an unknown field can be the reason: the rest was decoded
        return None, _strip_stamp(line)
    unknown = _unknown(plain)
    if unknown and not all(is_plain(extras) for extras in unknown.values()):
        return None, unknown
    doubtful = unknown or _LONG_FRACTION.search(line) or b"e-" in line or b"E-" in line
    if doubtful and not _survives(line):
        return None, unknown
    return plain, unknown


def _strip_stamp(line: bytes) -> str:
    """A line without the `receivedTime` that `accept` put first, as text."""
    return line[line.index(b",") + 1 :].decode()


def _survives(line: bytes) -> bool:
    """Whether the long numbers of a line come back the same from a binary float."""
    return all(
        Decimal(number) == Decimal(repr(float(number)))
        for number in _LONG_NUMBER.findall(line.decode())
        if number.count(".") < 2  # else it stands in a string
    )


def _unknown(plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
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
