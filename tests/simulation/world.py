"""The simulated machines: processes that are killed, frozen and started again, their clocks, and their network."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from streams.errors import TillstreamError
from tests.simulation.loop import Line, SimulatedLoop
from tests.simulation.plan import Plan

T = TypeVar("T")

#: What the clocks show at the beginning, epoch seconds: 2026-11-18 10:00 UTC.
START = 1_794_996_000.0


class World:
    """What all parts of a run share.

    Attributes:
        chance: the only source of randomness.
        healed: no new fault occurs.
        over: the run has been judged; every call of a process fails at once.
        pending: writes and messages under way that nobody waits for any more.
        bugs: errors that ended a process although nothing ought to.
        faults: what happened, by kind.
    """

    def __init__(self, plan: Plan, loop: SimulatedLoop, chance: random.Random) -> None:
        self.plan = plan
        self.loop = loop
        self.chance = chance
        self.healed = False
        self.over = False
        self.pending = 0
        self.bugs: list[BaseException] = []
        self.faults: dict[str, int] = {}
        self.processes: list[Process] = []

    def latency(self) -> float:
        """One way through the network, seconds."""
        draw = self.chance.random()
        return 0.0002 + 0.002 * draw if draw < 0.95 or self.healed else 0.2 * self.chance.random()

    def later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Have something happen that nobody waits for; the run does not come to rest before."""

        def happen() -> None:
            self.pending -= 1
            call(*arguments)

        self.pending += 1
        self.loop.after(seconds, happen)

    def strike(self, kinds: tuple[str, ...]) -> str | None:
        """The fault that befalls a call, if any."""
        if self.healed or self.chance.random() * 100 >= self.plan.trouble:
            return None
        kind = self.chance.choice(kinds)
        return self.note(kind) if kind in self.plan.kinds else None

    def note(self, kind: str) -> str:
        """Count a fault that occurs."""
        self.faults[kind] = self.faults.get(kind, 0) + 1
        return kind


class Process:
    """A process of the system, on a machine with a clock of its own."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.stopping = asyncio.Event()
        self.on_death: list[Callable[[], None]] = []
        self.clock_error = 0.0
        self._world = world
        self._loop = world.loop
        self._line = Line()
        world.processes.append(self)

    def clock(self) -> float:
        """What its wall clock shows, epoch seconds."""
        return START + self._loop.time() + self.clock_error

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run a coroutine in this process."""
        return self._loop.create_task(work, context=self._line.context.copy())

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have something from outside arrive in this process."""
        self._loop.call_soon(call, *arguments, context=self._line.context)

    def crash(self) -> None:
        """Kill it: nothing of it runs any more, no cleaning up."""
        if self.alive:
            self.alive = False
            self._loop.hold(self._line)
            for call in self.on_death:
                self._loop.after(self._world.latency(), call)

    @property
    def steps(self) -> int:
        """How many steps it has done."""
        return self._line.steps

    def after_steps(self, steps: int, call: Callable[[], None]) -> None:
        """Have something happen to it when it has done so many steps more, before the next one."""
        self._line.fuse = self._line.steps + steps
        self._line.blown = call

    def spare(self) -> None:
        """Take back what `after_steps` announced."""
        self._line.fuse = 0

    def freeze(self) -> None:
        """Stop it where it is."""
        self.frozen = True
        self._loop.hold(self._line)

    def thaw(self) -> None:
        """Let it go on; it knows nothing of the time between."""
        self.frozen = False
        if self.alive:
            self._loop.release(self._line)

    def bury(self) -> None:
        """After the end: let even a dead process run, so that its tasks can be ended."""
        self._loop.release(self._line)


class Service:
    """Keeps a process running: another one starts when it has stopped or died.

    Arguments:
        main: what the process does, until its `stopping` is set. A TillstreamError ends it as a broker that cannot be
            reached ends a real one; any other error is a bug.
    """

    def __init__(self, world: World, name: str, main: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        self._world = world
        self.name = name
        self._main = main
        self._starts = 0
        self.process: Process
        self._start()

    @property
    def well(self) -> bool:
        """Whether its process runs, and is not about to end."""
        return self.process.alive and not self.process.frozen and not self.process.stopping.is_set()

    def _start(self) -> None:
        if self._world.over:
            return
        self._starts += 1
        process = self.process = Process(self._world, f"{self.name}.{self._starts}")
        process.on_death.append(self._start_later)
        task = process.start(self._main(process))
        task.add_done_callback(self._ended, context=self._world.loop.world.context)

    def _start_later(self) -> None:
        self._world.later(0.1 + self._world.chance.random() * 2, self._start)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._world.over:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, TillstreamError):
            self._world.bugs.append(error)
        self.process.crash()  # the process is gone, whatever it had left running


def resolve(reply: "asyncio.Future[Any]", result: Any) -> None:
    """Answer a call, unless nobody waits for it any more."""
    if not reply.done():
        reply.set_result(result)


def fail(reply: "asyncio.Future[Any]", error: BaseException) -> None:
    """Answer a call by an error, unless nobody waits for it any more."""
    if not reply.done():
        reply.set_exception(error)
