"""Where the asyncio engine's workers take their frames: from a queue of the broker, as its consumers."""

from dataclasses import dataclass

from broker.byte_limit import consume_bounded
from broker.exchanges import Queue
from broker.protocol import Broker, Consumer


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue as an `engine.Source`: all workers that open it compete for its messages."""

    broker: Broker
    queue: Queue

    async def open(self, *, prefetch: int, held_bytes: int) -> Consumer:
        """Consume the queue; see `broker.byte_limit`."""
        return await consume_bounded(self.broker, self.queue, prefetch=prefetch, held_bytes=held_bytes)
