"""Receipts: their identity, event time, content hash, and what they add up to.

Everything that is peculiar to receipts is here and in `streams.receipt_schema`; the rest of the system knows streams.
Unknown fields are kept as they came.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET

from analytics.histogram import Histogram
from analytics.tally import OTHERS, DayTally, Tally
from streams.base import Event
from streams.decoding import invalid_event
from streams.errors import InvalidEventError, UndecodableEventError
from streams.local_time import DateWindow, LocalTime, Moment
from streams.money import SCALE, to_json, to_units
from streams.paper import Paper
from streams.receipt_document import read_document
from streams.receipt_paper import adds_up, receipt_paper
from streams.receipt_schema import Receipt, check_receipt, read_receipt

T = TypeVar("T")

#: The year 2096: an epoch second beyond it is a mistake, and years further on no clock can tell its local time.
_LATEST = 4e9
_TOO_DEEP = "expected JSON of reasonable depth"
#: Version of the content hash, its prefix: hashes of different versions are never compared as equal content.
HASH_VERSION = 1


class ReceiptFacts(NamedTuple):
    """What `fold` adds up of one receipt; amounts in 1/10000."""

    revenue: int
    store: str
    minute: str
    lines: tuple[tuple[str, int, int], ...]  # category, sales, quantity
    payments: tuple[tuple[str, int], ...]  # mechanism, amount
    mismatch: bool


#: Every value stays as it stands.
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode
#: A receipt that was received further than this from its own time has no minute of reception in its day's totals: so a
#: day's document does not grow with how often somebody sends receipts of long ago. Seconds.
_LATE_S = 86_400.0
_LATE = "late"
_NO_MINUTES = frozenset({_LATE, OTHERS})
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class ReceiptStream:
    """The stream `receipts` (see `streams.base.Stream`), in the business's time zone.

    Arguments:
        window: the dates that are accepted; any when None. What was accepted is read whatever its date, since a frame
            may wait.
    """

    name = "receipts"
    key_names = ("store", "terminal", "customer", "receipt")

    def __init__(self, zone: ZoneInfo, window: DateWindow | None = None) -> None:
        self.zone = zone.key
        self.local = LocalTime(zone)
        self._window = window
        self._stamped, self._stamp = 0.0, b'{"receivedTime":0.000,'

    def accept(self, raw: bytes, received: float) -> bytes:
        """Check a receipt as sent and give its frame line. Raises InvalidEventError."""
        date, stamped = check_receipt(raw)
        moment = self._moment(date)
        if self._window is not None and (trouble := self._window.trouble(moment, received)):
            raise InvalidEventError("$.date", trouble)
        if stamped:
            raw = _without_received_time(raw)
        if b"\n" in raw:
            raw = msgspec.json.format(raw, indent=-1)
        elif raw[0] != 0x7B:  # white space before the brace
            raw = raw.lstrip()
        if received != self._stamped:  # events of one request are received together
            self._stamped, self._stamp = received, b'{"receivedTime":%.3f,' % received
        return self._stamp + raw[1:]

    def parse(self, line: bytes) -> Event:
        """Read a receipt from its frame line. Raises InvalidEventError."""
        return _however_deep(self._parse, line)

    def paper(self, body: bytes) -> Paper:
        """A receipt as its till printed it. Raises InvalidEventError."""
        return _however_deep(self._paper, body)

    def _paper(self, body: bytes) -> Paper:
        receipt = read_receipt(body)
        return receipt_paper(receipt, self._moment(receipt.date), body)

    def _parse(self, line: bytes) -> Event:
        receipt = read_receipt(line)
        received = receipt.receivedTime
        if received is UNSET or received is None or not 0 <= received <= _LATEST:
            raise InvalidEventError("$.receivedTime", "is stamped by the entrypoint in epoch seconds, and is not that")
        moment = self._moment(receipt.date)
        store, terminal, number = str(receipt.storeID), str(receipt.terminalID), str(receipt.cashReceiptID)
        customer = "" if receipt.customerID is None else str(receipt.customerID)
        canonical, facts = _canonical(receipt, moment)
        document, unknown = read_document(line)
        keys = {"store": store, "terminal": terminal, "receipt": number}
        if customer:
            keys["customer"] = customer
        return Event(
            id=f"{_escape(store)}:{_escape(terminal)}:{moment.text}:{_escape(number)}",
            hash=_hash(canonical, unknown),
            day=moment.day,
            time=moment.epoch,
            amount=facts.revenue,
            categories=tuple(dict.fromkeys(line[0] for line in facts.lines)),
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
        minute of reception → count, revenue; `late` for all that were received more than a day from their date);
        `flags` (`totals` → receipts whose lines do not add up to their total).
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
        add("received", _minute_of_reception(event), 1, facts.revenue)
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

    def received(self, day: str, tally: DayTally) -> dict[str, list[int]]:
        """Receipts and revenue of the day by the local minute of their arrival; see the protocol."""
        found: dict[str, list[int]] = {}
        for minute, (count, amount) in tally.tables.get("received", {}).items():
            if minute in _NO_MINUTES:
                continue
            epoch = int(minute) * 60
            if self.local.day_of(epoch) == day:
                row = found.setdefault(self.local.minute_of(epoch), [0, 0])
                row[0] += count
                row[1] += amount
        return dict(sorted(found.items()))

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
                for name, (sales, quantity, lines) in _named(tables.get("categories", {}))
            },
            "stores": _amounts(tables.get("stores", {})),
            "payments": _amounts(tables.get("payments", {})),
            "minutes": _counts(tables.get("minutes", {})),
            "received": _counts(self.received(day, tally)),
            "mismatched": tally.row("flags", "totals", 1)[0],
            **({"overflow": sorted(tally.overflowing)} if tally.overflowing else {}),
        }

    def _moment(self, date: str) -> Moment:
        try:
            return self.local.parse(date)
        except ValueError as exc:
            raise InvalidEventError("$.date", str(exc)) from None


def _however_deep(read: Callable[[bytes], T], line: bytes) -> T:
    """Read a line, in a thread if the stack has no room for its nesting.

    A thread has a stack of its own with nothing on it yet: what was accepted anywhere is readable there, and reads as
    the same, however deep in calls we are.
    """
    try:
        return read(line)
    except RecursionError:
        with ThreadPoolExecutor(max_workers=1) as thread:
            try:
                return thread.submit(read, line).result()
            except RecursionError:
                raise UndecodableEventError(_TOO_DEEP) from None


def quantity_json(units: int) -> msgspec.Raw:
    """A quantity in 1/10000 as a JSON number with as many digits as it needs."""
    text = f"{'-' if units < 0 else ''}{abs(units) // SCALE}.{abs(units) % SCALE:04d}"
    return msgspec.Raw(text.rstrip("0").rstrip(".").encode())


def _minute_of_reception(event: Event) -> str:
    return str(int(event.received // 60)) if abs(event.received - event.time) <= _LATE_S else _LATE


def _named(rows: Mapping[str, list[int]]) -> list[tuple[str, list[int]]]:
    """Rows in the order of their names; the one of keys that are not counted apart comes last."""
    named = sorted((key, row) for key, row in rows.items() if key != OTHERS)
    return [*named, (OTHERS.strip(), rows[OTHERS])] if OTHERS in rows else named


def _counts(rows: Mapping[str, list[int]]) -> dict[str, dict[str, Any]]:
    return {key: {"count": count, "sum": to_json(amount)} for key, (count, amount) in _named(rows)}


def _amounts(rows: Mapping[str, list[int]]) -> dict[str, dict[str, Any]]:
    return {key: {"sum": to_json(amount), "count": count} for key, (amount, count) in _named(rows)}


def _without_received_time(raw: bytes) -> bytes:
    """Drop a `receivedTime` that the sender set: it is ours to stamp. Everything else stays as it is written."""
    try:
        fields = _decode_fields(raw)
    except msgspec.DecodeError as exc:  # a name that is no text, such as half a surrogate
        raise invalid_event(exc, raw) from None
    del fields["receivedTime"]
    return msgspec.json.encode(fields)


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
        mismatch=not adds_up(settled, revenue, len(lines)),
    )
    return canonical, facts


def _hash(canonical: list[Any], unknown: Any) -> str:
    content = _encode([*canonical, unknown] if unknown else canonical)
    return f"{HASH_VERSION}:{hashlib.blake2b(content, digest_size=16).hexdigest()}"
