"""The system under simulation: its real parts, run as processes on a simulated broker and store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch
from uuid import UUID
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry

import engine.flush
import engine.keeper
import engine.worker
from broker.errors import BrokerError
from broker.exchanges import CATEGORIES, COUNT, Topology, receipts_topology
from broker.group_commit import GroupCommit, GroupCommitLimits
from engine import (
    Flusher,
    HeldBytes,
    Totals,
    TotalsConfig,
    TotalsKeeper,
    TotalsMetrics,
    Worker,
    WorkerConfig,
    WorkerMetrics,
)
from engine.flush import Flushed
from engine.rebuild import rebuild
from streams import ReceiptStream
from tests.simulation.broker import BrokerServer
from tests.simulation.connection import SimulatedBroker
from tests.simulation.memory import Tables
from tests.simulation.model import Sent
from tests.simulation.store import SimulatedStore, StoreServer
from tests.simulation.world import Process, Service, World
from workers import QueueSource

STREAM = ReceiptStream(ZoneInfo("UTC"))
#: A worker gives up a writer that is idle for so long; after a longer time, totals end it. Seconds.
WRITER_IDLE_S = 0.5
#: Not looked at; making a registry takes longer than many a run.
_TOTALS_METRICS = TotalsMetrics(CollectorRegistry())


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of the system that a run is made of; variants that are wrong take the place of some."""

    commit: Callable[..., GroupCommit] = GroupCommit
    worker: Callable[..., Worker] = Worker
    flusher: Callable[..., Flusher] = Flusher
    totals: Callable[..., Totals] = Totals
    tables: Callable[[], Tables] = Tables
    store: Callable[[World, Callable[[], Tables]], StoreServer] = StoreServer
    rebuild: Callable[..., Awaitable[object]] = rebuild
    topology: Callable[[Topology], Topology] = lambda usual: usual


class _Failures(WorkerMetrics):
    """Counts the flushes that failed, and nothing else."""

    def __init__(self) -> None:
        self.failed = 0

    def flushed(self, flushed: Flushed, seconds: float) -> None:
        """All is well."""

    def flush_failed(self) -> None:
        self.failed += 1

    def put_aside(self) -> None:
        """A frame is poison."""


class Entrypoint:
    """A process that answers requests; what is real of it is the group commit."""

    def __init__(self, system: "System", name: str) -> None:
        self._system = system
        self._commit: GroupCommit | None = None
        self._replies: dict[asyncio.Future[str], Process] = {}
        self.service = Service(system.world, name, self._main)

    async def _main(self, process: Process) -> None:
        system = self._system
        process.on_death.append(partial(self._hang_up, process))
        broker = SimulatedBroker(system.world, system.broker, process)
        limits = GroupCommitLimits(frames_in_flight=system.world.chance.randint(1, 3), frame_max_bytes=2000)
        self._commit = commit = system.parts.commit(broker, STREAM.name, limits)
        await process.stopping.wait()
        await commit.drain(2.0)
        self._commit = None
        await broker.close()

    def _hang_up(self, process: Process) -> None:
        """A process's connections are reset; another one may have started since."""
        for reply, asked in list(self._replies.items()):
            if asked is process and not reply.done():
                reply.set_exception(ConnectionResetError())

    async def post(self, receipts: list[Sent], patience: float) -> str:
        """Send receipts as a client does; the frame's id when answered 202.

        Raises BrokerError for an answer of 503, OSError for none.
        """
        system, process = self._system, self.service.process
        if self._commit is None or not process.alive:
            raise ConnectionRefusedError
        reply: asyncio.Future[str] = system.world.loop.create_future()
        self._replies[reply] = process
        system.world.loop.after(system.world.latency(), process.post, self._begin, process, receipts, reply)
        try:
            async with asyncio.timeout(patience):
                return await reply
        except TimeoutError:
            raise ConnectionAbortedError from None
        finally:
            self._replies.pop(reply, None)

    def _begin(self, process: Process, receipts: list[Sent], reply: "asyncio.Future[str]") -> None:
        task = process.start(self._answer(process, receipts, reply))
        if self._system.world.chance.random() < 0.5:  # a server that ends the handler of a client that has left
            reply.add_done_callback(lambda _: task.cancel())

    async def _answer(self, process: Process, receipts: list[Sent], reply: "asyncio.Future[str]") -> None:
        now = process.clock()
        lines = [STREAM.accept(one.body(), now) for one in receipts]
        try:
            commit = self._commit
            if commit is None:
                raise ConnectionRefusedError
            frame = await commit.commit(b"\n".join(lines), len(lines))
        except (BrokerError, OSError) as exc:
            if not reply.done():
                reply.set_exception(exc)
        else:
            if not reply.done():
                reply.set_result(frame)


