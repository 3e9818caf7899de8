"""The broker's own side of the simulation: queues with prefetch, redelivery, delivery limits and dead letters.

It keeps the promises of `broker.protocol` and no more. What a queue has confirmed survives everything; transient
messages do not survive a restart; what was delivered on a connection that is gone goes back to its queue; a message may
be delivered twice, late, and in another order. What may go wrong on the way to it is in `tests.simulation.connection`.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

from broker.exchanges import Queue, Topology
from broker.protocol import Message
from broker.topics import matches
from tests.simulation.world import Process, World

#: After so long the broker gives up on a process that says nothing, seconds.
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


class Connection(Protocol):
    """What the broker knows of a connection."""

    process: Process

    @property
    def blocked(self) -> bool: ...

    def cut(self) -> None:
        """It is lost."""


class Receiver(Protocol):
    """What the broker knows of a consumer."""

    process: Process
    prefetch: int
    exclusive: bool
    transient: bool

    def receive(self, channel: "Channel", tag: int, held: Held) -> None:
        """A message has arrived in its process."""


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
        self._connections: list[Connection] = []
        self._tags = itertools.count(1)

    @property
    def all_connected(self) -> bool:
        """Whether no process waits for its connection to come back."""
        return not any(connection.blocked for connection in self._connections)

    def add(self, connection: Connection) -> None:
        """Somebody connects, or wants to."""
        self._connections.append(connection)

    def take(self, message: Message, *, transient: bool, copies: int = 1) -> bool:
        """Route a message; whether any queue took it."""
        if message.exchange == self.topology.work.bindings[0][0]:
            self.taken.append(message.body)
        taken = False
        for queue in [queue for queue in self.queues.values() if queue.spec.held is None or queue.channels]:
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

    def forget(self, connection: Connection) -> None:
        """A connection is closed for good."""
        if connection in self._connections:
            self._connections.remove(connection)


class Channel:
    """The broker's side of a consumer, for as long as its connection lives."""

    def __init__(self, server: BrokerServer, queue: SimulatedQueue, consumer: Receiver) -> None:
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
            self.consumer.process.post(self.consumer.receive, self, tag, held)

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
            if self._queue.spec.held is not None:  # the queue is gone with its holder
                self._queue.ready.clear()
                self.unsettled.clear()
            for held in reversed(list(self.unsettled.values())):
                self._server.give_back(self._queue, held)
            self.unsettled.clear()
