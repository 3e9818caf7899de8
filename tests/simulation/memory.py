"""A store in memory whose calls fail, half-happen, or happen later, as a seeded chance decides.

It keeps the promises of `store.protocol` and no more: an error means that the write may have happened, may not, may
have happened in part, or may still happen.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from analytics import DayTally, decode_day, decode_tally, encode_day, encode_tally
from store.errors import StoreError
from store.protocol import (
    LEDGER_LIMIT,
    EncodedEvent,
    EventQuery,
    Head,
    LedgerEntry,
    Owner,
    Rejected,
    RejectedQuery,
    StoredEvent,
)
from streams.base import Event

T = TypeVar("T")


class MemoryStore:
    """A `store.protocol.Store` for simulations.

    Arguments:
        chance: the only source of randomness.
        trouble: probability that a call fails; set it to 0 to heal.
    """

    def __init__(self, chance: random.Random, trouble: float) -> None:
        self.chance = chance
        self.trouble = trouble
        self.stored: dict[str, StoredEvent] = {}
        self.ledger: dict[str, LedgerEntry] = {}
        self.heads: dict[str, Head] = {}
        self.days: dict[str, bytes] = {}
        self.refused: dict[str, Rejected] = {}
        self._late: list[Callable[[], object]] = []
        self._names = itertools.count()

    async def _turn(self) -> None:
        """Let others run; maybe one of the writes that were believed lost happens now."""
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        if self._late and self.chance.random() < 0.3:
            self._late.pop(self.chance.randrange(len(self._late)))()

    async def _write(self, write: Callable[[], T], part: Callable[[], object] | None = None) -> T:
        """Do a write, or fail before it, after it, after a part of it, or now and do it later."""
        await self._turn()
        if self.chance.random() >= self.trouble:
            result = write()
            await self._turn()
            return result
        kind = self.chance.choice(("lost", "done", "late", "part"))
        if kind == "done" or (kind == "part" and part is None):
            write()
        elif kind == "part" and part is not None:
            part()
        elif kind == "late":
            self._late.append(write)
        await self._turn()
        raise StoreError(f"simulated: {kind}")

    async def _read(self, read: Callable[[], T]) -> T:
        await self._turn()
        if self.chance.random() < self.trouble:
            raise StoreError("simulated: unread")
        result = read()
        await self._turn()
        return result

    def settle(self) -> None:
        """Everything that was late happens now."""
        while self._late:
            self._late.pop(self.chance.randrange(len(self._late)))()

    async def prepare(self, stream: str, key_names: Sequence[str]) -> None:
        """Nothing to prepare."""

    def encode(self, event: Event, frame: str) -> EncodedEvent:
        return EncodedEvent(id=event.id, record=(event, frame))

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        def insert(chosen: Sequence[int]) -> set[int]:
            taken = set()
            for index in chosen:
                event, frame = events[index].record
                if event.id in self.stored:
                    taken.add(index)
                    continue
                self.stored[event.id] = StoredEvent(
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
            return taken

        order = list(range(len(events)))
        self.chance.shuffle(order)  # unordered
        half = order[: len(order) // 2]
        return await self._write(lambda: insert(order), lambda: insert(half))

    async def owners(self, stream: str, ids: Sequence[str]) -> dict[str, Owner]:
        return await self._read(
            lambda: {id: Owner(self.stored[id].frame, self.stored[id].hash) for id in ids if id in self.stored}
        )

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        encoded = [encode_tally(entry.tally) if entry.tally else b"" for entry in entries]

        def append(count: int) -> int:
            taken = {(entry.writer, entry.seq) for entry in self.ledger.values()}
            for index, entry in enumerate(entries[:count]):
                if entry.frame in self.ledger or (entry.writer, entry.seq) in taken:
                    return index
                self.ledger[entry.frame] = LedgerEntry(
                    frame=entry.frame,
                    stream=entry.stream,
                    writer=entry.writer,
                    seq=entry.seq,
                    tally=decode_tally(encoded[index]),
                    at=entry.at,
                )
            return count

        some = self.chance.randrange(len(entries) + 1)
        return await self._write(lambda: append(len(entries)), lambda: append(some))

    async def entry(self, stream: str, frame: str) -> LedgerEntry | None:
        return await self._read(lambda: self.ledger.get(frame))

    async def ledger_after(
        self, stream: str, offsets: Mapping[str, int], *, limit: int = LEDGER_LIMIT
    ) -> list[LedgerEntry]:
        def read() -> list[LedgerEntry]:
            found = [entry for entry in self.ledger.values() if entry.seq > offsets.get(entry.writer, 0)]
            return sorted(found, key=lambda entry: (entry.writer, entry.seq))[:limit]

        return await self._read(read)

    async def head(self, stream: str) -> Head | None:
        return await self._read(lambda: self.heads.get(stream))

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        name, data = f"{version}:{day}:{next(self._names)}", encode_day(tally)
        await self._write(lambda: self.days.__setitem__(name, data))
        return name

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        data = await self._read(lambda: self.days.get(document))
        return None if data is None else decode_day(data)

    async def swap_head(self, head: Head) -> bool:
        def swap() -> bool:
            current = self.heads.get(head.stream)
            if (current.version if current else 0) != head.version - 1:
                return False
            self.heads[head.stream] = head
            return True

        return await self._write(swap)

    async def tidy(self, head: Head, *, tallies_before: float, days_before: float) -> None:
        def tidy() -> None:
            for name in self.days.keys() - set(head.days.values()):
                if int(name.split(":")[0]) <= head.version:
                    del self.days[name]

        await self._write(tidy)

    async def reject(self, items: Sequence[Rejected]) -> None:
        await self._write(lambda: [self.refused.setdefault(item.id, item) for item in items])

    async def rejected(self, stream: str, query: RejectedQuery) -> list[Rejected]:
        raise AssertionError("no simulation asks this")

    async def rejected_item(self, stream: str, id: str) -> Rejected | None:
        return await self._read(lambda: self.refused.get(id))

    async def rejected_count(self, stream: str) -> dict[str, int]:
        raise AssertionError("no simulation asks this")

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        return await self._read(lambda: self.stored.get(id))

    async def events(self, stream: str, query: EventQuery) -> list[StoredEvent]:
        raise AssertionError("no simulation asks this")

    async def scan_events(self, stream: str) -> AsyncIterator[StoredEvent]:
        for event in list(self.stored.values()):
            yield event

    async def scan_ledger(self, stream: str) -> AsyncIterator[LedgerEntry]:
        for entry in list(self.ledger.values()):
            yield entry

    async def ping(self) -> None:
        await self._turn()

    async def close(self) -> None:
        """Nothing to close."""
