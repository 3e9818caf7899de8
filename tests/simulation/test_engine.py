"""Flush, totals and audit under a seeded schedule of failures: see `Story`.

A failure names its seed; `Story(seed).run()` replays it.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from zoneinfo import ZoneInfo

import pytest

from broker.frames import Frame
from broker.protocol import Message
from engine import Flusher, PreparedFrame, Totals, audit, prepare, read_partial
from store.errors import StoreError
from streams import ReceiptStream
from tests.simulation.memory import MemoryStore
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))
#: A second and a half's worth on one core; every wrong variant is caught in far fewer (`test_mutations.py`).
RUNS = 2000


class Announcements:
    """Stands for the broker where only announcements matter: they are lost, repeated and reordered."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.partials: list[bytes] = []

    async def announce(self, message: Message) -> None:
        """Take a message, or lose it, or have it twice."""
        if message.exchange == "partials":
            self.partials += [message.body] * self._chance.choice((0, 1, 1, 1, 2))

    def take(self) -> bytes | None:
        """Any of those that wait."""
        return self.partials.pop(self._chance.randrange(len(self.partials))) if self.partials else None


@dataclass
class Story:
    """One run: frames with repeated and conflicting receipts, three workers, two totals, failures; then healing.

    Frames stay in the queue until a flush of them returned and its acknowledgement arrived; a frame may be with two
    workers at once (one was frozen, and its frames were given to another). A worker may be killed at any await.
    """

    seed: int
    _: KW_ONLY
    flusher: Callable[..., Flusher] = Flusher
    totals: Callable[..., Totals] = Totals
    memory: Callable[..., MemoryStore] = MemoryStore
    acknowledges_first: bool = False
    trouble: float = 0.15
    chance: random.Random = field(init=False)
    store: MemoryStore = field(init=False)
    news: Announcements = field(init=False)
    flushers: list[Flusher] = field(init=False, default_factory=list)
    waiting: dict[str, PreparedFrame] = field(init=False, default_factory=dict)
    copies: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.store = self.memory(self.chance, self.trouble)
        self.news = Announcements(self.chance)

    async def run(self) -> None:
        """Live through it; raises AssertionError where an invariant is broken."""
        await self._fill_the_queue()
        workers = [asyncio.create_task(self._worker()) for _ in range(3)]
        keepers = [asyncio.create_task(self._keeper()) for _ in range(2)]
        await asyncio.gather(*workers, *keepers)
        self.store.trouble = 0.0
        self.store.settle()
        await self._drain()
        await self._check()

    async def _fill_the_queue(self) -> None:
        for number in range(self.chance.randrange(3, 10)):
            lines = []
            for _ in range(self.chance.randrange(1, 6)):
                content = self.chance.choice((1, 1, 1, 1, 2))
                raw = json.dumps(
                    receipt(
                        {
                            "cashReceiptID": self.chance.randrange(8),
                            "documentTotal.grossTotal": content,
                            "date": self.chance.choice(
                                ("2026-11-18 10:00:00", "2026-11-18 10:00:00", "2026-11-19 10:00:00")
                            ),
                        }
                    )
                )
                lines.append(STREAM.accept(raw.encode(), 1000.0 + number))
            frame = Frame.of(STREAM.name, lines)
            prepared = await prepare(frame, STREAM, self.store, lambda: 2000.0)
            self.waiting[frame.id] = prepared
            self.copies += [(event.id, event.hash) for event in prepared.events]

    def _new_flusher(self) -> Flusher:
        flusher = self.flusher(store=self.store, broker=self.news, stream=STREAM, clock=lambda: 2000.0)
        self.flushers.append(flusher)
        return flusher

    async def _worker(self) -> None:
        flusher = self._new_flusher()
        for _ in range(self.chance.randrange(5, 25)):
            if not self.waiting:
                return
            taken = self.chance.sample(sorted(self.waiting), self.chance.randint(1, min(4, len(self.waiting))))
            if self.chance.random() < 0.1:
                taken.append(taken[0])  # delivered twice to the same worker
            flush = asyncio.create_task(flusher.flush([self.waiting[id] for id in taken]))
            if self.chance.random() < 0.2:
                for _ in range(self.chance.randrange(1, 30)):
                    await asyncio.sleep(0)
                flush.cancel()
            try:
                await flush
            except StoreError:
                acknowledged = 0.2 if self.acknowledges_first else 0.0
            except asyncio.CancelledError:
                flusher = self._new_flusher()  # killed: a new process takes over
                acknowledged = 0.2 if self.acknowledges_first else 0.0
            else:
                acknowledged = 0.8  # else the acknowledgement is lost, and the frame comes again
            for id in taken:
                if self.chance.random() < acknowledged:
                    self.waiting.pop(id, None)

    async def _keeper(self) -> None:
        """A totals process: partials come in while the ledger is read and checkpoints are written. It may restart."""
        for _ in range(self.chance.randint(1, 3)):
            totals = self.totals(self.store, STREAM.name, page=self.chance.choice((1, 2, 1000)))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(totals, self.chance.randrange(10, 40)))
                group.create_task(self._keep(totals, self.chance.randrange(5, 25)))

    async def _hear(self, totals: Totals, turns: int) -> None:
        for _ in range(turns):
            body = self.news.take()
            if body is not None:
                partial = read_partial(body)
                totals.merge(partial.writer, partial.first, partial.last, partial.tally)
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)

    async def _keep(self, totals: Totals, turns: int) -> None:
        for _ in range(turns):
            action = self.chance.random()
            try:
                if action < 0.45:
                    await totals.sync()
                elif action < 0.8:
                    await totals.checkpoint()
                elif action < 0.9:
                    await totals.day("2026-11-18")
                elif totals.head is not None:
                    await self.store.tidy(totals.head, tallies_before=0.0, days_before=0.0)
            except StoreError:
                pass  # it is tried again, some time
            await asyncio.sleep(0)

    async def _drain(self) -> None:
        """Nothing fails any more, so nothing may: the workers that are there finish what is waiting."""
        while self.waiting:
            flusher = self.chance.choice(self.flushers)
            id = self.chance.choice(sorted(self.waiting))
            await flusher.flush([self.waiting[id]])
            del self.waiting[id]

    async def _check(self) -> None:
        report = await audit(self.store, STREAM, patience_s=0.0)
        assert report.listed == []
        identities = {id for id, _ in self.copies}
        assert self.store.stored.keys() == identities
        conflicting = {(id, hash) for id, hash in self.copies if self.store.stored[id].hash != hash}
        kept = {
            (event.id, event.hash) for event in map(STREAM.parse, (item.body for item in self.store.refused.values()))
        }
        assert kept == conflicting
        totals = self.totals(self.store, STREAM.name, page=self.chance.choice((1, 2, 1000)))
        await totals.sync()
        assert totals.revision == len(self.store.ledger)
        for day in ("2026-11-18", "2026-11-19"):
            stored = [json.loads(event.body) for event in self.store.stored.values() if event.day == day]
            revenue = sum(event["documentTotal"]["grossTotal"] for event in stored)
            found = (await totals.day(day)).row("total", "", 2)
            assert found == [revenue * 10_000, len(stored)]


@pytest.mark.simulation
async def test_nothing_is_lost_or_counted_twice() -> None:
    """Whatever fails in between, after healing the totals are those of the stored events, each identity once."""
    for seed in range(RUNS):
        try:
            await Story(seed).run()
        except BaseException as exc:
            exc.add_note(f"in the run with seed {seed}")
            raise
