"""Feeds that run: a generator or files on one side, a sender on the other, a rate between them if wanted."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from feeds.counts import Counts
from feeds.files import read_requests
from feeds.generator import Generator, GeneratorOptions
from feeds.pace import Pace
from feeds.sender import Sender, SenderOptions
from feeds.splitter import FileFormatError

T = TypeVar("T")

#: Requests read ahead of the sender.
_READ_AHEAD = 4


class Outlet(Protocol):
    """What requests are handed to; `feeds.sender.Sender` is one."""

    async def submit(self, events: list[bytes]) -> bool:
        """Take events, waiting for a place; False after a wish to stop."""

    async def rest(self, seconds: float) -> bool:
        """Wait; True if a wish to stop ended it."""


async def run_generator(
    url: str,
    stop: asyncio.Event,
    *,
    rate: float = 200.0,
    generator: GeneratorOptions | None = None,
    batch: int = 1,
    concurrency: int = 16,
    token: str | None = None,
) -> Counts:
    """Send made-up receipts at a steady rate until `stop` is set, whatever happens to the server meanwhile.

    At most `concurrency` requests are under way; trouble is logged once, and once when it is over.

    Arguments:
        url: of the entrypoint.
        rate: receipts a second, copies included.
        batch: receipts in a request.
    Raises SendingError only if the server refuses every request for good (a wrong token or address).
    """
    options = SenderOptions(url=url, token=token, concurrency=concurrency, patience_s=None, first_patience_s=None)
    requests = Generator(generator).requests(None, batch)
    async with Sender(options) as sender:
        await run_feed(sender, send_requests(sender, requests, rate=rate), stop)
    return sender.counts


async def run_feed(
    sender: Sender, feed: Coroutine[Any, Any, T], stop: asyncio.Event, *, to_its_end: bool = False
) -> T | None:
    """Run a feed into an open sender until all is settled, or until `stop` is set and a short grace is over.

    What is under way then is counted as unknown when the sender closes.

    Arguments:
        to_its_end: after the sender gave up, the rest of the feed is counted as unsent; for one that soon ends.

    Returns what the feed returned, None if it was stopped before. Raises SendingError if the sender gave up, and
    whatever the feed raises.
    """
    producer = asyncio.create_task(feed, name="feed")
    over = asyncio.create_task(sender.over(), name="wait until the sender is over")
    watcher = asyncio.create_task(_stop(sender, stop), name="stop the sender")
    try:
        enough: asyncio.Task[None] = watcher if to_its_end else over
        await asyncio.wait({producer, enough}, return_when=asyncio.FIRST_COMPLETED)
        if not producer.done():
            producer.cancel()
        await asyncio.wait({producer})
        await sender.drain()
        return None if producer.cancelled() else producer.result()
    finally:
        for task in (producer, over, watcher):
            task.cancel()
        await asyncio.gather(producer, over, watcher, return_exceptions=True)


async def _stop(sender: Sender, stop: asyncio.Event) -> None:
    await stop.wait()
    sender.stop()


async def send_requests(
    outlet: Outlet,
    requests: Iterable[list[bytes]],
    *,
    rate: float | None = None,
    for_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Hand requests to an outlet, each made only when it is due; returns when all are under way or it stops.

    Arguments:
        rate: events a second; None is as fast as the outlet takes them.
        for_s: ends after so many seconds.
    """
    start = clock()
    pace = Pace(rate, start) if rate is not None else None
    source = iter(requests)
    while True:
        now = clock()
        left = math.inf if for_s is None else start + for_s - now
        if left <= 0:
            return
        if pace is not None and (delay := pace.delay(now)) > 0:
            if await outlet.rest(min(delay, left)):
                return
            continue
        request = next(source, None)
        if request is None or not await outlet.submit(request):
            return
        if pace is not None:
            pace.sent(len(request), clock())


async def send_files(
    outlet: Outlet,
    sources: Iterable[str],
    *,
    batch: int,
    progress: Callable[[str, int], None] | None = None,
) -> list[FileFormatError]:
    """Send files one after another; a damaged one does not keep the next from being sent.

    Arguments:
        sources: paths, or `-`.
        batch: events in a request.
        progress: told a source and how many of its bytes were read.
    Returns what was wrong with files.
    """
    problems: list[FileFormatError] = []
    for source in sources:
        told = (lambda position, source=source: progress(source, position)) if progress else None
        try:
            async for request in read_ahead(read_requests(source, batch, told)):
                if not await outlet.submit(request):
                    return problems
        except FileFormatError as exc:
            problems.append(exc)
    return problems


async def read_ahead(items: Iterator[T]) -> AsyncIterator[T]:
    """Run a blocking iterator in a thread of its own, a few items ahead.

    The thread is a daemon: a read of standard input that never returns does not keep the process.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[bool, T | BaseException | None]] = asyncio.Queue()
    places = threading.Semaphore(_READ_AHEAD)
    closed = threading.Event()

    def hand_over(more: bool, item: T | BaseException | None) -> None:
        places.acquire()
        if not closed.is_set():
            loop.call_soon_threadsafe(queue.put_nowait, (more, item))

    def run() -> None:
        try:
            for item in items:
                hand_over(True, item)
                if closed.is_set():
                    return
            hand_over(False, None)
        except BaseException as exc:  # noqa: BLE001 - it is raised where the items are wanted
            hand_over(False, exc)

    threading.Thread(target=run, name="read events", daemon=True).start()
    try:
        while True:
            more, item = await queue.get()
            places.release()
            if more:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        closed.set()
        places.release()
