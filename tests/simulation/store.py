"""What may go wrong between a process and its store, and within a store of several members.

It keeps the promises of `store.protocol` and no more: an error means that the write may have happened, may not, may
have happened in part, or may still happen. A write that returned is with the majority; reads see what the majority
has; what only the primary has refuses the same keys, and is gone when another member takes over.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from store.errors import StoreError, StoreRefusedError
from store.protocol import EncodedEvent, LedgerEntry
from tests.simulation.memory import MemoryStore, Tables
from tests.simulation.model import REFUSED_ENTRY, REFUSED_EVENT
from tests.simulation.plan import STORE_CALLS
from tests.simulation.world import Process, World, fail, resolve

T = TypeVar("T")

Operation = Callable[[Tables], Any]
Answer = Callable[..., None]

_WRITES = tuple(kind for kind in STORE_CALLS if kind != "read-fails")
_READS = ("read-fails", "slow", "crash-in-call")
#: After so long a caller gives up, seconds.
TIME_LIMIT = 3.0


class StoreServer:
    """The store's members: a primary, and what the majority has.

    A write that adds nothing may be answered before the majority has what stood in its way.

    Attributes:
        committed: what the majority has; the truth.
        down: no call arrives.
        restores: how often it was set back.
    """

    #: A write returns once the primary has it, as with `w: 1`, which is wrong.
    careless = False

    def __init__(self, world: World, tables: Callable[[], Tables] = Tables) -> None:
        self._world = world
        self.down = False
        self.committed = tables()
        #: one member alone is its own majority
        self._single = "failover" not in world.plan.kinds
        self._primary = self.committed if self._single else tables()
        self._log: deque[tuple[int, Operation, Answer | None]] = deque()
        self._writes = 0
        self.restores = 0

    @property
    def readable(self) -> Tables:
        """What reads see."""
        return self.committed

    @property
    def answers_surely(self) -> bool:
        """Whether a call that arrives is always answered; where members take over, some are not."""
        return self._single

    def do(self, restores: int, operation: Operation, answer: Answer | None = None) -> None:
        """Do a write on the primary; `answer` gets the result when a majority has it.

        Arguments:
            restores: of when it was sent; one of before the last restore is lost.
        """
        if restores != self.restores:
            return
        before = self._primary.size
        result = operation(self._primary)
        if self._single or (self._world.healed and not self._log):
            if not self._single:
                operation(self.committed)
            if answer is not None:
                answer(result)
            return
        nothing_new = self._primary.size == before and self._world.chance.random() < 0.5
        if (self.careless or nothing_new) and answer is not None:
            answer(result)
            answer = None
        self._writes += 1
        self._log.append((self._writes, operation, answer and partial(answer, result)))
        lag = 0.001 if self._world.chance.random() < 0.8 else self._world.chance.random()
        self._world.later(lag, self._replicate, self._writes)

    def _replicate(self, upto: int) -> None:
        """Let a majority have the writes up to one."""
        while self._log and self._log[0][0] <= upto:
            _, operation, answer = self._log.popleft()
            operation(self.committed)
            if answer is not None:
                answer()

    def fail_over(self) -> None:
        """Another member takes over: what no majority has is gone, and whoever waits for it learns nothing."""
        if not self._single:
            self._log.clear()
            self._primary = self.committed.copy()

    def restore(self, backup: Tables) -> None:
        """Hold what a backup holds, under a new epoch; what is on its way to the store never arrives."""
        self.restores += 1
        self._log.clear()
        self.committed = backup.copy()
        self.committed.epochs = {self.restores: f"epoch-{self.restores}"}
        self._primary = self.committed if self._single else self.committed.copy()

    def settle(self) -> None:
        """The majority has everything."""
        self._replicate(self._writes)


def _amount(gross: str) -> int:
    """An amount as events have it, in 1/10000."""
    return int(Decimal(gross) * 10_000)


class SimulatedStore(MemoryStore):
    """The store as one process reaches it."""

    def __init__(self, world: World, server: StoreServer, process: Process) -> None:
        super().__init__(server.committed, process.name)
        self._world = world
        self._server = server
        self._process = process

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        """See the protocol; of a call with an event that is refused for good, some others may be inserted."""
        taken = [event for event in events if event.record[0].amount != _amount(REFUSED_EVENT)]
        if len(taken) == len(events):
            return await super().insert_events(stream, events, stored)
        if taken and self._world.chance.random() < 0.7:
            await super().insert_events(stream, taken, stored)
        raise StoreRefusedError("refused for good")

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        """See the protocol; entries before one that is refused for good may be appended."""
        claimed = {
            event.frame for event in self._server.readable.stored.values() if event.amount == _amount(REFUSED_ENTRY)
        }
        refused = [at for at, entry in enumerate(entries) if entry.frame in claimed]
        if not refused:
            return await super().append(entries)
        if refused[0] and self._world.chance.random() < 0.7:
            await super().append(entries[: refused[0]])
        raise StoreRefusedError("refused for good")

    def _order(self, number: int) -> Sequence[int]:
        order = list(range(number))
        self._world.chance.shuffle(order)
        return order

    async def _write(self, write: Callable[[Tables], T], part: Callable[[Tables], object] | None = None) -> T:
        world, server = self._world, self._server
        fault = self._begin(_WRITES)
        reply: asyncio.Future[T] = world.loop.create_future()
        there = world.latency()
        do = partial(server.do, server.restores)
        if fault is None or fault == "slow":
            if fault == "slow":
                there += world.chance.random() * 2 * TIME_LIMIT  # beyond the limit it happens all the same
            world.later(there, do, write, partial(self._answer, reply))
            self._limit(reply, fault)
        elif fault == "crash-in-call":
            if world.chance.random() < 0.7:
                world.later(there, do, write)
        else:
            if fault == "write-unconfirmed" or (fault == "write-in-part" and part is None):
                world.later(there, do, write)
            elif fault == "write-in-part" and part is not None:
                world.later(there, do, part)
            elif fault == "write-late":
                world.later(there + world.chance.random() * world.chance.choice((0.02, 1, 6)), do, write)
            world.loop.after(there + world.latency(), fail, reply, StoreError(fault))
        return await reply

    async def _read(self, read: Callable[[Tables], T]) -> T:
        world = self._world
        fault = self._begin(_READS)
        reply: asyncio.Future[T] = world.loop.create_future()
        there = world.latency()
        if fault == "read-fails":
            world.loop.after(there, fail, reply, StoreError(fault))
        else:
            if fault == "slow":
                there += world.chance.random() * 2 * TIME_LIMIT
            world.loop.after(there, lambda: self._answer(reply, read(self._server.readable)))
            self._limit(reply, fault)
        return await reply

    def _begin(self, kinds: tuple[str, ...]) -> str | None:
        """What becomes of this call. Raises StoreError where it cannot even begin."""
        world = self._world
        if world.over or self._server.down:
            raise StoreError("the store cannot be reached")
        fault = world.strike(kinds)
        if fault == "crash-in-call":
            self._process.crash()
        return fault

    def _limit(self, reply: "asyncio.Future[Any]", fault: str | None) -> None:
        if fault == "slow" or not self._server.answers_surely:
            self._world.loop.after(TIME_LIMIT, fail, reply, StoreError("no answer in time"))

    def _answer(self, reply: "asyncio.Future[Any]", result: Any) -> None:
        self._world.loop.after(self._world.latency(), resolve, reply, result)
