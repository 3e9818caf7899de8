"""A simulated broker: queues with consumers, prefetch, redelivery, delivery limits and dead letters.

It keeps the promises of `broker.protocol` and no more. What a queue has confirmed survives everything; transient
messages do not survive a restart; what was delivered on a connection that is gone goes back to its queue; a message may
be delivered twice, late, and in another order.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    BrokerUnavailableError,
    ConsumerRefusedError,
    PublishUnknownError,
    UnroutableError,
)
from broker.exchanges import Queue, Topology
from broker.protocol import Message, QueueState
from broker.topics import matches
from tests.simulation.plan import BROKER_CALLS
from tests.simulation.world import Process, World

_PUBLISHES = tuple(kind for kind in BROKER_CALLS if kind not in {"unheard", "reordered"})
_ANNOUNCEMENTS = ("unheard", "doubled")
_PUBLISH_TIMEOUT = 2.0
#: After so long the broker gives up on a process that says nothing.
HEARTBEAT = 4.0


@dataclass(slots=True)
class Held:
    """A message in a queue, or delivered and unsettled."""

    message: Message
    transient: bool
    returns: int = 0


class SimulatedQueue:
    """A queue: what is ready, and the channels that consume it."""

    def __init__(self, spec: Queue) -> None:
        self.spec = spec
        self.ready: list[Held] = []
        self.channels: list[Channel] = []

    def consumable(self, *, exclusive: bool) -> bool:
        """Whether another consumer may come."""
        return not any(exclusive or channel.exclusive for channel in self.channels)

    @property
    def unsettled(self) -> int:
        """Messages delivered and not settled."""
        return sum(len(channel.unsettled) for channel in self.channels)


class BrokerServer:
    """The broker's own side.

    Attributes:
        up, alarm, full: whether it runs; takes no messages; refuses them.
        taken: the bodies of all confirmed or confirmable messages of `receipts`, for the model.
        dead: how many messages were dead-lettered.
    """

    def __init__(self, world: World, topology: Topology) -> None:
        self._world = world
        self.up = True
        self.alarm = False
        self.full = False
        self.topology = topology
        self.queues = {spec.name: SimulatedQueue(spec) for spec in topology.queues}
        self.taken: list[bytes] = []
        self.dead = 0
        self._connections: list[SimulatedBroker] = []
        self._tags = itertools.count(1)

    @property
    def all_connected(self) -> bool:
        """Whether no process waits for its connection to come back."""
        return not any(connection.blocked for connection in self._connections)

    def connect(self, process: Process) -> "SimulatedBroker":
        """A connection for a process; it tries again while the broker is down."""
        connection = SimulatedBroker(self._world, self, process)
        self._connections.append(connection)
        process.on_death.append(connection.cut)
        return connection

    def take(self, message: Message, *, transient: bool, copies: int = 1) -> bool:
        """Route a message; whether any queue took it."""
        if message.exchange == self.topology.work.bindings[0][0]:
            self.taken.append(message.body)
        taken = False
        for queue in list(self.queues.values()):
            for exchange, pattern in queue.spec.bindings:
                if exchange == message.exchange and matches(pattern, message.routing_key):
                    taken = True
                    for _ in range(copies):
                        self._put(queue, Held(message, transient))
        return taken

    def _put(self, queue: SimulatedQueue, held: Held) -> None:
        queue.ready.append(held)
        limit = queue.spec.max_length
        if limit is not None and len(queue.ready) > limit:
            del queue.ready[0]
        self.dispatch(queue)

    def dispatch(self, queue: SimulatedQueue) -> None:
        """Deliver what is ready to consumers that have room."""
        world = self._world
        while queue.ready:
            free = [channel for channel in queue.channels if channel.room]
            if not free:
                return
            channel = free[0] if len(free) == 1 else world.chance.choice(free)
            place = 0
            if len(queue.ready) > 1 and world.strike(("reordered",)):
                place = world.chance.randrange(len(queue.ready))
            held = queue.ready.pop(place)
            tag = next(self._tags)
            if not channel.settled_by_sending:
                channel.unsettled[tag] = held
            world.loop.after(world.latency(), channel.arrive, tag, held)

    def give_back(self, queue: SimulatedQueue, held: Held) -> None:
        """Put a message back at the head, or among the dead letters when it came back too often."""
        held.returns += 1
        limit = queue.spec.delivery_limit
        if limit is not None and held.returns > limit and queue.spec.dead_letter is not None:
            self.dead += 1
            self._put(self.queues[queue.spec.dead_letter], Held(held.message, held.transient))
        else:
            queue.ready.insert(0, held)
            self.dispatch(queue)

    def restart(self, seconds: float) -> None:
        """Stop, lose what is transient and every connection, and start again."""
        self.up = False
        for connection in list(self._connections):
            connection.cut()
        for queue in self.queues.values():
            queue.ready = [held for held in queue.ready if not held.transient]
        self._world.later(seconds, setattr, self, "up", True)

    def replay_dead_letters(self) -> None:
        """What an operator does: publish each dead letter again, whole."""
        dead = self.queues[self.topology.dead.name]
        for held in dead.ready:
            self._put(self.queues[self.topology.work.name], Held(held.message, transient=False))
        dead.ready.clear()

    def silence(self, process: Process) -> None:
        """Nothing was heard of a process for too long."""
        for connection in list(self._connections):
            if connection.process is process:
                connection.cut()

    def cut(self, chosen: int) -> None:
        """One of the connections is lost."""
        if self._connections:
            self._connections[chosen % len(self._connections)].cut()

    def forget(self, connection: "SimulatedBroker") -> None:
        """A connection is closed for good."""
        if connection in self._connections:
            self._connections.remove(connection)


class Channel:
    """The broker's side of a consumer, for as long as its connection lives."""

    def __init__(self, server: BrokerServer, queue: SimulatedQueue, consumer: "SimulatedConsumer") -> None:
        self._server = server
        self._queue = queue
        self.consumer = consumer
        self.open = True
        self.taking = True
        self.exclusive = consumer.exclusive
        self.settled_by_sending = consumer.transient
        self.unsettled: dict[int, Held] = {}
        queue.channels.append(self)
        server.dispatch(queue)

    @property
    def room(self) -> bool:
        """Whether it may be given another message."""
        return self.taking and (self.settled_by_sending or len(self.unsettled) < self.consumer.prefetch)

    def arrive(self, tag: int, held: Held) -> None:
        """A message has come to the consumer's machine."""
        if self.open:
            self.consumer.process.post(self.consumer.receive, SimulatedDelivery(self, tag, held))

    def settle(self, tag: int, *, acknowledged: bool) -> None:
        """An ack or nack has come to the broker; for a channel that is gone it means nothing."""
        held = self.unsettled.pop(tag, None)
        if held is not None:
            if acknowledged:
                self._server.dispatch(self._queue)
            else:
                self._server.give_back(self._queue, held)

    def stop(self) -> None:
        """Give it nothing more."""
        self.taking = False

    def close(self) -> None:
        """It is gone: take back what is unsettled."""
        if self.open:
            self.open = self.taking = False
            self._queue.channels.remove(self)
            for held in reversed(list(self.unsettled.values())):
                self._server.give_back(self._queue, held)
            self.unsettled.clear()


