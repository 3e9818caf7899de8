"""An event loop with a clock of its own: it jumps to the next timer when nothing is left to do.

What runs on it belongs to processes, each with a line of things to do. Within a line the order is asyncio's; which
line goes on next is drawn by lot. A line can be held: then nothing of that process runs, as if it were killed or
stopped by a signal, at whatever await it had come to.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from streams.errors import TillstreamError

#: What a step takes, seconds: nothing is for free, so that not even a busy loop stops the clock.
_STEP = 0.000_01


class Line:
    """What a process has to do next.

    Attributes:
        held: nothing of it runs.
        steps: done so far.
        fuse: when it comes to so many steps `blown` is called before the next one; 0 for never.
    """

    __slots__ = ("blown", "context", "fuse", "handles", "held", "queued", "steps")

    def __init__(self) -> None:
        self.handles: deque[asyncio.Handle] = deque()
        self.held = False
        self.queued = False
        self.steps = 0
        self.fuse = 0
        self.blown: Callable[[], None] = lambda: None
        self.context = Context()
        self.context.run(_line.set, self)


_line: ContextVar[Line] = ContextVar("line")


class StuckError(AssertionError):
    """Nothing is left to do, or there is no end of it."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module.

    Arguments:
        chance: draws whose turn it is.
        sticky: how likely the same line goes on, 0 to 1.
        most_steps: beyond it a run is taken to go round in circles.

    Attributes:
        world: the line of everything that no process does.
        steps: done so far.
        errors: what was thrown where nobody catches it.
        tasks: all that were ever made; those of dead processes must not be collected, which would run their cleanup.
    """

    def __init__(self, chance: random.Random, *, sticky: float = 0.0, most_steps: int = 500_000) -> None:
        super().__init__()
        self._chance = chance.random
        self._sticky = sticky
        self._most_steps = most_steps
        self._now = 0.0
        self._lines: list[Line] = []
        self._current = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.world = Line()
        self.steps = 0
        self.errors: list[BaseException] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(self._note)

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    def time(self) -> float:
        return self._now

    def after(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Have the world do something later."""
        self.call_at(self._now + seconds, call, *arguments, context=self.world.context)

    def hold(self, line: Line) -> None:
        """Let nothing of a line run; what comes meanwhile waits."""
        line.held = True
        if line.queued:
            self._lines.remove(line)
            line.queued = False

    def release(self, line: Line) -> None:
        """Let a line go on where it was held."""
        line.held = False
        if line.handles and not line.queued:
            self._lines.append(line)
            line.queued = True

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = super().create_task(coro, name=name, context=context)
        self.tasks.append(task)
        return task

    def unexpected(self) -> list[BaseException]:
        """What ended tasks so far that no part of ours means to raise, whether or not somebody took note."""
        ended = [task.exception() for task in self.tasks if task.done() and not task.cancelled()]
        return [error for error in ended if error is not None and not isinstance(error, (TillstreamError, OSError))]

    def call_at(  # type: ignore[override]  # typeshed asks for more than callers see
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def _enqueue(self, handle: asyncio.Handle) -> None:
        line: Line = handle._context.get(_line, self.world)  # type: ignore[attr-defined]
        line.handles.append(handle)
        if not line.queued and not line.held:
            line.queued = True
            self._lines.append(line)

    def _run_once(self) -> None:
        """One step of one line; BaseEventLoop calls this again and again."""
        lines, timers = self._lines, self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                self._enqueue(timer)
        if not lines:
            if not timers:
                raise StuckError("nothing is left to do, and nothing will ever happen")
            self._now = timers[0][0]
            return
        if self._current >= len(lines) or self._chance() >= self._sticky:
            self._current = int(self._chance() * len(lines))
        line = lines[self._current]
        if line.steps == line.fuse and line.fuse:
            line.fuse = 0
            line.blown()
            return
        line.steps += 1
        handle = line.handles.popleft()
        if not line.handles:
            lines[self._current] = lines[-1]
            lines.pop()
            line.queued = False
        self._now += _STEP
        self.steps += 1
        if self.steps > self._most_steps:
            raise StuckError(f"no end after {self.steps} steps, at {self._now:.1f} s")
        if not handle.cancelled():
            handle._run()

    def _process_events(self, event_list: Any) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """There are no threads."""
