"""The spout's half that faces the broker: takes frames from the work queue, and settles them as Storm answers.

All of it runs on one event loop, but for `take`, which the spout calls on the main thread.
"""

import asyncio
import itertools
import random
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from broker.byte_limit import consume_bounded
from broker.errors import BrokerError
from broker.exchanges import Queue
from broker.frames import frame_id
from broker.protocol import Broker, Consumer, Delivery
from engine import GIVE_BACK_AFTER_S, FrameCheck
from runtime import Backoff, Tasks
from topology.hosting import RETRY

log = structlog.get_logger()

#: Failures are remembered of so many frames; those that failed longest ago are forgotten.
FAILURES_REMEMBERED = 10_000
#: How long a frame that failed waits in the spout before it is emitted again.
PAUSE = Backoff(base_s=0.5, cap_s=30.0)
#: Bodies of one spout's frames in Storm, bytes: a worker JVM holds each several times, as text, in a heap of some
#: hundred MB. Sixteen full frames; one that is larger goes alone.
FLYING_BYTES = 16 << 20
#: Bodies that one spout holds unsettled, bytes.
HELD_BYTES = 64 << 20
#: How often the spout says how far behind it is, seconds.
REPORT_S = 30.0


@dataclass(slots=True)
class _Held:
    """A delivery that waits for Storm's answer, for the end of its pause, or for the right process."""

    delivery: Delivery
    consumer: Consumer
    at: float
    not_for_us: bool = False
    pause: asyncio.TimerHandle | None = None


