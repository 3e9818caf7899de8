"""A store in memory: what the store decides (`Tables`), and a Store on top of it that never fails (`MemoryStore`).

What may go wrong between a process and its store is in `tests.simulation.store`.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TypeVar

from analytics import DayTally, decode_day, decode_tally, encode_day, encode_tally
from store.protocol import (
    LEDGER_BYTES,
    LEDGER_LIMIT,
    EncodedEvent,
    EventQuery,
    Head,
    LedgerEntry,
    Owner,
    Page,
    Rejected,
    RejectedQuery,
    RejectedStep,
    RejectedSummary,
    StoredEvent,
    StoreIdentity,
)
from streams.base import Event

T = TypeVar("T")


class Tables:
    """The data of one stream, and what a store does with them in one step.

    The outcome of an operation follows from the data and its arguments alone, so a second copy that sees the same
    operations in the same order stays equal.
    """

    def __init__(self) -> None:
        self.stored: dict[str, StoredEvent] = {}
        self.ledger: dict[str, LedgerEntry] = {}
        self.heads: dict[str, Head] = {}
        self.days: dict[str, bytes] = {}
        self.refused: dict[str, Rejected] = {}
        #: writer → whether it is closed
        self.closed: dict[str, bool] = {}
        self.epochs: dict[int, str] = {0: "epoch-0"}

    def copy(self) -> "Tables":
        """The same data, independent (what is in them is never changed in place)."""
        other = type(self)()
        for name, table in vars(self).items():
            setattr(other, name, dict(table))
        return other

    @property
    def size(self) -> int:
        """How much is in them: equal before and after a write that only found what is there."""
        heads = sum(head.version for head in self.heads.values())
        return len(self.stored) + len(self.ledger) + len(self.days) + len(self.refused) + heads + len(self.closed)

    def insert(self, events: Sequence[StoredEvent], order: Sequence[int]) -> set[int]:
        """Insert in an order; the indexes whose id was there already."""
        taken = set()
        for index in order:
            event = events[index]
            if event.id in self.stored:
                taken.add(index)
            else:
                self.stored[event.id] = event
        return taken

    def append(self, entries: Sequence[LedgerEntry]) -> int:
        """Append in order up to the first whose frame or place is taken; how many."""
        places = {(entry.writer, entry.seq) for entry in self.ledger.values()}
        for index, entry in enumerate(entries):
            if entry.frame in self.ledger or (entry.writer, entry.seq) in places:
                return index
            self.ledger[entry.frame] = entry
        return len(entries)

    def swap(self, head: Head) -> bool:
        """Replace the head of the version before; whether it was that."""
        current = self.heads.get(head.stream)
        if (current.version if current else 0) != head.version - 1:
            return False
        self.heads[head.stream] = head
        return True

    def close(self, writers: Iterable[str]) -> None:
        """Leave writers out of what is read."""
        self.closed.update(dict.fromkeys(writers, True))

    def after(self, offsets: Mapping[str, int]) -> list[LedgerEntry]:
        """Entries past the offsets of writers that are not closed, or that have an offset."""
        found = [
            entry
            for entry in self.ledger.values()
            if entry.seq > offsets.get(entry.writer, 0) and (entry.writer in offsets or entry.writer not in self.closed)
        ]
        return sorted(found, key=lambda entry: (entry.writer, entry.seq))

    def tidy(self, head: Head, named: AbstractSet[str], tallies_before: float) -> None:
        """Drop tallies within the head's offsets or of closed writers, and documents that no head can name any more."""
        for frame, entry in self.ledger.items():
            merged = entry.seq <= head.offsets.get(entry.writer, 0) or (
                entry.writer in self.closed and entry.writer not in head.offsets
            )
            if merged and entry.at < tallies_before:
                self.ledger[frame] = replace(entry, tally=None)
        for name in self.days.keys() - named:
            if int(name.split(":")[0]) <= head.version:
                del self.days[name]

    def reject(self, items: Sequence[Rejected]) -> None:
        """Keep what is not kept yet."""
        for item in items:
            self.refused.setdefault(item.id, item)


