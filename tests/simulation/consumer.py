"""Deliveries and consumers as a simulated process has them: see `broker.protocol.Delivery` and `Consumer`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from broker.errors import BrokerError, ConsumerRefusedError
from tests.simulation.broker import Channel, Held, SimulatedQueue

if TYPE_CHECKING:
    from tests.simulation.connection import SimulatedBroker


class SimulatedDelivery:
    """A delivery, as its consumer has it."""

    def __init__(self, connection: "SimulatedBroker", channel: Channel, tag: int, held: Held) -> None:
        self._settle = partial(connection.settle, channel, tag)
        message = held.message
        self.body = message.body
        self.headers: Mapping[str, str | int] = message.headers
        self.exchange = message.exchange
        self.routing_key = message.routing_key
        self.message_id = message.message_id
        self.redelivered = held.returns > 0

    async def ack(self) -> None:
        self._settle(acknowledged=True)

    async def nack(self) -> None:
        self._settle(acknowledged=False)


class SimulatedConsumer:
    """A consumer; it consumes again by itself when its connection is back."""

    def __init__(
        self, connection: "SimulatedBroker", queue: SimulatedQueue, *, prefetch: int, exclusive: bool, transient: bool
    ) -> None:
        self.connection = connection
        self.process = connection.process
        self.prefetch = prefetch
        self.exclusive = exclusive
        self.transient = transient
        self.queue = queue
        self.channel: Channel | None = None
        self._buffer: deque[SimulatedDelivery] = deque(maxlen=queue.spec.max_length if transient else None)
        self._news = asyncio.Event()
        self._ended = False
        self._refused = False

    def receive(self, channel: Channel, tag: int, held: Held) -> None:
        """A delivery has arrived in this process."""
        if self._ended:
            self.connection.settle(channel, tag, acknowledged=False)
        elif channel is self.channel:
            self._buffer.append(SimulatedDelivery(self.connection, channel, tag, held))
            self._news.set()

    def consume(self) -> None:
        """Consume, or consume again. Raises ConsumerRefusedError."""
        if not self.queue.consumable(exclusive=self.exclusive):
            raise ConsumerRefusedError(f"{self.queue.spec.name} is taken")
        if self.transient:
            self.queue.ready.clear()  # its queue is a new one
        self.channel = Channel(self.connection.server, self.queue, self)

    def lose(self) -> None:
        """This process learns that the connection is lost."""
        self._buffer.clear()

    def again(self) -> None:
        """The connection is back."""
        if not self._ended:
            try:
                self.consume()
            except ConsumerRefusedError:
                self._refused = True
                self._news.set()

    def give_up(self) -> None:
        """It never began."""
        self._ended = True
        self.connection.forget(self)
        if self.channel is not None:
            self.channel.close()

    def __aiter__(self) -> "SimulatedConsumer":
        return self

    async def __anext__(self) -> SimulatedDelivery:
        while True:
            if self._buffer:
                return self._buffer.popleft()
            if self._refused:
                raise ConsumerRefusedError(f"{self.queue.spec.name} was taken by another")
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def cancel(self) -> None:
        self._ended = True
        if self.channel is not None:
            self.connection.say(self.channel.stop)
        while self._buffer:
            await self._buffer.popleft().nack()
        self._news.set()

    async def close(self) -> None:
        await self.cancel()
        if self.channel is not None:
            with contextlib.suppress(BrokerError):  # then the broker has closed it with its connection
                await self.connection.ask(self.channel.close)
        self.connection.forget(self)  # not before: a connection that is lost meanwhile takes the channel with it
