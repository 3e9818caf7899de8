"""How a process is asked to stop, and who owns its background tasks."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger()

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set; while it is held, the first of them does nothing else.

    A signal that is ignored stays ignored: shells start background jobs so, to keep them from Ctrl-C.
    After the first signal the system's own handlers are back, so a second one kills a process that hangs while
    stopping. The handlers found at the beginning are restored at the end. Only in the main thread, in a running loop.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    found = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number in SIGNALS if found[number] is not signal.SIG_IGN]

    def ask(number: signal.Signals) -> None:
        log.info("stopping; a second signal kills", signal=number.name)
        for each in heeded:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    for number in heeded:
        loop.add_signal_handler(number, ask, number)
    try:
        yield stop
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
            signal.signal(number, found[number])


class Tasks:
    """Owner of named background tasks: `async with Tasks() as tasks`.

    Leaving the block cancels what still runs, the last started first, and waits for each. A task may end by itself;
    one that fails makes `until` raise its error, or, where nobody waits there, the end of the block does.

    Arguments:
        patience_s: how long a cancelled task may take to clean up before it is left behind, with a warning.
    """

    def __init__(self, *, patience_s: float = 10.0) -> None:
        self._patience_s = patience_s
        self._tasks: list[asyncio.Task[Any]] = []
        self._failure: BaseException | None = None
        self.failed = asyncio.Event()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in the background, under a name that logs can show."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._done)
        return task

    async def until(self, stop: asyncio.Event) -> None:
        """Wait for `stop`. Raises the error of the first task that fails before."""
        waits = [asyncio.create_task(event.wait()) for event in (stop, self.failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._raise_failure()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.remove(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if self._failure is None:
            error.add_note(f"in the background task {task.get_name()!r}")
            self._failure = error  # raised by `until`, or at the end of the block
            self.failed.set()
        else:
            log.error("another background task failed", task=task.get_name(), error=str(error) or type(error).__name__)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in reversed(self._tasks.copy()):
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=self._patience_s)
            if late:
                log.warning("a background task does not stop; leaving it behind", task=task.get_name())
        await asyncio.sleep(0)  # `_done` of the last task runs in the next round of the loop
        if error is None:
            self._raise_failure()
