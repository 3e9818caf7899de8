"""One run of the whole pipeline: clients, entrypoints, broker, workers, totals, store; faults; then judgement."""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import CollectorRegistry

import engine.flush
import workers.totals
import workers.worker
from broker.errors import BrokerError
from broker.exchanges import CATEGORIES, COUNT, RECEIPTS, receipts_topology
from broker.group_commit import GroupCommit, GroupCommitLimits
from broker.protocol import Message
from engine import Flusher, Totals, audit
from engine.flush import Flushed
from streams import ReceiptStream
from tests.simulation.broker import HEARTBEAT, BrokerServer
from tests.simulation.loop import SimulatedLoop
from tests.simulation.memory import MemoryStore, Tables
from tests.simulation.model import DAYS, Model, Sent
from tests.simulation.plan import EVENTS, Plan
from tests.simulation.store import SimulatedStore, StoreServer
from tests.simulation.world import Process, Service, World
from workers import TotalsConfig, TotalsKeeper, TotalsMetrics, Worker, WorkerConfig, WorkerMetrics

STREAM = ReceiptStream(ZoneInfo("UTC"))
#: For so long there are faults, seconds.
TROUBLED = 8.0
#: So long after that everything has to be at rest.
HEALING = 90.0
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


class _Failures(WorkerMetrics):
    """Counts the flushes that failed, and nothing else."""

    def __init__(self) -> None:
        self.failed = 0

    def flushed(self, flushed: Flushed, seconds: float) -> None:
        """All is well."""

    def flush_failed(self) -> None:
        self.failed += 1


class Entrypoint:
    """A process that answers requests; what is real of it is the group commit."""

    def __init__(self, story: "Story", name: str) -> None:
        self._story = story
        self._commit: GroupCommit | None = None
        self._replies: dict[asyncio.Future[str], Process] = {}
        self.service = Service(story.world, name, self._main)

    async def _main(self, process: Process) -> None:
        story = self._story
        process.on_death.append(partial(self._hang_up, process))
        broker = story.broker.connect(process)
        limits = GroupCommitLimits(frames_in_flight=story.chance.randint(1, 3), frame_max_bytes=2000)
        self._commit = commit = story.parts.commit(broker, STREAM.name, limits)
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
        story, process = self._story, self.service.process
        if self._commit is None or not process.alive:
            raise ConnectionRefusedError
        reply: asyncio.Future[str] = story.loop.create_future()
        self._replies[reply] = process
        story.loop.after(story.world.latency(), process.post, self._begin, process, receipts, reply)
        try:
            async with asyncio.timeout(patience):
                return await reply
        except TimeoutError:
            raise ConnectionAbortedError from None
        finally:
            self._replies.pop(reply, None)

    def _begin(self, process: Process, receipts: list[Sent], reply: "asyncio.Future[str]") -> None:
        task = process.start(self._answer(process, receipts, reply))
        if self._story.chance.random() < 0.5:  # a server that ends the handler of a client that has left
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


