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
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from broker.errors import BrokerError
from broker.frames import Frame
from broker.protocol import Consumer, Delivery
from engine.announcing import Announcer
from engine.doubtful import Doubtful, DoubtfulFrames
from engine.flush import Flushed, Flusher
from engine.holding import FrameCheck
from engine.memory import WORKER_MEMORY, HeldBytes
from engine.metrics import WorkerMetrics
from engine.prepare import PreparedFrame, prepare
from engine.rejecting import put_aside
from runtime import Backoff, Tasks, debugging
from store.errors import StoreError, StoreRefusedError
from store.protocol import Store
from streams.base import Stream
from streams.errors import TillstreamError

log = structlog.get_logger()

Result = TypeVar("Result")


#: A frame whose flushes have failed for so long goes back to its queue, seconds.
GIVE_BACK_AFTER_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How a worker works.

    Attributes:
        prefetch: unacknowledged frames at most.
        held: what it holds at most, in bytes.
        flush_events: a flush takes no further frame once it has so many events.
        flush_wait_s: how long a flush waits for more frames after the first, seconds.
        retry: delays between attempts of a failing flush.
        alone_after: when a flush has failed so often, each of its frames is flushed alone.
        give_back_after_s: a frame whose flushes have failed for so long goes back to the queue. Long, since each
            return counts towards the delivery limit of a frame; shorter than the half hour that RabbitMQ waits for an
            acknowledgement.
        stop_within_s: on stop, a flush under way gets so long to finish.
    """

    prefetch: int = 64
    held: HeldBytes = field(default_factory=lambda: HeldBytes.within(WORKER_MEMORY))
    flush_events: int = 2000
    flush_wait_s: float = 0.003
    retry: Backoff = field(default_factory=lambda: Backoff(base_s=0.1, cap_s=5.0))
    alone_after: int = 3
    give_back_after_s: float = GIVE_BACK_AFTER_S
    stop_within_s: float = 8.0


class Source(Protocol):
    """Where a worker's deliveries come from."""

    async def open(self, *, prefetch: int, held_bytes: int) -> Consumer:
        """Begin to take deliveries: at most `prefetch` unsettled ones, and none while they have `held_bytes` together.

        Raises BrokerError if they cannot be had.
        """


@dataclass(frozen=True, slots=True)
class _Work:
    """A delivered frame and what was read from it."""

    delivery: Delivery
    frame: PreparedFrame

    @property
    def events(self) -> int:
        return len(self.frame.events) + len(self.frame.rejected)

    @property
    def bytes(self) -> int:
        return len(self.delivery.body)