class System:
    """All processes of one run, and what they stand on.

    Attributes:
        failures: the flushes that failed so far.
    """

    def __init__(self, world: World, parts: Parts) -> None:
        plan = world.plan
        self.world = world
        self.parts = parts
        self.store = parts.store(world, parts.tables)
        self.topology = parts.topology(receipts_topology(delivery_limit=4 if "dead-letters" in plan.kinds else 1000))
        self.broker = BrokerServer(world, self.topology)
        self.failures = _Failures()
        self.entrypoints: list[Entrypoint] = []
        self.services: list[Service] = []

    def start(self) -> None:
        """Start every process."""
        plan, world = self.world.plan, self.world
        self.entrypoints = [Entrypoint(self, f"entrypoint{n}") for n in range(plan.entrypoints)]
        self.services = [
            *(entrypoint.service for entrypoint in self.entrypoints),
            *(Service(world, f"worker{n}", self._worker) for n in range(plan.workers)),
            *(Service(world, f"totals{n}", self._totals) for n in range(plan.totals)),
        ]

    def open_page(self, hear: Callable[[str, bytes], None]) -> Service:
        """Have somebody look at the totals: `hear` gets exchange and body of what is published."""
        return Service(self.world, "page", partial(self._page, hear))

    @contextlib.contextmanager
    def assembled(self) -> Iterator[None]:
        """While this lasts, the parts are those that were asked for, and writer ids follow from the seed."""
        page = self.world.chance.choice((1, 2, 1000))
        with (
            patch.object(engine.worker, "Flusher", self.parts.flusher),
            patch.object(engine.flush, "WRITER_IDLE_S", WRITER_IDLE_S),
            patch.object(engine.keeper, "Totals", partial(self.parts.totals, page=page)),
            patch.object(engine.flush, "new_writer", lambda: UUID(int=self.world.chance.getrandbits(128)).hex),
        ):
            yield

    def unrest(self) -> str | None:
        """What is still under way; None at rest. Dead letters are replayed, as an operator would."""
        self.broker.replay_dead_letters()
        for queue in (self.topology.work, self.topology.dead):
            found = self.broker.queues[queue.name]
            if found.ready or found.unsettled:
                return f"{queue.name}: {len(found.ready)} ready, {found.unsettled} unsettled"
        restless = [service.name for service in self.services if not service.well]
        if restless or not self.broker.all_connected:
            return f"not running: {restless}, or not connected"
        if self.world.pending:
            return f"{self.world.pending} calls that nobody waits for"
        return None

    async def _worker(self, process: Process) -> None:
        chance = self.world.chance
        config = WorkerConfig(
            prefetch=chance.randint(1, 8),
            held=HeldBytes(
                unsettled=chance.choice((1500, 6000, 64 << 20)),
                prepared=chance.choice((1000, 1 << 20)),
                flush=chance.choice((1000, 1 << 20)),
            ),
            flush_events=chance.choice((1, 4, 50)),
            flush_wait_s=chance.choice((0.0, 0.003, 0.1)),
            give_back_after_s=chance.choice((0.0, 0.5, 4.0)),
            stop_within_s=2.0,
        )
        async with self._connected(process) as (broker, store):
            worker = self.parts.worker(
                config,
                source=QueueSource(broker, self.topology.work),
                broker=broker,
                store=store,
                stream=STREAM,
                metrics=self.failures,
                clock=process.clock,
                monotonic=self.world.loop.time,
            )
            await worker.run(process.stopping)

    async def _totals(self, process: Process) -> None:
        chance = self.world.chance
        config = TotalsConfig(
            sync_s=chance.choice((0.5, 2.0)),
            checkpoint_s=chance.choice((0.3, 1.0, 3.0)),
            tidy_s=2.0,
            seal_s=chance.choice((WRITER_IDLE_S + 1, 5.0, 1e6)),
            keep_tallies_s=chance.choice((0.0, 3.0, 1e6)),
            keep_days_s=0.0,
            last_checkpoint_s=1.0,
            prefetch=chance.choice((1, 200)),
        )
        async with self._connected(process) as (broker, store):
            keeper = TotalsKeeper(
                config,
                broker=broker,
                store=store,
                stream=STREAM,
                local=STREAM.local,
                topology=self.topology,
                metrics=_TOTALS_METRICS,
                clock=process.clock,
                monotonic=self.world.loop.time,
            )
            await keeper.run(process.stopping)

    @contextlib.asynccontextmanager
    async def _connected(self, process: Process) -> AsyncIterator[tuple[SimulatedBroker, SimulatedStore]]:
        broker = SimulatedBroker(self.world, self.broker, process)
        try:
            yield broker, SimulatedStore(self.world, self.store, process)
        finally:
            await broker.close()

    async def _page(self, hear: Callable[[str, bytes], None], process: Process) -> None:
        """Somebody who looks at the totals."""
        broker = SimulatedBroker(self.world, self.broker, process)
        async for delivery in await broker.subscribe("page", {COUNT.name: "#", CATEGORIES.name: "#"}):
            hear(delivery.exchange, delivery.body)
