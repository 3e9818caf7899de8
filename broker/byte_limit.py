"""A consumer that is bounded in bytes, on any broker: brokers bound unsettled messages by number only.

A message's size is known when it is delivered. So consuming begins with as few messages as may be of the largest size,
and goes on with more of them once several were small. If large ones come after all, consuming stops, the delivery that
exceeds the bound goes back at once, and consuming begins anew when half of the bytes are settled.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping

import structlog

from broker.errors import BrokerError, ConsumerRefusedError
from broker.exchanges import Queue
from broker.protocol import Broker, Consumer, Delivery
from runtime.retry import Backoff

log = structlog.get_logger()

#: RabbitMQ 4 takes no larger message by default, nor does the embedded broker.
LARGEST_BYTES = 16 << 20
#: So many sizes are remembered: one large message keeps the number of unsettled ones low for as many.
_REMEMBERED = 64
#: So many small messages tell that others are small, too.
_ENOUGH = 4
_RETRY = Backoff(base_s=0.1, cap_s=2.0)


async def consume_bounded(broker: Broker, queue: Queue, *, prefetch: int, held_bytes: int) -> "BoundedConsumer":
    """Take messages from a queue, at most `prefetch` and about `held_bytes` of them unsettled; see `BoundedConsumer`.

    Raises as `Broker.consume` does.
    """
    consumer = BoundedConsumer(broker, queue, prefetch=prefetch, held_bytes=held_bytes)
    await consumer.start()
    return consumer


class _Source:
    """A consumer of the broker, and how many of its deliveries are unsettled."""

    def __init__(self, consumer: Consumer, granted: int, *, cautious: bool) -> None:
        """Begin; `cautious` says that as many messages of the largest size are within the bound."""
        self.consumer = consumer
        self.granted = granted
        self.cautious = cautious
        self.unsettled = 0
        self.cancelled = False


class BoundedDelivery:
    """A delivery whose bytes are counted until it is settled; see `broker.protocol.Delivery`."""

    __slots__ = ("_delivery", "_held", "_owner", "_source")

    def __init__(self, delivery: Delivery, owner: "BoundedConsumer", source: _Source) -> None:
        self._delivery = delivery
        self._owner = owner
        self._source = source
        self._held = True

    @property
    def body(self) -> bytes:
        """The bytes."""
        return self._delivery.body

    @property
    def headers(self) -> Mapping[str, str | int]:
        """The headers."""
        return self._delivery.headers

    @property
    def exchange(self) -> str:
        """Where it was published."""
        return self._delivery.exchange

    @property
    def routing_key(self) -> str:
        """Its routing key."""
        return self._delivery.routing_key

    @property
    def message_id(self) -> str | None:
        """The publisher's id."""
        return self._delivery.message_id

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return self._delivery.redelivered

    async def ack(self) -> None:
        """Acknowledge."""
        try:
            await self._delivery.ack()
        finally:
            await self._let_go()

    async def nack(self) -> None:
        """Give it back to the queue."""
        try:
            await self._delivery.nack()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        if self._held:
            self._held = False
            await self._owner.let_go(self._source, len(self._delivery.body))


