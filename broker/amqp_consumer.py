"""Consuming from RabbitMQ: deliveries, and a consumer that notices when the broker has forgotten it.

A consumer ends without our doing in four ways: the connection is lost or given up, its channel is closed, the broker
cancels it (its queue was deleted), or the broker simply has it no more. Each time it starts again on a new channel.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from pamqp.commands import Basic

from broker.amqp_errors import translated
from broker.amqp_link import CLOSE_TIMEOUT_SECONDS, RECONNECT, Link
from broker.errors import BrokerError, BrokerUnavailableError, ConsumerRefusedError

log = structlog.get_logger()

#: How often a consumer asks the broker whether its queue still serves it.
WATCHDOG_SECONDS = 10.0
#: For each step of starting to consume.
CONSUME_TIMEOUT_SECONDS = 10.0
#: Marks the ids that we gave to messages without one (the driver needs one to tell returned messages apart).
OWN_ID = "~"


class AmqpDelivery:
    """One delivery. Settling it is written to the connection; the broker does not confirm that."""

    __slots__ = ("_channel", "_in_hand", "_message", "_settled")

    def __init__(
        self, message: DeliveredMessage, channel: AbstractChannel, in_hand: set[int], *, settled: bool
    ) -> None:
        self._message = message
        self._channel = channel
        self._settled = settled
        self._in_hand = in_hand
        if not settled:
            in_hand.add(message.delivery_tag or 0)

    @property
    def body(self) -> bytes:
        """The bytes."""
        return self._message.body

    @property
    def headers(self) -> Mapping[str, str | int]:
        """Strings and integers only; the broker's own headers of other types (`x-death`) are left out."""
        headers = self._message.header.properties.headers or {}
        return {name: value for name, value in headers.items() if isinstance(value, (str, int))}

    @property
    def exchange(self) -> str:
        """Where it was published."""
        return self._message.exchange or ""

    @property
    def routing_key(self) -> str:
        """Its routing key."""
        return self._message.routing_key or ""

    @property
    def message_id(self) -> str | None:
        """The publisher's id."""
        given = self._message.header.properties.message_id
        return None if given is None or given.startswith(OWN_ID) else given

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return bool(self._message.redelivered)

    async def ack(self) -> None:
        """Acknowledge; does nothing when its channel is gone."""
        await self._settle(acknowledge=True)

    async def nack(self) -> None:
        """Give it back to the queue; does nothing when its channel is gone."""
        await self._settle(acknowledge=False)

    async def _settle(self, *, acknowledge: bool) -> None:
        tag = self._message.delivery_tag
        if self._settled or tag is None or self._channel.is_closed:
            return
        self._settled = True
        self._in_hand.discard(tag)
        # A dying connection no longer takes what we write, and says so only later: its channel is as good as gone.
        with suppress(TimeoutError, AMQPError, ChannelInvalidStateError, OSError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                if acknowledge:
                    await self._channel.basic_ack(tag, wait=False)
                else:
                    await self._channel.basic_nack(tag, requeue=True, wait=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a consumer consumes.

    Attributes:
        label: for the logs.
        prepare: gives the name of the queue to consume, having declared what is needed, on the consumer's channel.
        prefetch: unsettled deliveries at most.
        exclusive: refuse, and be refused by, other consumers.
        no_ack: deliveries are settled by being sent.
        buffered: with `no_ack`, how many deliveries wait here before the oldest is dropped.
        knock: routing key of messages that only want to know whether anybody is here; they are not passed on.
    """

    label: str
    prepare: Callable[[AbstractChannel], Awaitable[str]]
    prefetch: int
    exclusive: bool = False
    no_ack: bool = False
    buffered: int | None = None
    knock: str | None = None


class AmqpConsumer:
    """A consumer that goes on after lost connections, closed channels, and cancels by the broker.

    An exclusive consumer that comes back and finds its place taken raises ConsumerRefusedError from its iteration,
    once and for all: who was active has to know that it is not any more.
    """

    def __init__(self, link: Link, source: Source) -> None:
        self._link = link
        self._source = source
        self._buffer: deque[AmqpDelivery] = deque(maxlen=source.buffered if source.no_ack else None)
        self._news = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._tag: str | None = None
        self._queue = ""
        #: tags of what this channel delivered and nobody settled, and how much it delivered
        self._in_hand: set[int] = set()
        self._received = 0
        self._given_up: asyncio.Future[str] | None = None
        self._cancelled_by_broker = asyncio.Event()
        self._ended = False
        self._fault: BaseException | None = None
        self._watchdog: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to consume; errors of this first time are raised."""
        await self._consume()
        self._watchdog = asyncio.create_task(self._keep(), name=f"amqp consumer {self._source.label}")
        self._watchdog.add_done_callback(self._tell)

    def _tell(self, watchdog: "asyncio.Task[None]") -> None:
        """Have the iteration raise what ended the watchdog, since nothing would be delivered any more."""
        if not watchdog.cancelled():
            self._fault = watchdog.exception()
            self._news.set()

    @property
    def ended(self) -> bool:
        """Whether it was cancelled or closed."""
        return self._ended

    def __aiter__(self) -> "AmqpConsumer":
        return self

    async def __anext__(self) -> AmqpDelivery:
        while True:
            if self._buffer:
                return self._buffer.popleft()
            if self._fault is not None:
                raise self._fault
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def cancel(self) -> None:
        """Stop new deliveries; those received here and not given out are taken back, so the iteration ends at once."""
        if self._ended:
            return
        self._ended = True  # from here on a delivery that still arrives is given back
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait({self._watchdog})
        channel, tag = self._channel, self._tag
        if channel is not None and tag is not None and not channel.is_closed:
            with suppress(BrokerError):
                async with translated("cancelling a consumer", CLOSE_TIMEOUT_SECONDS):
                    await channel.basic_cancel(tag)
        while self._buffer:
            await self._buffer.popleft().nack()
        self._news.set()

    async def close(self) -> None:
        """Cancel, and close the channel: the broker takes back what is unsettled."""
        await self.cancel()
        await self._close_channel()

    async def _close_channel(self) -> None:
        channel, self._channel, self._tag = self._channel, None, None
        if channel is not None and not channel.is_closed:
            await asyncio.wait({self._link.leave(channel)}, timeout=CLOSE_TIMEOUT_SECONDS)

    async def _consume(self) -> None:
        """Open a channel and consume on it."""
        connection = await self._link.ready(CONSUME_TIMEOUT_SECONDS)
        self._given_up = self._link.given_up
        async with translated(f"consuming {self._source.label}", CONSUME_TIMEOUT_SECONDS):
            channel = await connection.channel(publisher_confirms=False)
            try:
                await self._consume_on(channel)
            except BaseException:
                self._link.leave(channel)
                raise

    async def _consume_on(self, channel: AbstractChannel) -> None:
        source = self._source
        cancelled = asyncio.Event()
        in_hand: set[int] = set()

        async def deliver(message: DeliveredMessage) -> None:
            self._received += 1
            delivery = AmqpDelivery(message, channel, in_hand, settled=source.no_ack)
            if delivery.routing_key == source.knock:
                await delivery.ack()
            elif self._ended:
                await delivery.nack()
            elif channel is self._channel:
                self._buffer.append(delivery)
                self._news.set()

        async def on_cancel(_: Basic.Cancel) -> None:
            cancelled.set()

        self._queue = await source.prepare(channel)
        if not source.no_ack:
            await channel.basic_qos(prefetch_count=source.prefetch)
        channel.on_consumer_cancel_callbacks.add(on_cancel)
        self._cancelled_by_broker = cancelled
        self._channel, self._in_hand = channel, in_hand  # before the first delivery can come
        started = await channel.basic_consume(self._queue, deliver, no_ack=source.no_ack, exclusive=source.exclusive)
        self._tag = started.consumer_tag

    async def _keep(self) -> None:
        """Wait until the broker consumes with us no more, then consume again; until cancelled."""
        while True:
            why = await self._lost()
            self._buffer.clear()  # their channel is gone, or goes now: the broker delivers them again
            await self._close_channel()
            log.warning("consumer lost, consuming again", queue=self._source.label, error=why)
            failures = 0
            while True:
                try:
                    await self._consume()
                    break
                except ConsumerRefusedError:
                    raise
                except BrokerError as exc:
                    failures += 1
                    delay = RECONNECT.delay(failures, random.random())
                    if isinstance(exc.__cause__, TimeoutError):
                        self._link.give_up("it does not let a consumer begin")
                    if not isinstance(exc, BrokerUnavailableError):
                        log.error(
                            "cannot consume, trying again",
                            queue=self._source.label,
                            error=str(exc),
                            delay_s=round(delay, 2),
                        )
                    await asyncio.sleep(delay)
            log.info("consuming again", queue=self._source.label)

    async def _lost(self) -> str:
        """Return when this consumer is no more, saying why."""
        channel, given_up = self._channel, self._given_up
        if channel is None or given_up is None:
            return "no channel"
        cancelled = asyncio.create_task(self._cancelled_by_broker.wait())
        ends: set[asyncio.Future[Any]] = {channel.closing, given_up, cancelled}
        strikes = 0
        try:
            while True:
                before = self._received
                done, _ = await asyncio.wait(ends, timeout=WATCHDOG_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if cancelled in done:
                    return "the broker cancelled it"
                if done:
                    return "its channel was closed"
                strikes = 0 if await self._served(before) else strikes + 1
                if strikes > 1:  # twice, since a figure may be late
                    self._link.give_up("it does not serve a consumer")
                    return "the broker does not know it"
        finally:
            cancelled.cancel()

    async def _served(self, before: int) -> bool:
        """Whether the broker serves this consumer, as far as can be told; without a clear answer, yes.

        AMQP cannot be asked about one consumer. A queue without any serves nobody. A queue where messages wait while
        this one has room for them, and has received none since it had received `before`, has forgotten it.
        """
        try:
            answer = await self._link.ask(
                "asking for consumers", lambda channel: channel.queue_declare(self._queue, passive=True)
            )
        except BrokerError as exc:
            return "NOT_FOUND" not in str(exc)
        room = self._source.no_ack or len(self._in_hand) < self._source.prefetch
        passed_over = bool(answer.message_count) and room and self._received == before
        return bool(answer.consumer_count) and not passed_over
