"""What the queues of `broker.exchanges` are in RabbitMQ's terms. Needs no driver: definitions are made of it, too."""

from typing import Any

from broker.exchanges import Queue

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