class BoundedConsumer:
    """A `broker.protocol.Consumer` that takes no further message while the unsettled ones reach a number of bytes.

    One delivery is always taken, however large. Beyond the bound there is at most what the connection's buffers hold,
    and, after a lost connection, what the broker delivers a second time.

    Arguments:
        prefetch: unsettled deliveries at most.
        held_bytes: bodies of unsettled deliveries at most, together.
    Attributes:
        held_bytes: bodies of the unsettled deliveries now.
    """

    def __init__(self, broker: Broker, queue: Queue, *, prefetch: int, held_bytes: int) -> None:
        self._broker = broker
        self._queue = queue
        self._most = prefetch
        self._most_bytes = held_bytes
        self._sizes: deque[int] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[BoundedDelivery] = deque()
        self._sources: list[_Source] = []
        self.held_bytes = 0
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._end = asyncio.Event()
        self._fault: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to consume; errors of this first time are raised."""
        source = await self._open()
        self._task = asyncio.create_task(self._keep(source), name=f"bounded consumer {self._queue.name}")
        self._task.add_done_callback(self._tell)

    def _tell(self, task: "asyncio.Task[None]") -> None:
        """Have the iteration raise what ended the task."""
        if not task.cancelled():
            self._fault = task.exception()
        self._news.set()

    def __aiter__(self) -> "BoundedConsumer":
        return self

    async def __anext__(self) -> BoundedDelivery:
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._fault is not None:
                raise self._fault
            if self._end.is_set():
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def cancel(self) -> None:
        """Stop new deliveries; those received here and not given out are taken back, so the iteration ends at once."""
        self._end.set()
        self._changed.set()
        for source in self._sources:
            await self._stop(source)
        if self._task is not None:
            await asyncio.wait({self._task})
        while self._waiting:
            await self._waiting.popleft().nack()
        self._news.set()

    async def close(self) -> None:
        """Cancel, and give back whatever is still unsettled."""
        await self.cancel()
        while self._sources:
            await self._sources.pop().consumer.close()

    async def let_go(self, source: _Source, size: int) -> None:
        """Count a delivery no more; for deliveries."""
        source.unsettled -= 1
        self.held_bytes -= size
        self._changed.set()
        await self._close_if_empty(source)

    async def _keep(self, source: _Source) -> None:
        """Consume with as many unsettled messages as their sizes allow, until cancelled."""
        while True:
            too_many = await self._take(source)
            await self._stop(source)
            await self._close_if_empty(source)
            if too_many:
                log.info("holding enough bytes, not consuming", queue=self._queue.name, bytes=self.held_bytes)
            while too_many and self.held_bytes > self._most_bytes // 2 and not self._end.is_set():
                self._changed.clear()
                await self._changed.wait()
            again = await self._open_again()
            if again is None:
                return
            source = again
            if self._end.is_set():  # `cancel` has not seen this one
                await self._stop(source)

    async def _take(self, source: _Source) -> bool:
        """Take deliveries until they are too many bytes (then true), until more may be taken at once, or to the end."""
        async for delivery in source.consumer:
            size = len(delivery.body)
            self._sizes.append(size)
            if self.held_bytes and self.held_bytes + size > self._most_bytes and not source.cautious:
                await self._stop(source)  # first: what is given back must not come again at once
                await delivery.nack()
                return True
            source.unsettled += 1
            self.held_bytes += size
            self._waiting.append(BoundedDelivery(delivery, self, source))
            self._news.set()
            allowed = min(self._most, self._most_bytes // self._expected_bytes())
            others = sum(other.unsettled for other in self._sources if other is not source)
            if allowed - others >= 2 * source.granted:
                return False
        return False

    def _expected_bytes(self) -> int:
        """The size of messages to come: that of the largest of the last ones, if there were several."""
        enough = min(_ENOUGH, max(1, self._most_bytes // LARGEST_BYTES))  # no more may be unsettled before
        return max(1, *self._sizes) if len(self._sizes) >= enough else LARGEST_BYTES

    async def _open(self) -> _Source:
        """Consume. Raises BrokerError."""
        room = self._most - sum(source.unsettled for source in self._sources)
        room_bytes = self._most_bytes - self.held_bytes
        granted = max(1, min(room, room_bytes // self._expected_bytes()))
        consumer = await self._broker.consume(self._queue, prefetch=granted)
        source = _Source(consumer, granted, cautious=granted <= max(1, room_bytes // LARGEST_BYTES))
        self._sources.append(source)
        return source

    async def _open_again(self) -> _Source | None:
        """Consume, again and again while the broker is away; None when cancelled meanwhile."""
        failures = 0
        while not self._end.is_set():
            try:
                return await self._open()
            except ConsumerRefusedError:
                raise
            except BrokerError as exc:
                failures += 1
                log.warning("cannot consume, trying again", queue=self._queue.name, error=str(exc))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY.delay(failures, random.random())):
                        await self._end.wait()
        return None

    async def _stop(self, source: _Source) -> None:
        if not source.cancelled:
            source.cancelled = True
            await source.consumer.cancel()

    async def _close_if_empty(self, source: _Source) -> None:
        """Close a source that delivers nothing more, after its last delivery was settled."""
        if source.cancelled and not source.unsettled and source in self._sources:
            self._sources.remove(source)
            await source.consumer.close()
