"""Made-up records for the store's tests: small, and all different."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from analytics import DayTally, Tally
from store import LedgerEntry, Rejected, Store
from streams.base import Event

STREAM = "receipts"
KEY_NAMES = ("store", "customer")
DAY = "2026-11-21"

_numbers = itertools.count(1)


def event(
    id: str | None = None,
    *,
    hash: str = "1:00112233445566778899aabbccddeeff",
    day: str = DAY,
    time: float = 1763722800.0,
    amount: int = 12_3400,
    categories: Sequence[str] = ("Pain", "Menu"),
    keys: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
    line: bytes | None = None,
) -> Event:
    """An event; with a `line` it has no document, as one whose JSON has no BSON form."""
    number = next(_numbers)
    document = {"cashReceiptID": number, "receivedTime": 1763722800.25, **(fields or {})}
    return Event(
        id=id or f"612:3:{day} 11:06:40:{number}",
        hash=hash,
        day=day,
        time=time,
        amount=amount,
        categories=tuple(categories),
        received=1763722800.25,
        line=line or msgspec.json.encode(document),
        document=None if line else document,
        keys={"store": "612"} if keys is None else keys,
        facts=None,
    )


def frame(name: str | None = None) -> str:
    """A frame id; the same for the same name."""
    return f"{name}".rjust(32, "0") if name else f"{next(_numbers):032x}"


def tally(count: int = 1) -> Tally:
    """A tally whose keys are awkward for databases."""
    made = Tally()
    for _ in range(count):
        made.day(DAY).add("store", "6.12$", 12_3400, 1)
        made.day(DAY).add("", "é\0", 1)
    made.seconds[1763722800] = [count, 0]
    return made


def day_tally(count: int = 1) -> DayTally:
    """A day's totals."""
    return tally(count).day(DAY)


def entry(
    writer: str, seq: int, *, id: str | None = None, stream: str = STREAM, at: float = 1000.0, count: int = 1
) -> LedgerEntry:
    """A ledger entry."""
    return LedgerEntry(frame=id or frame(), stream=stream, writer=writer, seq=seq, tally=tally(count), at=at)


def rejected(
    id: str,
    *,
    reason: str = "invalid",
    stream: str = STREAM,
    detail: str = "$.lines: missing",
    first_seen: float = 1000.5,
    body: bytes = b'{"lines":\xff\0',
) -> Rejected:
    """A rejected item whose bytes are no text."""
    return Rejected(
        id=id,
        stream=stream,
        reason=reason,
        detail=detail,
        source=frame(),
        body=body,
        first_seen=first_seen,
    )


async def ledger(store: Store, offsets: Mapping[str, int] | None = None, *, stream: str = STREAM) -> list[LedgerEntry]:
    """The entries past some offsets, when they are one page."""
    page = await store.ledger_after(stream, offsets or {})
    assert not page.more
    return list(page)
