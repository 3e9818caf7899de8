"""RabbitMQ, through aio-pika: the Broker protocol on two connections that are kept.

One connection publishes, the other (made when first needed) consumes: under a memory or disk alarm RabbitMQ stops
reading from connections that publish, and acknowledgements must not wait behind that. On the publishing connection
confirmed and unconfirmed messages have a channel each. Frames are handed to aio-pika's underlying channel directly
(measured: a fifth less CPU per publish than its Exchange).
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Channel
from aiormq.exceptions import ChannelInvalidStateError, DeliveryError, PublishError
from pamqp.commands import Basic

from broker.amqp_consumer import OWN_ID, AmqpConsumer, Source
from broker.amqp_declare import Declarer, declare_held, declare_subscription, held_by_another
from broker.amqp_errors import reason, translated
from broker.amqp_link import ASK_TIMEOUT_SECONDS, Answer, Endpoint, Link, stalled
from broker.errors import (
    BrokerBlockedError,
    BrokerFullError,
    BrokerUnavailableError,
    ConsumerRefusedError,
    PublishUnknownError,
    UnroutableError,
)
from broker.exchanges import Needs, Queue
from broker.protocol import Message, QueueState, check_size

_TRANSIENT, _PERSISTENT = 1, 2


class AmqpBroker:
    """A broker on RabbitMQ (see `broker.protocol.Broker`); made by `AmqpBroker.open`.

    Delivery guarantee: at least once. Publishes are never sent twice by this class.
    """

    def __init__(self, endpoint: Endpoint, needs: Needs, publish_timeout: float) -> None:
        self._endpoint = endpoint
        self._declarer = Declarer(needs)
        self._publish_timeout = publish_timeout
        self._publishing = Link(endpoint, "publishing", self._open_channels)
        self._consuming: Link | None = None
        self._consuming_lock = asyncio.Lock()
        self._consumers: set[AmqpConsumer] = set()
        self._in_flight: dict[str, asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()
        #: when the last confirm of this connection came
        self._confirmed_at: float | None = None
        self._own_ids = itertools.count()
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        needs: Needs,
        *,
        publish_timeout: float,
        wait: float | None,
        name: str = "tillstream",
    ) -> "AmqpBroker":
        """Connect and declare what is needed; other arguments and errors as in `broker.connect`."""
        broker = cls(Endpoint.parse(url, name), needs, publish_timeout)
        await broker._publishing.open(wait)
        return broker

    async def _declare(self, connection: AbstractConnection) -> Sequence[Channel]:
        await self._declarer.declare(connection)
        return ()

    async def _open_channels(self, connection: AbstractConnection) -> Sequence[Channel]:
        await self._declare(connection)
        self._confirmed_at = None
        confirmed = await connection.channel(publisher_confirms=True, on_return_raises=True)
        announcing = await connection.channel(publisher_confirms=False)
        return (cast(Channel, confirmed), cast(Channel, announcing))

    @property
    def blocked(self) -> bool:
        """Whether publishing is refused right now: no connection, or an alarm at the broker."""
        connection = self._publishing.connection
        return connection is None or stalled(connection)

    def _channel(self, *, confirmed: bool) -> Channel:
        connection = self._publishing.connection
        if connection is None:
            raise BrokerUnavailableError(f"not connected to {self._endpoint}")
        if stalled(connection):
            raise BrokerBlockedError(f"{self._endpoint} takes no messages now (memory or disk alarm)")
        return self._publishing.channels[0 if confirmed else 1]

    async def publish(self, message: Message) -> None:
        """Publish persistently, mandatory, and wait for the confirm (see the protocol)."""
        check_size(message)
        channel = self._channel(confirmed=True)
        name = message.message_id or f"{OWN_ID}{next(self._own_ids)}"
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        began = self._loop.time()
        try:
            async with asyncio.timeout(self._publish_timeout):
                # The driver finds the publish that a returned message belongs to by this id: one at a time of each.
                while other := self._in_flight.get(name):
                    await other.wait()
                done = self._in_flight[name] = asyncio.Event()
                try:
                    await channel.basic_publish(
                        message.body,
                        exchange=message.exchange,
                        routing_key=message.routing_key,
                        properties=Basic.Properties(
                            delivery_mode=_PERSISTENT, headers=dict(message.headers), message_id=name
                        ),
                        mandatory=True,
                        wait=False,
                    )
                    self._confirmed_at = self._loop.time()
                finally:
                    del self._in_flight[name]
                    done.set()
        except PublishError as exc:
            raise UnroutableError(f"no queue for {message.exchange}/{message.routing_key}") from exc
        except DeliveryError as exc:
            # RabbitMQ 3.10 refuses everything on a channel that began while the queue's leader was lost.
            if self._confirmed_at is None:
                self._publishing.give_up("it has refused all messages")
            raise BrokerFullError(f"refused: a queue of {message.exchange}/{message.routing_key} is full") from exc
        except ChannelInvalidStateError as exc:  # raised before anything is sent
            raise BrokerUnavailableError(f"not connected to {self._endpoint}") from exc
        except TimeoutError as exc:
            if self._confirmed_at is None or self._confirmed_at < began:
                self._publishing.give_up("it confirms nothing")
            raise PublishUnknownError(f"no confirm within {self._publish_timeout:g} s") from exc
        except asyncio.CancelledError as exc:
            # The driver fails its waiters with CancelledError when it closes; only a cancel of ours counts here.
            if task is None or task.cancelling() > cancels:
                raise
            raise PublishUnknownError("the connection was lost before the confirm") from exc
        except Exception as exc:  # whatever closed the connection, down to a plain Exception
            raise PublishUnknownError(f"the connection was lost before the confirm: {reason(exc)}") from exc

    async def announce(self, message: Message) -> None:
        """Publish transiently, unconfirmed (see the protocol)."""
        check_size(message)
        channel = self._channel(confirmed=False)
        async with translated("announcing", self._publish_timeout):
            await channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=Basic.Properties(
                    delivery_mode=_TRANSIENT,
                    headers=dict(message.headers),
                    message_id=message.message_id or f"{OWN_ID}{next(self._own_ids)}",
                ),
                wait=False,
            )

    async def consume(self, queue: Queue, *, prefetch: int, exclusive: bool = False) -> AmqpConsumer:
        """Take messages from a declared queue (see the protocol)."""

        async def prepare(channel: AbstractChannel) -> str:
            if queue.held is None:
                await self._declarer.declare(channel.connection)  # it may have been deleted since
            elif await held_by_another(channel.connection, queue):
                raise ConsumerRefusedError(f"{queue.name} is held by another")
            else:
                await declare_held(channel, queue)
            return queue.name

        return await self._start(
            Source(
                label=queue.name,
                prepare=prepare,
                prefetch=prefetch,
                exclusive=exclusive or queue.held is not None,
                knock=queue.held and queue.held[1],
            )
        )

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> AmqpConsumer:
        """Listen with a queue of one's own (see the protocol)."""

        async def prepare(channel: AbstractChannel) -> str:
            return await declare_subscription(channel, role, bindings, max_length)

        return await self._start(Source(label=role, prepare=prepare, prefetch=0, no_ack=True, buffered=max_length))

    async def _start(self, source: Source) -> AmqpConsumer:
        consumer = AmqpConsumer(await self._consuming_link(), source)
        await consumer.start()
        self._consumers = {other for other in self._consumers if not other.ended} | {consumer}
        return consumer

    async def _consuming_link(self) -> Link:
        async with self._consuming_lock:
            if self._closed:
                raise BrokerUnavailableError("the broker connection is closed")
            if self._consuming is None:
                link = Link(self._endpoint, "consuming", self._declare)
                await link.open(ASK_TIMEOUT_SECONDS)
                self._consuming = link
            return self._consuming

    async def state(self, queue: Queue) -> QueueState:
        """Messages ready in a queue, and its consumers; late by seconds where it is a quorum queue."""

        async def ask(channel: AbstractChannel) -> QueueState:
            answer = await channel.queue_declare(queue.name, passive=True)
            return QueueState(answer.message_count or 0, answer.consumer_count or 0)

        return await self._ask(f"asking for the state of {queue.name}", ask)

    async def ping(self) -> None:
        """Ask for an exchange that every broker has. Raises BrokerBlockedError under an alarm."""

        async def ask(channel: AbstractChannel) -> None:
            await channel.exchange_declare("amq.topic", passive=True)

        self._channel(confirmed=True)
        await self._ask("asking the broker for an answer", ask)

    async def _ask(self, doing: str, ask: Callable[[AbstractChannel], Awaitable[Answer]]) -> Answer:
        # Under an alarm only the consuming connection is read; without one the publishing connection has to do.
        return await (self._consuming or self._publishing).ask(doing, ask)

    async def close(self) -> None:
        """Close the consumers, then the connections. Publishes under way end with PublishUnknownError."""
        self._closed = True
        async with self._consuming_lock:  # one that is being opened is closed as well
            await asyncio.gather(*(consumer.close() for consumer in self._consumers))
            self._consumers.clear()
            if self._consuming is not None:
                await self._consuming.close()
        await self._publishing.close()
