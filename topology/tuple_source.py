"""Tuples as the deliveries of a worker: what the broker's consumer is to the asyncio engine. Used on one event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from broker.exchanges import RECEIPTS
from broker.protocol import Consumer, Delivery
from topology.wire import FrameTuple

log = structlog.get_logger()


class TupleDelivery:
    """A frame that came as a tuple; see `broker.protocol.Delivery`. Settling it twice settles it once.

    Storm insists on that: a second answer to the same tuple ends the whole worker process.

    Arguments:
        tuple_id: Storm's id of the tuple.
        frame: what it holds.
        settle: called with the tuple's id, and whether the frame is done.
        at: when it came, by the monotonic clock.
    """

    exchange = RECEIPTS.name
    redelivered = False

    def __init__(self, tuple_id: str, frame: FrameTuple, settle: Callable[[str, bool], None], at: float) -> None:
        self._tuple_id = tuple_id
        self._frame = frame
        self._settle: Callable[[str, bool], None] | None = settle
        self.at = at

    @property
    def body(self) -> bytes:
        """The frame's bytes."""
        return self._frame.body

    @property
    def headers(self) -> Mapping[str, str | int]:
        """The frame's headers."""
        return self._frame.headers

    @property
    def routing_key(self) -> str:
        """The stream's name."""
        return str(self._frame.headers.get("stream", ""))

    @property
    def message_id(self) -> str | None:
        """The frame's id, as published."""
        return self._frame.id or None

    async def ack(self) -> None:
        """Acknowledge the tuple."""
        self._answer(True)

    async def nack(self) -> None:
        """Fail the tuple: its spout gives the frame back."""
        self._answer(False)

    def _answer(self, done: bool) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(self._tuple_id, done)


class TupleSource:
    """Keeps tuples until a worker takes them; an `engine.Source`.

    The spouts bound how many tuples there are, and their bytes, so the bounds given to `open` are not used. A tuple
    that waited long is failed when its turn comes: Storm is about to replay it anyway.

    Arguments:
        too_old_s: how long is long.
    """

    def __init__(self, *, too_old_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._too_old_s = too_old_s
        self._clock = clock
        self._waiting: deque[TupleDelivery] = deque()
        self._changed = asyncio.Event()

    def now(self) -> float:
        """The time by which tuples grow old; on any thread."""
        return self._clock()

    def put(self, delivery: TupleDelivery) -> None:
        """Add a tuple."""
        self._waiting.append(delivery)
        self._changed.set()

    async def open(self, *, prefetch: int, held_bytes: int) -> Consumer:
        """Begin to take tuples; of several consumers, each takes some."""
        return _TupleConsumer(self)

    async def take(self, over: Callable[[], bool]) -> TupleDelivery | None:
        """The next tuple that is not too old; None when `over` says so."""
        while not over():
            while self._waiting and not over():
                delivery = self._waiting.popleft()
                if self._clock() - delivery.at <= self._too_old_s:
                    return delivery
                log.warning("a tuple waited too long and is failed", frame=delivery.message_id)
                await delivery.nack()
            self._changed.clear()
            await self._changed.wait()
        return None

    def wake(self) -> None:
        """Have those who wait look whether they are over."""
        self._changed.set()


class _TupleConsumer:
    """See `broker.protocol.Consumer`; tuples that nobody has taken yet stay for the next consumer."""

    def __init__(self, source: TupleSource) -> None:
        self._source = source
        self._over = False

    def __aiter__(self) -> "_TupleConsumer":
        return self

    async def __anext__(self) -> Delivery:
        delivery = await self._source.take(lambda: self._over)
        if delivery is None:
            raise StopAsyncIteration
        return delivery

    async def cancel(self) -> None:
        """End the iteration."""
        self._over = True
        self._source.wake()

    async def close(self) -> None:
        """End the iteration; who took tuples has settled them (`engine.Worker` does)."""
        await self.cancel()
