"""One run of the whole pipeline: clients, entrypoints, broker, workers, totals, store; faults; then judgement."""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Iterator
from functools import partial

import structlog

from analytics import DayTally, encode_day
from broker.errors import BrokerError
from broker.exchanges import RECEIPTS
from broker.protocol import Message
from engine import TotalsReader, audit
from tests.simulation.broker import HEARTBEAT
from tests.simulation.loop import SimulatedLoop
from tests.simulation.memory import MemoryStore
from tests.simulation.model import DAYS, REFUSED_ENTRY, REFUSED_EVENT, Model, Sent
from tests.simulation.plan import EVENTS, Plan
from tests.simulation.store import TIME_LIMIT
from tests.simulation.system import STREAM, Parts, System
from tests.simulation.world import Process, World

#: For so long there are faults, seconds.
TROUBLED = 8.0
#: So long after that everything has to be at rest.
HEALING = 90.0


class Story:
    """A run; see `play`."""

    def __init__(self, plan: Plan, parts: Parts | None = None) -> None:
        self.plan = plan
        self.chance = random.Random(f"run {plan.seed}")
        self.loop = SimulatedLoop(random.Random(f"turns {plan.seed}"), sticky=self.chance.choice((0.0, 0.5, 0.9, 0.99)))
        self.world = World(plan, self.loop, self.chance)
        self.system = System(self.world, parts or Parts())
        self.store, self.broker = self.system.store, self.system.broker
        self.model = Model()
        self.receipts = [self._receipt() for _ in range(plan.identities)]
        self.backups = [self.store.committed.copy()]
        self._reading: tuple[int, TotalsReader] | None = None

    def _receipt(self) -> Sent:
        cents = self.chance.randrange(1, 3000)
        return Sent(
            self.chance.randrange(1000),
            f"{self.chance.choice((DAYS[0], DAYS[0], DAYS[1]))} 10:00:00",
            f"{cents // 100}.{cents % 100:02d}",
        )

    def play(self) -> None:
        """Live through it. Raises AssertionError where an invariant is broken, or an error that no part may raise."""
        with self._quiet(), self.system.assembled():
            try:
                self.loop.run_until_complete(self._run())
            finally:
                self._end()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """No logs; and what is random without asking us follows from the seed."""
        state = random.getstate()
        random.seed(self.plan.seed)
        logs = structlog.get_config()
        silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=silent, cache_logger_on_first_use=False)
        try:
            yield
        finally:
            random.setstate(state)
            structlog.configure(**logs)

    async def _run(self) -> None:
        plan = self.plan
        self.system.start()
        if plan.at:
            self._strike_at(plan.at)
        self._page = self.system.open_page(self._hear)
        reader = asyncio.ensure_future(self._read_now_and_then())
        clients = [asyncio.ensure_future(self._client()) for _ in range(plan.requests)]
        trouble = asyncio.ensure_future(self._trouble())
        await asyncio.sleep(TROUBLED)
        await trouble
        self._heal()
        self._page.process.crash()  # a page opened now has to show what is right
        self.model.published.clear()
        await asyncio.sleep(TIME_LIMIT + 1)  # calls that were slow before may fail until now
        await self._rest(clients)
        await self._work_on()
        if random.Random(f"rebuild {plan.seed}").random() < 0.3:
            await self._rebuild()
        reader.cancel()
        await self._judge()

    def _hear(self, exchange: str, body: bytes) -> None:
        self.model.hear(exchange, body, self.store.committed)

    async def _read_now_and_then(self) -> None:
        """Somebody who reads the totals from the store for as long as it is not set back, at long intervals."""
        while True:
            await asyncio.sleep(self.chance.choice((0.5, 3.0, 10.0)) * self.chance.random())
            await self._reader().day(DAYS[0])

    def _reader(self) -> TotalsReader:
        if self._reading is None or self._reading[0] != self.store.restores:
            store = MemoryStore(self.store.committed)
            reader = TotalsReader(store, STREAM, monotonic=self.loop.time, totals=self.system.parts.totals)
            self._reading = (self.store.restores, reader)
        return self._reading[1]

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
                await self.chance.choice(self.system.entrypoints).post(receipts, 0.2 + 5 * self.chance.random())
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
            self.backups.append(self.store.committed.copy())
            kind = self.chance.choice(kinds)
            self.world.note(kind)
            self._happen(kind, self.chance.choice(self.system.services).process)

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
            case "restore":
                self._restore()
            case "foreign":
                line = b'{"what is": "this"}' if chance.random() < 0.5 else b"no JSON"
                receipt = STREAM.accept(self.receipts[0].body(), victim.clock())
                self.model.sent.add(self.receipts[0])
                body = b"\n".join((line, receipt))
                self.broker.take(Message(exchange=RECEIPTS.name, routing_key=STREAM.name, body=body), transient=False)
            case "refused":
                self._send_refused(victim.clock())

    def _send_refused(self, now: float) -> None:
        """Put a frame into the queue that the store refuses for good, with other receipts before and after."""
        chance = self.chance
        gross = chance.choice((REFUSED_EVENT, REFUSED_ENTRY))
        bad = Sent(1000 + len(self.model.sent), f"{DAYS[0]} 10:00:00", gross)
        receipts = [chance.choice(self.receipts), bad, chance.choice(self.receipts)]
        self.model.sent.update(receipts)
        body = b"\n".join(STREAM.accept(one.body(), now) for one in receipts)
        self.broker.take(Message(exchange=RECEIPTS.name, routing_key=STREAM.name, body=body), transient=False)

    def _restore(self) -> None:
        """Everything of ours goes down, and the store comes back as it was; the broker keeps what it has."""
        for service in (*self.system.services, self._page):
            service.process.crash()
        self.store.restore(self.chance.choice(self.backups))
        self.model.restored(self.broker.taken)

    def _freeze(self, victim: Process, seconds: float) -> None:
        victim.freeze()
        self.world.later(seconds, victim.thaw)
        if seconds > HEARTBEAT:
            self.world.later(HEARTBEAT, self.broker.silence, victim)

    def _strike_at(self, where: str) -> None:
        """Have the plan's `at` happen."""
        kind, name, steps = where.split(":")
        victim = next(service.process for service in self.system.services if service.name == name)
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
        before = self.system.failures.failed
        for _ in range(3 * self.plan.workers):
            receipts = [self._receipt()]
            self.model.sent.update(receipts)
            assert await self._send(receipts, attempts=1), "refused, although nothing is wrong any more"
        await self._rest([])
        assert self.system.failures.failed == before, "a flush fails, although nothing is wrong any more"

    async def _rebuild(self) -> None:
        """Day documents are damaged, and an operator has the totals made anew; whoever starts then reads those."""
        tables = self.store.committed
        if self.world.bugs or self.loop.errors or self.model.set_aside(tables):
            return
        head = tables.heads.get(STREAM.name)
        for document in head.days.values() if head else ():
            tables.days[document] = encode_day(DayTally())
        await self.system.parts.rebuild(MemoryStore(tables, f"rebuild {len(tables.days)}"), STREAM)
        for service in (*self.system.services, self._page):
            service.process.crash()
        self.model.published.clear()
        self._reading = None
        await self._rest([])

    def _unrest(self) -> str | None:
        """What is still under way."""
        if self.world.bugs or self.loop.errors or self.model.overshot:
            return None  # no need to wait
        return self.system.unrest() or self.model.shows(self.store.committed, DAYS[0])

    async def _judge(self) -> None:
        for error in (*self.world.bugs, *self.loop.errors, *self.loop.unexpected()):
            raise error
        assert not self.model.overshot, f"(iii) {self.model.overshot[0]}"
        tables = self.store.committed
        self.model.check(tables, self.broker.taken)
        report = await audit(MemoryStore(tables), STREAM, patience_s=0.0)
        aside = self.model.set_aside(tables)
        listed = [line for line in report.listed if not any(frame in line for frame in aside)]
        assert listed == [], f"(ii, iii) the audit says: {listed}"
        read, revision, _ = await self._reader().day(DAYS[0])
        wrong = self.model.differs(tables, DAYS[0], read, revision)
        assert wrong is None, wrong

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
