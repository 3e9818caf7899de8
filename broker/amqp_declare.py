"""Carrying out `broker.exchanges` on RabbitMQ: declaring what a process needs, or finding it there.

A node of a cluster that is frozen must not keep anybody from connecting. RabbitMQ answers for what is there from the
node that is asked; only a binding, even one that is there, is a transaction with all nodes. So bindings are waited for
a moment only; without one a publish is returned, and the next connection binds again.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, PublishError

from broker.amqp_arguments import queue_arguments
from broker.amqp_errors import reason
from broker.errors import TopologyMissingError
from broker.exchanges import Needs, Queue

log = structlog.get_logger()

#: RabbitMQ binds within milliseconds, unless it waits for a node that is away.
BIND_SECONDS = 2.0


class Declarer:
    """Sees to it that what is needed is there before it is used.

    A user who may declare does so: what is missing is made, and a queue that has other arguments is an error. One who
    may not (`broker.roles`) is refused once, and looks from then on whether all of it is there: RabbitMQ lets
    everybody ask that, but compares no arguments then.
    """

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._may_declare = True
        #: bindings that were not confirmed in time; they end at the latest with their connection
        self._late: set[asyncio.Task[None]] = set()

    async def declare(self, connection: AbstractConnection) -> None:
        """Do so on channels of its own.

        Raises TopologyMissingError where this user would have to declare and may not, and the driver's errors.
        """
        if self._may_declare:
            try:
                await self._declare(connection)
            except ChannelAccessRefused:  # which has closed the channel
                self._may_declare = False
                log.info("this user may not declare queues: they are used as they are")
        if not self._may_declare:
            channel = await connection.channel(publisher_confirms=False)
            await find(channel, self._needs)
            await channel.close()

    async def _declare(self, connection: AbstractConnection) -> None:
        """Raises the driver's precondition error where something is there with other arguments."""
        channel = await connection.channel(publisher_confirms=False)
        for exchange in self._needs.exchanges:
            await channel.exchange_declare(exchange.name, exchange_type="topic", durable=True)
        for queue in self._needs.queues:
            await channel.queue_declare(queue.name, durable=True, arguments=queue_arguments(queue))
        # Not cancelled when it is late: the driver would close the channel twice.
        binding = asyncio.create_task(_bind(channel, self._needs.queues), name="amqp binding")
        try:
            done, _ = await asyncio.wait({binding}, timeout=BIND_SECONDS)
        finally:
            if not binding.done():
                self._late.add(binding)
                binding.add_done_callback(self._bound_late)
        if done:
            binding.result()
        else:
            log.warning("the broker does not confirm the bindings, going on: is a node of it away?")

    def _bound_late(self, binding: "asyncio.Task[None]") -> None:
        self._late.discard(binding)
        if not binding.cancelled() and (fault := binding.exception()) is not None:
            log.warning("the bindings were never confirmed", error=reason(fault))


async def _bind(channel: AbstractChannel, queues: Sequence[Queue]) -> None:
    """Bind, and close the channel."""
    for queue in queues:
        for source, pattern in queue.bindings:
            await channel.queue_bind(queue.name, source, pattern)
    await channel.close()


async def find(channel: AbstractChannel, needs: Needs) -> None:
    """Look whether every exchange and queue is there, which needs no permission.

    Raises TopologyMissingError, with the channel closed, where one is not.
    """
    name = ""
    try:
        for exchange in needs.exchanges:
            name = f"exchange '{exchange.name}'"
            await channel.exchange_declare(exchange.name, passive=True)
        for queue in needs.queues:
            name = f"queue '{queue.name}'"
            await channel.queue_declare(queue.name, passive=True)
    except ChannelNotFoundEntity as exc:
        raise TopologyMissingError(
            f"{name} is not there, and this user may not make it: load what `tillstream definitions` prints"
        ) from exc


async def declare_subscription(
    channel: AbstractChannel, role: str, bindings: Mapping[str, str], max_length: int
) -> str:
    """Declare and bind a subscriber's own queue, gone with its consumer or connection; returns its name.

    The name is new at each call: after a lost connection the broker may hold the old queue for a while.
    """
    name = f"{role}.{uuid.uuid4()}"
    arguments: dict[str, Any] = {"x-queue-type": "classic", "x-max-length": max_length, "x-overflow": "drop-head"}
    await channel.queue_declare(name, exclusive=True, auto_delete=True, arguments=arguments)
    for source, pattern in bindings.items():
        await channel.queue_bind(name, source, pattern)
    return name


async def held_by_another(connection: AbstractConnection, queue: Queue) -> bool:
    """Whether somebody holds a queue, found out without an error in the broker's log: a knock reaches its holder."""
    assert queue.held is not None
    exchange, key = queue.held
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        await channel.basic_publish(b"", exchange=exchange, routing_key=key, mandatory=True)
    except PublishError:
        return False
    else:
        return True
    finally:
        await channel.close()


async def declare_held(channel: AbstractChannel, queue: Queue) -> None:
    """Declare and bind a queue that exists while it is held: on this connection, and while it is consumed.

    It belongs to this connection alone, and lives on the node that the connection leads to: it is gone with either.
    Raises the driver's error for a locked resource if another connection holds it.
    """
    assert queue.held is not None
    await channel.queue_declare(queue.name, exclusive=True, auto_delete=True, arguments=queue_arguments(queue))
    for source, pattern in (*queue.bindings, queue.held):
        await channel.queue_bind(queue.name, source, pattern)
