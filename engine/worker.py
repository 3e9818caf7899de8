"""The worker: takes frames as they are delivered, flushes them, acknowledges them. Run as many as you like.

Where the deliveries come from is not its business: the asyncio engine takes them from the work queue, the Storm engine
from tuples.

It owns no data: stop it, kill it, start another. Everything it has not acknowledged is delivered again, and the flush
knows what of it is done already.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from broker.errors import BrokerError
from broker.frames import FRAME_SCHEMA, Frame
from broker.protocol import Consumer, Delivery
from engine.flush import Announcer, Flushed, Flusher
from engine.metrics import WorkerMetrics
from engine.prepare import PreparedFrame, prepare
from runtime import Backoff, Tasks, debugging
from store.errors import StoreError
from store.protocol import Store
from streams.base import Stream
from streams.errors import TillstreamError

log = structlog.get_logger()

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How a worker works.

    Attributes:
        prefetch: unacknowledged frames at most.
        flush_events: a flush takes no further frame once it has so many events.
        flush_wait_s: how long a flush waits for more frames after the first, seconds.
        retry: delays between attempts of a failing flush.
        give_back_after_s: a flush that has failed for so long gives its frames back to the queue. Long, since each
            return counts towards the delivery limit of a frame; shorter than the half hour that RabbitMQ waits for an
            acknowledgement.
        stop_within_s: on stop, a flush under way gets so long to finish.
    """

    prefetch: int = 64
    flush_events: int = 2000
    flush_wait_s: float = 0.003
    retry: Backoff = field(default_factory=lambda: Backoff(base_s=0.1, cap_s=5.0))
    give_back_after_s: float = 600.0
    stop_within_s: float = 8.0


class Source(Protocol):
    """Where a worker's deliveries come from."""

    async def open(self, *, prefetch: int) -> Consumer:
        """Begin to take deliveries, `prefetch` unsettled ones at most. Raises BrokerError if they cannot be had."""


def newer_release_needed(headers: Mapping[str, str | int]) -> str | None:
    """Why this release cannot read the frame with these headers; None if it can."""
    schema = headers.get("schema", FRAME_SCHEMA)
    if isinstance(schema, int) and schema <= FRAME_SCHEMA:
        return None
    return f"a frame of format {schema} needs a newer release; this one knows {FRAME_SCHEMA}"


@dataclass(frozen=True, slots=True)
class _Work:
    """A delivered frame and what was read from it."""

    delivery: Delivery
    frame: PreparedFrame


