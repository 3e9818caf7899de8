"""The broker as a simulated process reaches it, and what may go wrong on the way: see `broker.protocol.Broker`."""

import asyncio
import itertools
from collections.abc import Callable, Mapping

from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    BrokerUnavailableError,
    PublishUnknownError,
    UnroutableError,
)
from broker.exchanges import Queue
from broker.protocol import Message, QueueState
from tests.simulation.broker import BrokerServer, Channel, SimulatedQueue
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.plan import BROKER_CALLS
from tests.simulation.world import Process, World, fail, resolve

_PUBLISHES = tuple(kind for kind in BROKER_CALLS if kind not in {"unheard", "reordered"})
_ANNOUNCEMENTS = ("unheard", "doubled")
_PUBLISH_TIMEOUT = 2.0


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
        server.add(self)
        process.on_death.append(self.cut)

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
            world.loop.after(there, fail, reply, BrokerFullError("the queue is full"))
        elif fault == "publish-late":
            delay = _PUBLISH_TIMEOUT + world.chance.random() * 4
            world.later(delay, self._arrive_late, message)
        elif fault != "publish-lost":
            confirm = fault != "publish-unconfirmed"
            world.later(there, self._arrive, self._generation, message, reply, confirm, 1 + (fault == "doubled"))
        if fault is not None:
            why = PublishUnknownError("no confirm in time")
            timer = world.loop.call_later(_PUBLISH_TIMEOUT, fail, reply, why, context=world.loop.world.context)
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
            self._world.loop.after(self._world.latency(), fail if error else resolve, reply, error)

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
            self,
            self.server.queues[queue.name],
            prefetch=prefetch,
            exclusive=exclusive or queue.held is not None,
            transient=False,
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
                world.loop.after(world.latency(), fail, reply, exc)
            else:
                world.loop.after(world.latency(), resolve, reply, None)

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
            fail(reply, PublishUnknownError("the connection was lost"))
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