class Worker:
    """One worker, for one stream.

    While one flush writes, the next frames are read and encoded; there is never more than one flush at a time, so the
    ledger entries of this writer are in order.

    Frames whose flush fails again and again are flushed alone, beside further ones. A frame that the store refuses for
    good is kept as `poison` and acknowledged; any other failure is one of ours, and the frame is tried again.
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
        self._broker = broker
        self._store = store
        self._stream = stream
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._flusher = Flusher(store=store, broker=broker, stream=stream, clock=clock)
        self._prepared: asyncio.Queue[_Work] = asyncio.Queue()
        #: of frames prepared and not yet flushed; reading pauses beyond a bound of each
        self._waiting_events = self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._doubtful = DoubtfulFrames(config.retry, monotonic)
        self._succeeded_at = monotonic()
        self._frame_check = FrameCheck(store, stream.name)
        self._trouble: str | None = None
        self._held: str | None = None
        self._unsettled: dict[int, Delivery] = {}

    async def check(self) -> None:
        """For readiness: raises while flushes fail, or after a frame that this process must not count."""
        trouble = self._held or self._trouble
        if trouble is not None:
            raise TillstreamError(trouble)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish the flush under way (bounded), give back the rest, and return.

        Raises only for bugs and for what makes going on pointless; failures of broker and store are waited out.
        """
        consumer = await self._source.open(prefetch=self._config.prefetch, held_bytes=self._config.held.unsettled)
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
            held = await self._frame_check.reason_to_hold(delivery.headers)
            if held is not None:
                # Held, not handed back: the broker would give it to us again at once, and again.
                self._held = held
                log.error("stopped consuming", reason=held, frame=delivery.message_id)
                await consumer.cancel()
                return
            await self._room_for(len(delivery.body))
            work = await self._work(delivery)
            self._waiting_events += work.events
            self._waiting_bytes += work.bytes
            self._prepared.put_nowait(work)

    async def _room_for(self, size: int) -> None:
        """Wait until a frame may be prepared: what is read from it takes several times its bytes."""
        while self._waiting_bytes and (
            self._waiting_bytes + size > self._config.held.prepared
            or self._waiting_events > 2 * self._config.flush_events
        ):
            self._room.clear()
            await self._room.wait()

    async def _work(self, delivery: Delivery) -> _Work:
        return _Work(delivery, await prepare(self._frame(delivery), self._stream, self._store, self._clock))

    def _frame(self, delivery: Delivery) -> Frame:
        return Frame.from_body(self._stream.name, delivery.body)

    async def _flush_forever(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            batch = await self._gather(stop)
            if batch:
                await self._flush(batch, stop)
                self._waiting_events -= sum(work.events for work in batch)
                self._waiting_bytes -= sum(work.bytes for work in batch)
                self._room.set()
                del batch  # takes several times its bytes
            doubtful = self._doubtful.take_due()
            if doubtful is not None:
                await self._try_alone(doubtful)
            await self._give_back([one.delivery for one in self._overdue()])

    async def _gather(self, stop: asyncio.Event) -> list[_Work]:
        """What is waiting, up to a size, and what comes within a few milliseconds.

        Empty when asked to stop, or when a doubtful frame is due and nothing else is waiting.
        """
        first = await _first(self._prepared.get(), stop, within_s=self._doubtful.due_in())
        if first is None:
            return []
        batch, events, size = [first], first.events, first.bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.flush_wait_s):
                while events < self._config.flush_events and size < self._config.held.flush:
                    work = await self._prepared.get()
                    batch.append(work)
                    events += work.events
                    size += work.bytes
        return batch

    async def _flush(self, batch: list[_Work], stop: asyncio.Event) -> None:
        """Flush until it succeeds, or until it has failed so often that each of its frames is to be flushed alone."""
        began = self._monotonic()
        attempt = 0
        while True:
            failure = await self._try(batch)
            if failure is None:
                return
            attempt += 1
            if attempt >= self._config.alone_after or isinstance(failure, StoreRefusedError):
                log.warning("flush failed, its frames are tried one by one", error=str(failure), frames=_frames(batch))
                for work in batch:
                    self._doubtful.add(work.delivery, began)
                return
            if stop.is_set() or self._monotonic() - began > self._config.give_back_after_s:
                log.error("flush failed, giving its frames back", error=str(failure), frames=_frames(batch))
                await self._give_back([work.delivery for work in batch])
                self._trouble = None  # the next frames will tell
                return
            delay = self._config.retry.delay(attempt, random.random())
            log.warning(
                "flush failed, trying again",
                attempt=attempt,
                delay_s=round(delay, 2),
                error=str(failure),
                frames=_frames(batch),
            )
            await _first(asyncio.sleep(delay), stop)

    async def _try_alone(self, doubtful: Doubtful) -> None:
        """Flush a doubtful frame alone: it is counted, or kept as poison, or stays doubtful."""
        work = await self._work(doubtful.delivery)
        failure = await self._try([work], since=doubtful.since)
        if failure is not None:
            delay = self._doubtful.failed(doubtful)
            log.warning(
                "a frame failed alone, trying again",
                attempt=doubtful.failures,
                delay_s=round(delay, 2),
                error=str(failure),
                frame=work.frame.id,
            )

    async def _try(self, batch: list[_Work], *, since: float | None = None) -> StoreError | None:
        """Flush once, and put a frame aside that is refused for good; the error if that failed.

        Of several frames it is not known which one is refused: then none is put aside.
        """
        failure = await self._attempt(batch, since=since)
        if isinstance(failure, StoreRefusedError) and len(batch) == 1:
            return await self._put_aside(batch[0].delivery, failure)
        return failure

    async def _attempt(self, batch: list[_Work], *, since: float | None = None) -> StoreError | None:
        """Flush once, and acknowledge; the error if it failed.

        Arguments:
            since: when frames of this batch failed first. They are no sign of trouble if others succeeded since.
        """
        started = self._monotonic()
        try:
            flushed = await self._flusher.flush([work.frame for work in batch])
        except StoreError as exc:
            self._metrics.flush_failed()
            if since is None or self._succeeded_at < since:
                self._trouble = f"flushes fail: {exc}"
            return exc
        self._trouble = None
        self._succeeded_at = self._monotonic()
        self._doubtful.succeeded()
        self._note(flushed, batch, self._succeeded_at - started)
        await self._settle([work.delivery for work in batch])
        return None

    async def _put_aside(self, delivery: Delivery, refusal: StoreRefusedError) -> StoreError | None:
        """Keep a frame as poison, then acknowledge it; the error if it could not be kept."""
        try:
            await put_aside(
                self._store,
                self._broker,
                self._frame(delivery),
                why=str(refusal),
                redelivered=delivery.redelivered,
                now=self._clock(),
            )
        except StoreError as exc:
            return exc
        self._metrics.put_aside()
        await self._settle([delivery])
        return None

    def _overdue(self) -> list[Doubtful]:
        """Doubtful frames whose time is over."""
        overdue = self._doubtful.take_older_than(self._config.give_back_after_s)
        if overdue:
            frames = [one.delivery.message_id for one in overdue]
            log.error("frames failed for too long, giving them back", frames=frames)
            self._trouble = None  # the next frames will tell
        return overdue

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


async def _first(
    work: Coroutine[Any, Any, Result], stop: asyncio.Event, *, within_s: float | None = None
) -> Result | None:
    """The result of `work`, or None when `stop` is set first or the time is over; then the work is cancelled."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopping), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopping.cancel()
        task.cancel()