class Worker:
    """One worker, for one stream.

    While one flush writes, the next frames are read and encoded; there is never more than one flush at a time, so the
    ledger entries of this writer are in order.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        source: Source,
        broker: Announcer,
        store: Store,
        stream: Stream,
        metrics: WorkerMetrics,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._source = source
        self._store = store
        self._stream = stream
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._flusher = Flusher(store=store, broker=broker, stream=stream, clock=clock)
        self._prepared: asyncio.Queue[_Work] = asyncio.Queue()
        #: events prepared and not yet flushed; reading pauses beyond two flushes' worth, which bounds memory
        self._waiting_events = 0
        self._room = asyncio.Event()
        self._trouble: str | None = None
        self._newer: str | None = None
        self._unsettled: dict[int, Delivery] = {}

    async def check(self) -> None:
        """For readiness: raises while flushes fail, or after a frame of a newer release."""
        trouble = self._newer or self._trouble
        if trouble is not None:
            raise TillstreamError(trouble)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish the flush under way (bounded), give back the rest, and return.

        Raises only for bugs and for what makes going on pointless; failures of broker and store are waited out.
        """
        consumer = await self._source.open(prefetch=self._config.prefetch)
        try:
            async with Tasks(patience_s=self._config.stop_within_s) as tasks:
                tasks.start("read frames", self._read(consumer))
                flushing = tasks.start("flush frames", self._flush_forever(stop))
                await tasks.until(stop)
                await consumer.cancel()  # no new frames
                with contextlib.suppress(TimeoutError):  # then what is being flushed, bounded
                    async with asyncio.timeout(self._config.stop_within_s):
                        await asyncio.shield(flushing)
        finally:
            await self._give_back(list(self._unsettled.values()))  # then what was not begun
            await consumer.close()

    async def _read(self, consumer: Consumer) -> None:
        """Prepare frames as they arrive, while the flush before them is under way."""
        async for delivery in consumer:
            self._unsettled[id(delivery)] = delivery
            newer = newer_release_needed(delivery.headers)
            if newer is not None:
                # Held, not handed back: the broker would give it to us again at once, and again.
                self._newer = newer
                log.error("stopped consuming", reason=newer, frame=delivery.message_id)
                await consumer.cancel()
                return
            frame = Frame.from_body(self._stream.name, delivery.body)
            work = _Work(delivery, await prepare(frame, self._stream, self._store, self._clock))
            while self._waiting_events > 2 * self._config.flush_events:
                self._room.clear()
                await self._room.wait()
            self._waiting_events += frame.events
            self._prepared.put_nowait(work)

    async def _flush_forever(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            batch = await self._gather(stop)
            if batch:
                await self._flush(batch, stop)
                self._waiting_events -= sum(_lines(work) for work in batch)
                self._room.set()

    async def _gather(self, stop: asyncio.Event) -> list[_Work]:
        """What is waiting, up to a size, and what comes within a few milliseconds; empty when asked to stop."""
        first = await _first(self._prepared.get(), stop)
        if first is None:
            return []
        batch = [first]
        events = _lines(first)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.flush_wait_s):
                while events < self._config.flush_events:
                    work = await self._prepared.get()
                    batch.append(work)
                    events += _lines(work)
        return batch

    async def _flush(self, batch: list[_Work], stop: asyncio.Event) -> None:
        """Flush until it succeeds; give the frames back after a while, or when asked to stop in between."""
        began = self._monotonic()
        attempt = 0
        while True:
            started = self._monotonic()
            try:
                flushed = await self._flusher.flush([work.frame for work in batch])
            except StoreError as exc:
                attempt += 1
                self._metrics.flush_failed()
                self._trouble = f"flushes fail: {exc}"
                if stop.is_set() or self._monotonic() - began > self._config.give_back_after_s:
                    log.error("flush failed, giving its frames back", error=str(exc), frames=_frames(batch))
                    await self._give_back([work.delivery for work in batch])
                    self._trouble = None  # the next frames will tell
                    return
                delay = self._config.retry.delay(attempt, random.random())
                log.warning(
                    "flush failed, trying again",
                    attempt=attempt,
                    delay_s=round(delay, 2),
                    error=str(exc),
                    frames=_frames(batch),
                )
                await _first(asyncio.sleep(delay), stop)
            else:
                self._trouble = None
                self._note(flushed, batch, self._monotonic() - started)
                await self._settle([work.delivery for work in batch])
                return

    def _note(self, flushed: Flushed, batch: Sequence[_Work], seconds: float) -> None:
        self._metrics.flushed(flushed, seconds)
        if debugging():
            log.debug(
                "flushed",
                counted=flushed.counted,
                duplicates=flushed.duplicates,
                conflicts=flushed.conflicts,
                unreadable=flushed.unreadable,
                writer=flushed.writer,
                first=flushed.first,
                last=flushed.last,
                ms=round(seconds * 1000, 1),
                frames=_frames(batch),
            )

    async def _settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge; what cannot be is delivered again, and found done."""
        for delivery in deliveries:
            self._unsettled.pop(id(delivery), None)
            try:
                await delivery.ack()
            except BrokerError as exc:
                log.warning("not acknowledged, it will come again", error=str(exc))

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._unsettled.pop(id(delivery), None)
            try:
                await delivery.nack()
            except BrokerError as exc:
                log.info("not given back, the broker takes it back with the connection", error=str(exc))


def _frames(batch: Sequence[_Work]) -> list[str]:
    """For the log: every line about frames names them."""
    return [work.frame.id for work in batch]


def _lines(work: _Work) -> int:
    return len(work.frame.events) + len(work.frame.rejected)


async def _first(work: Coroutine[Any, Any, Result], stop: asyncio.Event) -> Result | None:
    """The result of `work`, or None when `stop` is set first; then the work is cancelled."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopping.cancel()
        task.cancel()
