"""Announcements: messages about what the store holds already. An announcement that gets lost is read from the store."""

from typing import Protocol

import structlog

from broker.errors import BrokerError
from broker.protocol import Message

log = structlog.get_logger()

#: A larger message is not announced, bytes: whoever takes hundreds ahead keeps them in memory, and a broker refuses
#: messages of 16 MiB. A partial of a flush of 2,000 receipts has some 50 kB.
MOST_ANNOUNCED_BYTES = 256 * 1024


class Announcer(Protocol):
    """The part of a broker that announcing needs."""

    async def announce(self, message: Message) -> None:
        """Announce something that the store holds already. Raises BrokerError when nobody can receive it."""


async def announce(broker: Announcer, message: Message) -> None:
    """Announce a message, unless it is too large or the broker is away: then the store is read instead."""
    if len(message.body) > MOST_ANNOUNCED_BYTES:
        log.info("too large to be announced, the store has it", exchange=message.exchange, bytes=len(message.body))
        return
    try:
        await broker.announce(message)
    except BrokerError as exc:
        log.info("not announced, the store has it", exchange=message.exchange, error=str(exc))