class SimulatedDelivery:
    """A delivery, as its consumer has it."""

    def __init__(self, channel: Channel, tag: int, held: Held) -> None:
        self.channel = channel
        self.tag = tag
        message = held.message
        self.body = message.body
        self.headers: Mapping[str, str | int] = message.headers
        self.exchange = message.exchange
        self.routing_key = message.routing_key
        self.message_id = message.message_id
        self.redelivered = held.returns > 0

    async def ack(self) -> None:
        self.channel.consumer.connection.settle(self.channel, self.tag, acknowledged=True)

    async def nack(self) -> None:
        self.channel.consumer.connection.settle(self.channel, self.tag, acknowledged=False)


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

    def receive(self, delivery: SimulatedDelivery) -> None:
        """A delivery has arrived in this process."""
        if self._ended:
            self.connection.settle(delivery.channel, delivery.tag, acknowledged=False)
        elif delivery.channel is self.channel:
            self._buffer.append(delivery)
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
        self.connection.forget(self)
        if self.channel is not None:
            with contextlib.suppress(BrokerError):  # then the broker has closed it with its connection
                await self.connection.ask(self.channel.close)


class SimulatedBroker:
    """The broker as one process reaches it: a connection that comes back by itself when it is lost."""

    def __init__(self, world: World, server: BrokerServer, process: Process) -> None:
        self._world = world
        self.server = server
        self.process = process
        self._connected = server.up
        self._closed = False
        #: the server's view: which connection this is; what belongs to an earlier one is ignored
        self._generation = 1
        self._consumers: list[SimulatedConsumer] = []
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._names = itertools.count()
        if not self._connected:
            self._lost(self._generation)

    @property
    def blocked(self) -> bool:
        return not self._connected or self.server.alarm

    def _check(self) -> None:
        if self._world.over or not self._connected or self._closed:
            raise BrokerUnavailableError("not connected")

    async def publish(self, message: Message) -> None:
        self._check()
        if self.server.alarm:
            raise BrokerBlockedError("an alarm")
        world = self._world
        fault = world.strike(_PUBLISHES)
        reply: asyncio.Future[None] = world.loop.create_future()
        self._waiting[reply] = None
        there = world.latency()
        if fault == "crash-in-call":
            self.process.crash()
            fault = world.chance.choice(("publish-lost", "publish-unconfirmed"))
        if fault == "publish-refused":
            world.loop.after(there, _fail, reply, BrokerFullError("the queue is full"))
        elif fault == "publish-late":
            delay = _PUBLISH_TIMEOUT + world.chance.random() * 4
            world.later(delay, self._arrive_late, message)
        elif fault != "publish-lost":
            confirm = fault != "publish-unconfirmed"
            world.later(there, self._arrive, self._generation, message, reply, confirm, 1 + (fault == "doubled"))
        if fault is not None:
            why = PublishUnknownError("no confirm in time")
            timer = world.loop.call_later(_PUBLISH_TIMEOUT, _fail, reply, why, context=world.loop.world.context)
        else:
            timer = None
        try:
            await reply
        finally:
            del self._waiting[reply]
            if timer is not None:
                timer.cancel()

    def _arrive(
        self, generation: int, message: Message, reply: "asyncio.Future[None]", confirm: bool, copies: int
    ) -> None:
        """A publish has come to the broker."""
        server = self.server
        if generation != self._generation or not server.up:
            return
        error: BrokerError | None = None
        if server.full:
            error = BrokerFullError("the queue is full")
        elif not server.take(message, transient=False, copies=copies):
            error = UnroutableError("no queue")
        if confirm:
            self._world.loop.after(self._world.latency(), _fail if error else _resolve, reply, error)

    def _arrive_late(self, message: Message) -> None:
        if self.server.up:
            self.server.take(message, transient=False)

    async def announce(self, message: Message) -> None:
        self._check()
        world = self._world
        fault = world.strike(_ANNOUNCEMENTS)
        if fault != "unheard":
            world.loop.after(world.latency(), self._hear, self._generation, message, 1 + (fault == "doubled"))

    def _hear(self, generation: int, message: Message, copies: int) -> None:
        server = self.server
        if generation == self._generation and server.up and not server.alarm:
            server.take(message, transient=True, copies=copies)

    async def consume(self, queue: Queue, *, prefetch: int, exclusive: bool = False) -> SimulatedConsumer:
        consumer = SimulatedConsumer(
            self, self.server.queues[queue.name], prefetch=prefetch, exclusive=exclusive, transient=False
        )
        return await self._begin(consumer)

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> SimulatedConsumer:
        name = f"{role}.{self.process.name}.{next(self._names)}"
        queue = SimulatedQueue(Queue(name=name, bindings=tuple(bindings.items()), max_length=max_length))
        self.server.queues[name] = queue
        return await self._begin(SimulatedConsumer(self, queue, prefetch=0, exclusive=True, transient=True))

    async def _begin(self, consumer: SimulatedConsumer) -> SimulatedConsumer:
        self._consumers.append(consumer)
        try:
            await self.ask(consumer.consume)
        except BrokerError:
            consumer.give_up()
            raise
        return consumer

    async def state(self, queue: Queue) -> QueueState:
        found = self.server.queues[queue.name]
        states: list[QueueState] = []
        await self.ask(lambda: states.append(QueueState(len(found.ready), len(found.channels))))
        return states[0]

    async def ping(self) -> None:
        await self.ask(lambda: None)

    async def close(self) -> None:
        self._closed = True
        self.cut()

    async def ask(self, do: Callable[[], object]) -> None:
        """Have the broker do something and wait for its answer. Raises what it raises, or BrokerUnavailableError."""
        self._check()
        world = self._world
        reply: asyncio.Future[None] = world.loop.create_future()
        self._waiting[reply] = None
        generation = self._generation

        def arrive() -> None:
            if generation != self._generation or not self.server.up:
                return
            try:
                do()
            except BrokerError as exc:
                world.loop.after(world.latency(), _fail, reply, exc)
            else:
                world.loop.after(world.latency(), _resolve, reply, None)

        world.loop.after(world.latency(), arrive)
        try:
            await reply
        finally:
            del self._waiting[reply]

    def say(self, do: Callable[[], object]) -> None:
        """Tell the broker something that it does not answer."""
        generation = self._generation

        def arrive() -> None:
            if generation == self._generation:
                do()

        self._world.later(self._world.latency(), arrive)

    def settle(self, channel: Channel, tag: int, *, acknowledged: bool) -> None:
        """Settle a delivery."""
        if not self._world.over:
            self.say(lambda: channel.settle(tag, acknowledged=acknowledged))

    def forget(self, consumer: SimulatedConsumer) -> None:
        """A consumer is closed."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def cut(self) -> None:
        """The connection is gone; the broker knows at once, the process when it next runs."""
        if self._world.over:
            return
        self._generation += 1
        for consumer in self._consumers:
            if consumer.channel is not None:
                consumer.channel.close()
        if self.process.alive:
            self.process.post(self._lost, self._generation)
        else:
            self.server.forget(self)

    def _lost(self, generation: int) -> None:
        """The process learns of it."""
        self._connected = False
        for reply in list(self._waiting):
            _fail(reply, PublishUnknownError("the connection was lost"))
        for consumer in self._consumers:
            consumer.lose()
        if self._closed:
            self.server.forget(self)
        elif generation == self._generation:
            self._world.loop.after(0.05 + self._world.chance.random(), self.process.post, self._reconnect, generation)

    def _reconnect(self, generation: int) -> None:
        if generation != self._generation or self._closed:
            return
        if not self.server.up:
            self._world.loop.after(0.5, self.process.post, self._reconnect, generation)
            return
        self._connected = True
        for consumer in list(self._consumers):
            consumer.again()


def _resolve(reply: "asyncio.Future[Any]", result: Any) -> None:
    if not reply.done():
        reply.set_result(result)


def _fail(reply: "asyncio.Future[Any]", error: BaseException) -> None:
    if not reply.done():
        reply.set_exception(error)
