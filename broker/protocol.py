"""The Broker protocol: what every way of moving messages has to do, whatever carries them.

Two implementations: `broker.amqp` (RabbitMQ through aio-pika) and `broker.embedded` (SQLite). Both pass the one
contract suite in `tests/integration/broker/`. Nothing here knows what is inside a message; see `broker.frames`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker.errors import MessageTooLargeError
from broker.exchanges import Queue

#: The largest body, bytes: RabbitMQ's own limit since 4.0 (`max_message_size`), which closes the channel beyond it, and
#: with that loses whatever else is on its way there.
MESSAGE_MAX_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is handed to a broker.

    Attributes:
        exchange: name of the exchange, one of `broker.exchanges.EXCHANGES`.
        routing_key: words joined by dots.
        body: the bytes.
        headers: strings and integers only.
        message_id: repeats the frame id where the body is a frame.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, str | int] = field(default_factory=dict)
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue at a moment.

    Attributes:
        ready: messages that wait for a consumer; those delivered and not settled are not among them.
        consumers: how many take messages from it, idle ones included (a cancelled one may count until it has settled
            what it holds).
    """

    ready: int
    consumers: int


def check_size(message: Message) -> None:
    """Raises MessageTooLargeError for a body beyond MESSAGE_MAX_BYTES."""
    if len(message.body) > MESSAGE_MAX_BYTES:
        raise MessageTooLargeError(
            f"a message of {len(message.body)} bytes on {message.exchange}: brokers take {MESSAGE_MAX_BYTES} at most"
        )


class Delivery(Protocol):
    """One message as delivered to one consumer. Settle it exactly once, by `ack` or `nack`.

    After the channel that delivered it is gone, settling does nothing: the broker has taken the message back and
    delivers it again, with `redelivered` set. Settling never raises for that reason.
    """

    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str | int]: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def message_id(self) -> str | None: ...
    @property
    def redelivered(self) -> bool: ...

    async def ack(self) -> None:
        """Tell the broker that what replaces this message is safe; it forgets the message."""

    async def nack(self) -> None:
        """Give the message back to its queue; it will be delivered again, to anyone, until its delivery limit."""


class Consumer(Protocol):
    """An open subscription to one queue: iterate over it, close it.

    The iteration survives lost connections: it goes on by itself when the broker is back, and ends only after
    `close`, or with ConsumerRefusedError when somebody else took an exclusive queue meanwhile. At most `prefetch`
    deliveries are unsettled at any time.
    """

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    async def cancel(self) -> None:
        """Stop new deliveries: the iteration ends after those already received here were given out or taken back.

        Unsettled deliveries can still be settled until `close`.
        """

    async def close(self) -> None:
        """Cancel, and give back whatever is still unsettled."""


class Broker(Protocol):
    """A connection to a broker, opened by `broker.connect`; safe to use from many tasks of one event loop."""

    @property
    def blocked(self) -> bool:
        """Whether publishing is refused right now without trying: no connection, or an alarm at the broker."""

    async def publish(self, message: Message) -> None:
        """Publish persistently with confirm, mandatory: returns when the broker is answerable for the message.

        Raises:
            UnroutableError, BrokerFullError, BrokerBlockedError: it was not taken.
            MessageTooLargeError: it was not sent.
            PublishUnknownError: no answer within the publish time-out; it may have been taken.
            BrokerUnavailableError: not connected; it was not taken.
        Cancelling the caller leaves the outcome unknown.
        """

    async def announce(self, message: Message) -> None:
        """Publish transiently, unconfirmed, not mandatory: for what the ledger or the next second replaces.

        Raises BrokerUnavailableError when not connected, MessageTooLargeError.
        """

    async def consume(self, queue: Queue, *, prefetch: int, exclusive: bool = False) -> Consumer:
        """Take messages from one of `broker.exchanges`' declared queues, to be acknowledged.

        Raises ConsumerRefusedError if somebody else holds the queue exclusively (or `exclusive` and anyone does).
        """

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> Consumer:
        """Listen: an exclusive, transient queue `<role>.<uuid>` of at most `max_length` messages (oldest dropped).

        Arguments:
            bindings: exchange name → routing pattern, where `*` is one word and `#` any number, none included.
        Deliveries need no settling (ack and nack do nothing). After a reconnect it is declared and bound again.
        """

    async def state(self, queue: Queue) -> QueueState:
        """How a queue is doing (RabbitMQ's figures may lag by seconds for quorum queues). Raises BrokerError."""

    async def ping(self) -> None:
        """Ask the broker something that it has to answer. Raises BrokerError if it does not."""

    async def close(self) -> None:
        """Close the consumers, then the connection. Publishes under way end with PublishUnknownError."""
