"""Carrying out `broker.exchanges` on RabbitMQ: what each queue becomes there, and declaring it all."""

import uuid
from collections.abc import Mapping
from typing import Any

from aiormq.abc import AbstractChannel

from broker.exchanges import Queue, Topology

#: For quorum queues that have no limit of ours: since 4.0 theirs would be 20, and then the message is dropped.
NO_DELIVERY_LIMIT = 1_000_000_000


def queue_arguments(queue: Queue) -> dict[str, Any]:
    """The `x-` arguments of a queue.

    Dead-lettering at least once needs `reject-publish` (RabbitMQ, "Quorum Queues", at-least-once dead lettering).
    """
    arguments: dict[str, Any] = {"x-queue-type": "quorum" if queue.quorum else "classic"}
    if queue.quorum:
        limit = queue.delivery_limit
        arguments["x-delivery-limit"] = NO_DELIVERY_LIMIT if limit is None else limit
    if queue.dead_letter is not None:
        arguments["x-dead-letter-exchange"] = ""
        arguments["x-dead-letter-routing-key"] = queue.dead_letter
        if queue.quorum:
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
    if queue.max_bytes is not None:
        arguments["x-max-length-bytes"] = queue.max_bytes
        arguments["x-overflow"] = "reject-publish"
    if queue.max_length is not None:
        arguments["x-max-length"] = queue.max_length
        arguments["x-overflow"] = "drop-head"
    return arguments


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