class Story:
    """A run; see `play`."""

    def __init__(self, plan: Plan, parts: Parts | None = None) -> None:
        self.plan = plan
        self.parts = parts or Parts()
        self.chance = random.Random(f"run {plan.seed}")
        self.loop = SimulatedLoop(random.Random(f"turns {plan.seed}"), sticky=self.chance.choice((0.0, 0.5, 0.9, 0.99)))
        self.world = World(plan, self.loop, self.chance)
        self.store = self.parts.store(self.world, self.parts.tables)
        limit = 4 if "dead-letters" in plan.kinds else 1000
        self.topology = receipts_topology(delivery_limit=limit)
        self.broker = BrokerServer(self.world, self.topology)
        self.model = Model()
        self.failures = _Failures()
        self.receipts = [self._receipt() for _ in range(plan.identities)]

    def _receipt(self) -> Sent:
        cents = self.chance.randrange(1, 3000)
        return Sent(
            self.chance.randrange(1000),
            f"{self.chance.choice((DAYS[0], DAYS[0], DAYS[1]))} 10:00:00",
            f"{cents // 100}.{cents % 100:02d}",
        )

    def play(self) -> None:
        """Live through it. Raises AssertionError where an invariant is broken, or an error that no part may raise."""
        with self._quiet(), patch.object(engine.flush, "new_writer", self._writer):
            try:
                self.loop.run_until_complete(self._run())
            finally:
                self._end()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        state = random.getstate()
        random.seed(self.plan.seed)  # jitter
        logs = structlog.get_config()
        silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=silent, cache_logger_on_first_use=False)
        patches = (
            patch.object(workers.worker, "Flusher", self.parts.flusher),
            patch.object(workers.totals, "Totals", partial(self.parts.totals, page=self.chance.choice((1, 2, 1000)))),
        )
        try:
            with patches[0], patches[1]:
                yield
        finally:
            random.setstate(state)
            structlog.configure(**logs)

    def _writer(self) -> str:
        return UUID(int=self.chance.getrandbits(128)).hex

    async def _run(self) -> None:
        plan, world = self.plan, self.world
        self.entrypoints = [Entrypoint(self, f"entrypoint{n}") for n in range(plan.entrypoints)]
        self.services = [
            *(entrypoint.service for entrypoint in self.entrypoints),
            *(Service(world, f"worker{n}", self._worker) for n in range(plan.workers)),
            *(Service(world, f"totals{n}", self._totals) for n in range(plan.totals)),
        ]
        if plan.at:
            self._strike_at(plan.at)
        page = Service(world, "page", self._page)
        clients = [asyncio.ensure_future(self._client()) for _ in range(plan.requests)]
        trouble = asyncio.ensure_future(self._trouble())
        await asyncio.sleep(TROUBLED)
        await trouble
        self._heal()
        page.process.crash()  # a page opened now has to show what is right
        self.model.published.clear()
        await self._rest(clients)
        await self._work_on()
        await self._judge()

    # -- the processes ------------------------------------------------------------------------------------------------

    async def _worker(self, process: Process) -> None:
        chance = self.chance
        config = WorkerConfig(
            prefetch=chance.randint(1, 8),
            flush_events=chance.choice((1, 4, 50)),
            flush_wait_s=chance.choice((0.0, 0.003, 0.1)),
            give_back_after_s=chance.choice((0.0, 0.5, 4.0)),
            stop_within_s=2.0,
        )
        async with self._parts(process) as (broker, store):
            worker = self.parts.worker(
                config,
                broker=broker,
                store=store,
                stream=STREAM,
                queue=self.topology.work,
                metrics=self.failures,
                clock=process.clock,
                monotonic=self.loop.time,
            )
            await worker.run(process.stopping)

    async def _totals(self, process: Process) -> None:
        chance = self.chance
        config = TotalsConfig(
            sync_s=chance.choice((0.5, 2.0)),
            checkpoint_s=chance.choice((0.3, 1.0, 3.0)),
            tidy_s=2.0,
            keep_tallies_s=chance.choice((0.0, 3.0, 1e6)),
            keep_days_s=0.0,
            last_checkpoint_s=1.0,
            prefetch=chance.choice((1, 200)),
        )
        async with self._parts(process) as (broker, store):
            keeper = TotalsKeeper(
                config,
                broker=broker,
                store=store,
                stream=STREAM,
                local=STREAM.local,
                topology=self.topology,
                metrics=_TOTALS_METRICS,
                clock=process.clock,
                monotonic=self.loop.time,
            )
            await keeper.run(process.stopping)

    @contextlib.asynccontextmanager
    async def _parts(self, process: Process) -> "AsyncIterator[tuple[Any, Any]]":
        broker = self.broker.connect(process)
        try:
            yield broker, SimulatedStore(self.world, self.store, process)
        finally:
            await broker.close()

    async def _page(self, process: Process) -> None:
        """Somebody who looks at the totals."""
        broker = self.broker.connect(process)
        async for delivery in await broker.subscribe("page", {COUNT.name: "#", CATEGORIES.name: "#"}):
            self.model.hear(delivery.exchange, delivery.body, self.store.committed)

    # -- the clients --------------------------------------------------------------------------------------------------

    async def _client(self) -> None:
        """Send some receipts, until they are taken or patience is over; sometimes once more."""
        chance = self.chance
        receipts = [chance.choice(self.receipts) for _ in range(chance.choice((1, 1, 2, 4)))]
        if chance.random() < 0.2:
            receipts[0] = receipts[0]._replace(gross="999.90")  # contradicts what others say
        self.model.sent.update(receipts)
        await asyncio.sleep(chance.random() * TROUBLED * chance.choice((0.1, 0.9)))
        accepted = await self._send(receipts, attempts=chance.choice((1, 3, 100)))
        if accepted and chance.random() < 0.3:
            await self._send(receipts, attempts=1)

    async def _send(self, receipts: list[Sent], attempts: int) -> bool:
        for attempt in range(1, attempts + 1):
            try:
                await self.chance.choice(self.entrypoints).post(receipts, 0.2 + 5 * self.chance.random())
            except (BrokerError, OSError):
                await asyncio.sleep(0.1 * attempt * self.chance.random())
            else:
                self.model.accepted.update(receipts)
                return True
        return False

    # -- the faults ---------------------------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        kinds = [kind for kind in EVENTS if kind in self.plan.kinds and kind != "dead-letters"]
        if not kinds:
            return
        moments = sorted(self.chance.random() * TROUBLED * 0.9 for _ in range(self.plan.events))
        for moment in moments:
            await asyncio.sleep(moment - self.loop.time())
            kind = self.chance.choice(kinds)
            self.world.note(kind)
            self._happen(kind, self.chance.choice(self.services).process)

    def _happen(self, kind: str, victim: Process) -> None:
        chance, later = self.chance, self.world.later
        seconds = chance.choice((0.2, 1.0, 5.0)) * chance.random()
        match kind:
            case "crash":
                victim.after_steps(chance.randint(1, chance.choice((20, 200))), victim.crash)
            case "freeze":
                self._freeze(victim, seconds * chance.choice((1, 3)))
            case "stop":
                victim.post(victim.stopping.set)
            case "clock":
                victim.clock_error = chance.choice((-86_400.0, -60.0, -1.0, 1.0, 60.0, 86_400.0)) * chance.random()
            case "cut":
                self.broker.cut(chance.randrange(100))
            case "broker-restart":
                if self.broker.up:
                    self.broker.restart(seconds)
            case "alarm" | "full":
                setattr(self.broker, kind, True)
                later(seconds, setattr, self.broker, kind, False)
            case "store-down":
                self.store.down = True
                later(seconds, setattr, self.store, "down", False)
            case "failover":
                self.store.fail_over()
            case "foreign":
                line = b'{"what is": "this"}' if chance.random() < 0.5 else b"no JSON"
                receipt = STREAM.accept(self.receipts[0].body(), victim.clock())
                self.model.sent.add(self.receipts[0])
                body = b"\n".join((line, receipt))
                self.broker.take(Message(exchange=RECEIPTS.name, routing_key=STREAM.name, body=body), transient=False)

    def _freeze(self, victim: Process, seconds: float) -> None:
        victim.freeze()
        self.world.later(seconds, victim.thaw)
        if seconds > HEARTBEAT:
            self.world.later(HEARTBEAT, self.broker.silence, victim)

    def _strike_at(self, where: str) -> None:
        """Have the plan's `at` happen."""
        kind, name, steps = where.split(":")
        victim = next(service.process for service in self.services if service.name == name)
        fate = victim.crash if kind == "crash" else partial(self._freeze, victim, HEARTBEAT + 2)
        victim.after_steps(int(steps), fate)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        self.world.healed = True
        self.store.settle()
        for process in self.world.processes:
            process.spare()
            process.clock_error = 0.0

    async def _rest(self, clients: "list[asyncio.Task[None]]") -> None:
        """Wait until nothing is under way any more; fail when that takes too long."""
        deadline = self.loop.time() + HEALING
        if clients:
            await asyncio.wait(clients, timeout=HEALING)
        assert all(client.done() for client in clients), "a client is still refused"
        calm = 0
        why: str | None = ""
        while calm < 2:
            await asyncio.sleep(0.5)
            why = self._unrest()
            calm = 0 if why else calm + 1
            assert self.loop.time() < deadline, f"no rest within {HEALING:g} s: {why}"

    async def _work_on(self) -> None:
        """Every worker has to be well again: a few more receipts, and no flush of them may fail."""
        if self.world.bugs or self.loop.errors:
            return
        before = self.failures.failed
        for _ in range(3 * self.plan.workers):
            receipts = [self._receipt()]
            self.model.sent.update(receipts)
            assert await self._send(receipts, attempts=1), "refused, although nothing is wrong any more"
        await self._rest([])
        assert self.failures.failed == before, "a flush fails, although nothing is wrong any more"

    def _unrest(self) -> str | None:
        """What is still under way."""
        if self.world.bugs or self.loop.errors or self.model.overshot:
            return None  # no need to wait
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
        return self.model.shows(self.store.committed, DAYS[0])

    async def _judge(self) -> None:
        for error in (*self.world.bugs, *self.loop.errors):
            raise error
        assert not self.model.overshot, f"(iii) {self.model.overshot[0]}"
        tables = self.store.committed
        self.model.check(tables, self.broker.taken)
        report = await audit(MemoryStore(tables), STREAM, patience_s=0.0)
        assert report.listed == [], f"(ii, iii) the audit says: {report.listed}"

    def summary(self) -> dict[str, object]:
        """What happened, for people."""
        tables = self.store.committed
        return {
            "plan": self.plan,
            "faults": dict(sorted(self.world.faults.items())),
            "processes started": len(self.world.processes),
            "receipts": f"{len(self.model.sent)} sent, {len(self.model.accepted)} of them answered 202",
            "frames": f"{len(self.broker.taken)} taken, {self.broker.dead} dead-lettered",
            "store": f"{len(tables.stored)} receipts, {len(tables.ledger)} entries, {len(tables.refused)} rejected",
            "writers": len({entry.writer for entry in tables.ledger.values()}),
            "steps": self.loop.steps,
        }

    def digest(self) -> str:
        """Equal for runs that went the same way."""
        tables = self.store.committed
        entries = [(entry.writer, entry.seq, frame, entry.at) for frame, entry in tables.ledger.items()]
        told = repr((self.loop.steps, self.loop.time(), entries, list(tables.refused), list(tables.days)))
        return hashlib.sha256(told.encode()).hexdigest()

    def _end(self) -> None:
        """End all tasks, without letting any of them do anything more."""
        self.world.over = True
        loop = self.loop
        loop.set_exception_handler(lambda loop, context: None)
        for process in self.world.processes:
            process.bury()
        for _ in range(20):
            left = [task for task in loop.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            _spin(loop)
        loop.tasks.clear()
        loop.close()


def _spin(loop: SimulatedLoop) -> None:
    """Let some virtual time pass."""
    done = loop.create_future()
    loop.after(15.0, done.set_result, None)
    loop.run_until_complete(done)


@contextlib.contextmanager
def told(plan: Plan) -> Iterator[None]:
    """Have a failure name what replays it."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"replay it with: {plan.command()}")
        raise


def play(plan: Plan, parts: Parts | None = None) -> Story:
    """Play a plan; the story, for those who want to know how it went."""
    story = Story(plan, parts)
    with told(plan):
        story.play()
    return story
