"""What the embedded broker's consumers share: a mailbox to iterate over, and deliveries that can be settled."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from broker.embedded_file import Record

T = TypeVar("T")

_headers = msgspec.json.Decoder(dict[str, str | int])


class Mailbox(Generic[T]):
    """A queue of one event loop that can end; the oldest items are dropped beyond `max_length`."""

    def __init__(self, max_length: int | None = None) -> None:
        self._items: deque[T] = deque(maxlen=max_length)
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, item: T) -> None:
        """Add an item, unless the mailbox has ended."""
        if not self._ended:
            self._items.append(item)
            self._changed.set()

    def end(self, *, discard: bool) -> None:
        """Let the iteration end, after what is still there or, with `discard`, at once."""
        self._ended = True
        if discard:
            self._items.clear()
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        """The next item; cancelling the caller loses none."""
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()


class EmbeddedDelivery:
    """A message as delivered; see `broker.protocol.Delivery`.

    Arguments:
        settle: called once, with whether to give the message back; None where nothing has to be settled.
    """

    __slots__ = ("_headers", "_record", "_settle", "redelivered")

    def __init__(self, record: Record, *, redelivered: bool, settle: Callable[[bool], None] | None) -> None:
        self._record = record
        self._headers: Mapping[str, str | int] | None = None
        self._settle = settle
        self.redelivered = redelivered

    @property
    def body(self) -> bytes:
        """The bytes."""
        return self._record.body

    @property
    def headers(self) -> Mapping[str, str | int]:
        """The headers, and for dead letters where and why they died."""
        if self._headers is None:
            self._headers = _headers.decode(self._record.headers)
        return self._headers

    @property
    def exchange(self) -> str:
        """The exchange that it was published to."""
        return self._record.exchange

    @property
    def routing_key(self) -> str:
        """The routing key that it was published with."""
        return self._record.routing_key

    @property
    def message_id(self) -> str | None:
        """Repeats the frame id where the body is a frame."""
        return self._record.message_id

    async def ack(self) -> None:
        """Forget the message. Returns before that is durable: a kill right after it may redeliver."""
        self._settle_once(False)

    async def nack(self) -> None:
        """Give the message back to its old place in the queue."""
        self._settle_once(True)

    def _settle_once(self, give_back: bool) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(give_back)