class MemoryStore:
    """A `store.protocol.Store` on tables; subclasses decide how an operation reaches them.

    Arguments:
        name: part of the names of its day documents; no two stores on the same tables have the same.
    """

    def __init__(self, tables: Tables | None = None, name: str = "") -> None:
        self.tables = tables or Tables()
        self.stored, self.ledger, self.heads = self.tables.stored, self.tables.ledger, self.tables.heads
        self._name = name
        self._names = itertools.count()

    async def _write(self, write: Callable[[Tables], T], part: Callable[[Tables], object] | None = None) -> T:
        """Do a write; `part` does a part of it, for those who fail in the middle."""
        await asyncio.sleep(0)  # others get a turn, as while waiting for a real store
        return write(self.tables)

    async def _read(self, read: Callable[[Tables], T]) -> T:
        await asyncio.sleep(0)
        return read(self.tables)

    def _order(self, number: int) -> Sequence[int]:
        """The order in which an unordered insert happens to be done."""
        return range(number)

    async def prepare(self, stream: str, key_names: Sequence[str]) -> None:
        """Nothing to prepare."""

    def encode(self, event: Event, frame: str) -> EncodedEvent:
        return EncodedEvent(id=event.id, record=(event, frame))

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        documents = [_document(event, stored) for event in events]
        order = self._order(len(events))
        half = order[: len(order) // 2]
        return await self._write(
            lambda tables: tables.insert(documents, order), lambda tables: tables.insert(documents, half)
        )

    async def owners(self, stream: str, ids: Sequence[str]) -> dict[str, Owner]:
        def read(tables: Tables) -> dict[str, Owner]:
            found = tables.stored
            return {id: Owner(found[id].frame, found[id].hash) for id in ids if id in found}

        return await self._read(read)

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        kept = [_as_stored(entry) for entry in entries]
        some = kept[: len(kept) // 2]
        return await self._write(lambda tables: tables.append(kept), lambda tables: tables.append(some))

    async def entry(self, stream: str, frame: str) -> LedgerEntry | None:
        return await self._read(lambda tables: tables.ledger.get(frame))

    async def ledger_after(
        self,
        stream: str,
        offsets: Mapping[str, int],
        *,
        limit: int = LEDGER_LIMIT,
        max_bytes: int = LEDGER_BYTES,
    ) -> Page[LedgerEntry]:
        found = await self._read(lambda tables: tables.after(offsets))
        return Page(found[:limit], more=len(found) > limit)

    async def close_writers(self, stream: str, writers: Iterable[str]) -> None:
        names = list(writers)
        await self._write(lambda tables: tables.close(names))

    async def identify(self, stream: str, zone: str) -> StoreIdentity:
        found = await self.identity(stream)
        assert found is not None
        return found

    async def identity(self, stream: str) -> StoreIdentity | None:
        epoch = await self._read(lambda tables: tables.epochs[max(tables.epochs)])
        return StoreIdentity(id="here", epoch=epoch, zone="UTC")

    async def renew(self) -> str:
        epoch = f"epoch-{next(self._names)}-{self._name}"
        await self._write(lambda tables: tables.epochs.update({len(tables.epochs): epoch}))
        return epoch

    async def adopt(self, id: str) -> None:
        raise AssertionError("no simulation calls this")

    async def head(self, stream: str) -> Head | None:
        return await self._read(lambda tables: tables.heads.get(stream))

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        name, data = f"{version}:{day}:{self._name}:{next(self._names)}", encode_day(tally)
        await self._write(lambda tables: tables.days.__setitem__(name, data))
        return name

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        data = await self._read(lambda tables: tables.days.get(document))
        return None if data is None else decode_day(data)

    async def write_month(self, stream: str, month: str, days: Mapping[str, str], version: int) -> str:
        name, data = f"{version}:{month}:{self._name}:{next(self._names)}", json.dumps(dict(days)).encode()
        await self._write(lambda tables: tables.days.__setitem__(name, data))
        return name

    async def read_month(self, stream: str, document: str) -> dict[str, str] | None:
        data = await self._read(lambda tables: tables.days.get(document))
        return None if data is None else dict(json.loads(data))

    async def swap_head(self, head: Head) -> bool:
        return await self._write(lambda tables: tables.swap(head))

    async def tidy(self, head: Head, *, named: AbstractSet[str], tallies_before: float, days_before: float) -> None:
        await self._write(lambda tables: tables.tidy(head, named, tallies_before))

    async def reject(self, items: Sequence[Rejected]) -> None:
        kept = list(items)
        await self._write(lambda tables: tables.reject(kept), lambda tables: tables.reject(kept[: len(kept) // 2]))

    async def note(self, steps: Sequence[RejectedStep]) -> None:
        """Steps are not kept: no simulation reads them."""
        await self._write(lambda tables: None)

    async def rejected(self, stream: str, query: RejectedQuery) -> Page[RejectedSummary]:
        raise AssertionError("no simulation asks this")

    async def rejected_item(self, stream: str, id: str) -> Rejected | None:
        return await self._read(lambda tables: tables.refused.get(id))

    async def rejected_count(self, stream: str, status: str | None = None) -> dict[str, int]:
        raise AssertionError("no simulation asks this")

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        return await self._read(lambda tables: tables.stored.get(id))

    async def events(self, stream: str, query: EventQuery) -> Page[StoredEvent]:
        def read(tables: Tables) -> Page[StoredEvent]:
            found = sorted(tables.stored.values(), key=_newest, reverse=True)
            if query.day is not None:
                found = [event for event in found if event.day == query.day]
            if query.after is not None:
                after = _newest(tables.stored[query.after])
                found = [event for event in found if _newest(event) < after]
            return Page(found[: query.limit], more=len(found) > query.limit)

        return await self._read(read)

    async def scan_events(self, stream: str) -> AsyncIterator[StoredEvent]:
        for event in list(self.tables.stored.values()):
            yield event

    async def scan_ledger(self, stream: str, since: float = 0.0) -> AsyncIterator[LedgerEntry]:
        for entry in list(self.tables.ledger.values()):
            if entry.at >= since:
                yield entry

    async def tallies_dropped_until(self, stream: str) -> float:
        dropped = [entry.at for entry in self.tables.ledger.values() if entry.tally is None]
        return await self._read(lambda _: max(dropped, default=0.0))

    async def ping(self) -> None:
        await self._read(lambda tables: None)

    async def close(self) -> None:
        """Nothing to close."""


def _document(encoded: EncodedEvent, stored: float) -> StoredEvent:
    event, frame = encoded.record
    return StoredEvent(
        id=event.id,
        frame=frame,
        hash=event.hash,
        day=event.day,
        time=event.time,
        amount=event.amount,
        categories=event.categories,
        keys=event.keys,
        received=event.received,
        stored=stored,
        body=event.line,
    )


def _newest(event: StoredEvent) -> tuple[str, float, str]:
    return event.day, event.time, event.id


def _as_stored(entry: LedgerEntry) -> LedgerEntry:
    """What is read back later: through bytes, and nothing that the caller may still change."""
    return LedgerEntry(
        frame=entry.frame,
        stream=entry.stream,
        writer=entry.writer,
        seq=entry.seq,
        tally=None if entry.tally is None else decode_tally(encode_tally(entry.tally)),
        at=entry.at,
    )
