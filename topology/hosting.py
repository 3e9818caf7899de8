"""An event loop beside Storm's protocol: components talk to Storm on the main thread, and work in a thread of its own.

So heartbeats are answered while a flush waits for the store, and broker and store are used as everywhere else.
"""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from pystorm.exceptions import StormWentAwayError

from runtime import Backoff, run
from streams.errors import ConfigurationError, TillstreamError

log = structlog.get_logger()

#: Pauses between attempts of work that fails.
RETRY = Backoff(base_s=0.5, cap_s=30.0)
#: How long a thread may take to make its event loop.
_START_S = 30.0


class LoopThread:
    """Runs one coroutine, `main(stop)`, on an event loop in a thread; the thread does not outlive the process.

    Arguments:
        name: of the thread.
        main: works until the event is set.
        on_death: called in the thread when `main` ended though nobody asked it to, with its error.
    """

    def __init__(
        self,
        name: str,
        main: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
        on_death: Callable[[BaseException | None], None],
    ) -> None:
        self._main = main
        self._on_death = on_death
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._body, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; return when its loop runs. Raises RuntimeError if it does not."""
        self._thread.start()
        if not self._started.wait(_START_S):
            raise RuntimeError(f"the thread {self._thread.name!r} does not start")

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called on the loop, soon and in order; on any thread. RuntimeError when the loop is over."""
        if self._loop is None:
            raise RuntimeError("the loop has not begun")
        self._loop.call_soon_threadsafe(function, *arguments)

    def stop(self, within_s: float) -> bool:
        """Ask `main` to end, and wait for it, so long at most; say whether it has ended."""
        self._stopping = True
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                return True  # over already
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def _body(self) -> None:
        error: BaseException | None = None
        try:
            run(self._begin())
        except BaseException as exc:  # noqa: BLE001  # whatever it is, the process must not stay without its loop
            error = exc
        if not self._stopping:
            self._on_death(error)

    async def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._main(self._stop)


async def persistently(
    name: str, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event, retry: Backoff = RETRY
) -> None:
    """Do some work until `stop` is set; when it fails, say so and begin again, after pauses that grow.

    Raises only ConfigurationError, which beginning again does not mend, and what ends the process anyway.
    """
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            await work(stop)
            failures = 0
        except (ConfigurationError, StormWentAwayError):
            raise
        except Exception as exc:  # a bug is to cost the tuples in hand, not the process
            if stop.is_set():
                return
            failures = 1 if time.monotonic() - began > retry.cap_s else failures + 1
            delay = retry.delay(failures, random.random())
            if isinstance(exc, TillstreamError):
                log.warning("failed, beginning again", work=name, error=str(exc), delay_s=round(delay, 2))
            else:
                log.exception("failed, beginning again", work=name, delay_s=round(delay, 2))
            try:
                async with asyncio.timeout(delay):
                    await stop.wait()
            except TimeoutError:
                pass
