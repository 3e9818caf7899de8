"""Carrying out `broker.exchanges` on RabbitMQ: declaring it all, or finding it there."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from broker.amqp_arguments import queue_arguments
from broker.errors import TopologyMissingError
from broker.exchanges import Topology

log = structlog.get_logger()


class Declarer:
    """Sees to it that the topology is there before it is used.

    A user who may declare does so: what is missing is made, and a queue that has other arguments is an error. One who
    may not (`broker.roles`) is refused once, and looks from then on whether all of it is there: RabbitMQ lets
    everybody ask that, but compares no arguments then.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._may_declare = True

    async def declare(self, connection: AbstractConnection) -> None:
        """Do so on a channel of its own. Raises as `on` does, but not for a first refusal."""
        if self._may_declare:
            with suppress(ChannelAccessRefused):  # which is noted, and has closed the channel
                return await self._declare(connection)
            log.info("this user may not declare queues: they are used as they are")
        return await self._declare(connection)

    async def _declare(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        await self.on(channel)
        await channel.close()

    async def on(self, channel: AbstractChannel) -> None:
        """Do so on a channel that goes on to be used; every error closes it.

        Raises TopologyMissingError where this user would have to declare and may not, and the driver's errors: access
        refused (the next time it only looks), precondition failed.
        """
        if not self._may_declare:
            return await find_topology(channel, self._topology)
        try:
            await declare_topology(channel, self._topology)
        except ChannelAccessRefused:
            self._may_declare = False
            raise


async def declare_topology(channel: AbstractChannel, topology: Topology) -> None:
    """Declare every exchange, queue and binding; those that are there with the same arguments stay as they are.

    Raises the driver's precondition error, which closes the channel, where one is there with others.
    """
    for exchange in topology.exchanges:
        await channel.exchange_declare(exchange.name, exchange_type="topic", durable=True)
    for queue in topology.queues:
        await channel.queue_declare(queue.name, durable=True, arguments=queue_arguments(queue))
        for source, pattern in queue.bindings:
            await channel.queue_bind(queue.name, source, pattern)


async def find_topology(channel: AbstractChannel, topology: Topology) -> None:
    """Look whether every exchange and queue is there, which needs no permission.

    Raises TopologyMissingError, with the channel closed, where one is not.
    """
    name = ""
    try:
        for exchange in topology.exchanges:
            name = f"exchange '{exchange.name}'"
            await channel.exchange_declare(exchange.name, passive=True)
        for queue in topology.queues:
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