class Intake:
    """Frames on their way from the work queue through Storm.

    Each delivery gets an id that is never used again, by this process or another. An answer to an id that is unknown
    (settled before, or of another process) is ignored; one to a delivery whose channel is gone does nothing, for the
    broker has taken the message back.

    Arguments:
        prefetch: unsettled frames at most, for each consumer.
        held_bytes: no further frame is asked for while the unsettled ones are so large together.
        flying_bytes: no further frame is taken while those in Storm are so large together; one always is.
        pause: how long a frame that failed waits before it is emitted again, by how often it failed.
        hold_s: a frame that fails when it has been here for so long goes back to the queue. As long as a worker holds
            one: each return counts towards the delivery limit of a frame.
        report_s: between two lines in the log about the lag.
    """

    def __init__(
        self,
        *,
        prefetch: int,
        held_bytes: int = HELD_BYTES,
        flying_bytes: int = FLYING_BYTES,
        pause: Backoff = PAUSE,
        hold_s: float = GIVE_BACK_AFTER_S,
        report_s: float = REPORT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefetch = prefetch
        self._held_bytes = held_bytes
        self._most_bytes = flying_bytes
        self._pause = pause
        self._hold_s = hold_s
        self._report_s = report_s
        self._clock = clock
        self._incarnation = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._ready: deque[tuple[str, Delivery]] = deque()
        self._flying: dict[str, int] = {}
        self._flying_bytes = 0
        self._lock = threading.Lock()  # of these three: two threads take from them
        self._held: dict[str, _Held] = {}
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._settlements: deque[tuple[Delivery, Consumer, bool]] = deque()
        self._settle_now = asyncio.Event()
        self._current: Consumer | None = None
        self._open: list[Consumer] = []
        self._active = asyncio.Event()
        self._inactive = asyncio.Event()
        self._inactive.set()

    def take(self, most: int) -> list[tuple[str, Delivery]]:
        """Frames to emit, with their ids; without waiting, and on any thread."""
        taken: list[tuple[str, Delivery]] = []
        with self._lock:
            while self._ready and len(taken) < most:
                tuple_id, delivery = self._ready[0]
                size = len(delivery.body)
                if self._flying and self._flying_bytes + size > self._most_bytes:
                    break
                self._flying[tuple_id] = size
                self._flying_bytes += size
                taken.append(self._ready.popleft())
        return taken

    def _landed(self, tuple_id: str) -> None:
        """Storm holds a frame no longer."""
        with self._lock:
            self._flying_bytes -= self._flying.pop(tuple_id, 0)

    def activate(self) -> None:
        """Consume."""
        self._inactive.clear()
        self._active.set()

    def deactivate(self) -> None:
        """Consume no more; what was not emitted goes back, what was can still be answered."""
        self._active.clear()
        self._inactive.set()

    def ack(self, tuple_id: str) -> None:
        """Storm is done with a frame: acknowledge it."""
        held = self._held.get(tuple_id)
        if held is None or held.pause is not None:
            return
        if self._failures:
            self._failures.pop(_name(held.delivery), None)
        self._settle(tuple_id, done=True)

    def fail(self, tuple_id: str) -> None:
        """A frame failed, or took too long: after a pause it is emitted again; after a while it goes back instead."""
        held = self._held.get(tuple_id)
        if held is None or held.pause is not None:
            return
        self._landed(tuple_id)
        name = _name(held.delivery)
        failures = self._failures.pop(name, 0) + 1
        self._failures[name] = failures
        if len(self._failures) > FAILURES_REMEMBERED:
            self._failures.popitem(last=False)
        delay = self._pause.delay(failures, random.random())
        over = self._clock() - held.at + delay > self._hold_s
        what = "a frame failed and goes back" if over else "a frame failed and is emitted again"
        log.warning(what, frame=name, failures=failures, delay_s=round(delay, 2))
        loop = asyncio.get_running_loop()
        if over:
            held.pause = loop.call_later(delay, lambda: self._settle(tuple_id, done=False))
        else:
            held.pause = loop.call_later(delay, self._emit_again, tuple_id)

    def _emit_again(self, tuple_id: str) -> None:
        """Have a frame emitted under a new id: what is still said of the old one is ignored."""
        held = self._held.pop(tuple_id)
        held.pause = None
        fresh = self._new_id()
        self._held[fresh] = held
        self._ready.append((fresh, held.delivery))

    def _new_id(self) -> str:
        return f"{self._incarnation}-{next(self._numbers)}"

    async def run(self, broker: Broker, queue: Queue, check: FrameCheck, stop: asyncio.Event) -> None:
        """Take frames while active, until `stop` is set; then give back all that is not settled.

        A frame that is not for this process, by `check`, is held, and no other is taken until it is active anew.
        Raises only for bugs; a broker that fails is waited for.
        """
        try:
            async with Tasks() as tasks:
                tasks.start("settle frames", self._settle_forever())
                tasks.start("say the lag", self._report_forever(broker, queue))
                tasks.start("take frames", self._consume_forever(broker, queue, check))
                await tasks.until(stop)
        finally:
            for held in self._held.values():
                if held.pause is not None:
                    held.pause.cancel()
            self._held.clear()
            with self._lock:
                self._ready.clear()
                self._flying.clear()
                self._flying_bytes = 0
            await self._settle_waiting()
            for consumer in self._open:  # gives back what is unsettled
                await consumer.close()
            self._open.clear()

    async def _consume_forever(self, broker: Broker, queue: Queue, check: FrameCheck) -> None:
        failures = 0
        while True:
            await self._active.wait()
            try:
                consumer = await consume_bounded(broker, queue, prefetch=self._prefetch, held_bytes=self._held_bytes)
                failures = 0
            except BrokerError as exc:
                failures += 1
                delay = RETRY.delay(failures, random.random())
                log.warning("cannot consume yet", queue=queue.name, error=str(exc), delay_s=round(delay, 2))
                await asyncio.sleep(delay)
                continue
            self._open.append(consumer)
            self._current = consumer
            log.info("consuming", queue=queue.name, prefetch=self._prefetch)
            try:
                await self._read_while_active(consumer, check)
            except BrokerError as exc:
                log.warning("consumer lost", queue=queue.name, error=str(exc))
            await consumer.cancel()
            self._current = None
            self._give_back_unsent(consumer)
            await self._close_if_idle(consumer)
            log.info("not consuming", queue=queue.name, in_flight=len(self._held))

    async def _read_while_active(self, consumer: Consumer, check: FrameCheck) -> None:
        """Until deactivated. Raises BrokerError when the consumer cannot go on."""
        async with Tasks() as tasks:
            tasks.start("read frames", self._read(consumer, check))
            await tasks.until(self._inactive)

    async def _read(self, consumer: Consumer, check: FrameCheck) -> None:
        async for delivery in consumer:
            tuple_id = self._new_id()
            held = self._held[tuple_id] = _Held(delivery, consumer, self._clock())
            why = await check.reason_to_hold(delivery.headers)
            if why is not None:
                # Held, not handed back: the broker would give it to us again at once, and again.
                held.not_for_us = True
                log.error("stopped consuming", reason=why)
                await consumer.cancel()
                return
            self._ready.append((tuple_id, delivery))

    def _give_back_unsent(self, consumer: Consumer) -> None:
        """What Storm has not seen, and what is being paused: others may have more luck."""
        with self._lock:
            unsent = {tuple_id for tuple_id, _ in self._ready}
            self._ready.clear()
        for tuple_id, held in list(self._held.items()):
            waits = tuple_id in unsent or held.pause is not None or held.not_for_us
            if held.consumer is consumer and waits:
                self._settle(tuple_id, done=False)

    def _settle(self, tuple_id: str, *, done: bool) -> None:
        self._landed(tuple_id)
        held = self._held.pop(tuple_id, None)
        if held is not None:
            if held.pause is not None:
                held.pause.cancel()
            self._settlements.append((held.delivery, held.consumer, done))
            self._settle_now.set()

    async def _settle_forever(self) -> None:
        while True:
            await self._settle_now.wait()
            self._settle_now.clear()
            await self._settle_waiting()

    async def _settle_waiting(self) -> None:
        while self._settlements:
            delivery, consumer, done = self._settlements[0]
            try:
                await (delivery.ack() if done else delivery.nack())
            except BrokerError as exc:
                log.warning("not settled, the broker delivers it again", error=str(exc))
            self._settlements.popleft()
            if consumer is not self._current:
                await self._close_if_idle(consumer)

    async def _close_if_idle(self, consumer: Consumer) -> None:
        """Close a consumer that was cancelled, after its last frame."""
        busy = any(held.consumer is consumer for held in self._held.values())
        waiting = any(other is consumer for _, other, _ in self._settlements)
        if not busy and not waiting and consumer in self._open:
            self._open.remove(consumer)
            await consumer.close()

    async def _report_forever(self, broker: Broker, queue: Queue) -> None:
        while True:
            await asyncio.sleep(self._report_s)
            # Silent when Storm does not ask for frames: it does not read then what is written here.
            if self._active.is_set():
                await self._report(broker, queue)

    async def _report(self, broker: Broker, queue: Queue) -> None:
        try:
            ready: int | None = (await broker.state(queue)).ready
        except BrokerError:
            ready = None
        flying = list(self._held.values())
        oldest = max((self._clock() - held.at for held in flying), default=0.0)
        paused = sum(held.pause is not None for held in flying)
        log.info("lag", queue=queue.name, ready=ready, in_flight=len(flying), paused=paused, oldest_s=round(oldest, 1))


def _name(delivery: Delivery) -> str:
    return delivery.message_id or frame_id(str(delivery.headers.get("stream", "")), delivery.body)
