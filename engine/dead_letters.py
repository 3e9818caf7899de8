"""Dead letters: frames that came back from the work queue too often, whole, in a queue of their own.

A dead letter's events may be claimed already, by this very frame, and not yet counted. So it is replayed whole: the
same bytes under the same frame id, and its claims count. Its bytes are not looked into here: it may be what ended each
worker that read it.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from broker.byte_limit import consume_bounded
from broker.exchanges import Queue
from broker.frames import STORE_HEADER, Frame
from broker.protocol import Broker, Delivery, Message
from engine.prepare import rejected
from engine.quarantine import discard
from store.protocol import Rejected, RejectedStep, Store
from streams.base import Stream

#: Dead letters in hand at once, and their bytes: they are frames of up to some megabytes.
MAX_HELD = 200
MAX_HELD_BYTES = 64 << 20
#: When nothing comes for so long, that is all; a broker delivers within milliseconds what it has.
SILENCE_S = 1.0
#: The time of reception, which the entrypoint puts in front of each line.
_RECEIVED = re.compile(rb'"receivedTime"\s*:\s*(\d{1,10}(?:\.\d{1,9})?)')
#: Where it is looked for.
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame out of the queue of dead letters, held until it is settled or all are given back.

    Attributes:
        item: it as a rejected item; `first_seen` is when its first event was received.
        message: it as it was published first.
    """

    item: Rejected
    message: Message
    _delivery: Delivery

    async def forget(self) -> None:
        """Take it out of the queue: what replaces it is safe."""
        await self._delivery.ack()


@asynccontextmanager
async def dead_letters(
    broker: Broker, queue: Queue, stream: Stream, *, silence_s: float = SILENCE_S
) -> AsyncIterator[AsyncIterator[DeadLetter]]:
    """The dead letters that are there, until MAX_HELD of them, or MAX_HELD_BYTES, are held; those are given back at the
    end, but for the ones that were settled. Meanwhile nobody else sees them.

    Raises BrokerError.
    """
    consumer = await consume_bounded(broker, queue, prefetch=MAX_HELD, held_bytes=MAX_HELD_BYTES)

    async def found() -> AsyncGenerator[DeadLetter]:
        deliveries = aiter(consumer)
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    delivery = await anext(deliveries)
            except (TimeoutError, StopAsyncIteration):
                return
            yield _dead_letter(stream, delivery)

    try:
        async with aclosing(found()) as letters:
            yield letters
    finally:
        await consumer.close()


def _dead_letter(stream: Stream, delivery: Delivery) -> DeadLetter:
    frame = Frame.from_body(stream.name, delivery.body)
    headers = {name: value for name, value in delivery.headers.items() if name in (*frame.headers, STORE_HEADER)}
    received = _RECEIVED.search(frame.body[:_HEAD_BYTES])
    where = delivery.headers.get("x-first-death-queue", "its queue")
    item = rejected(
        stream.name,
        "poison",
        f"a frame of {frame.events} lines that came back from {where} too often",
        source=frame.id,
        body=frame.body,
        first_seen=float(received[1]) if received else 0.0,
    )
    # The headers as they were: a worker may know better what a frame of a newer format is.
    message = Message(
        exchange=stream.name, routing_key=stream.name, body=frame.body, headers=headers, message_id=frame.id
    )
    return DeadLetter(item, message, delivery)


async def replay_dead_letter(
    store: Store, broker: Broker, letter: DeadLetter, *, clock: Callable[[], float] = time.time
) -> None:
    """Publish it again with confirm, whole, then take it out of the queue. Twice is safe: a frame counts once.

    Raises BrokerError (it is still a dead letter, and may have been published, too) and StoreError.
    """
    await broker.publish(letter.message)
    item = letter.item
    if await store.rejected_item(item.stream, item.id) is not None:  # killed while it was being discarded
        step = RejectedStep(item=item.id, stream=item.stream, what="replayed", at=clock(), frame=item.source)
        await store.note([step])
    await letter.forget()


async def discard_dead_letter(
    store: Store, letter: DeadLetter, note: str = "", *, clock: Callable[[], float] = time.time
) -> None:
    """Keep it in the store, discarded, then take it out of the queue. Its events that are stored stay uncounted until
    `engine.repair` counts them; the others are only in what is kept here. Raises StoreError."""
    await store.reject([letter.item])
    await discard(store, letter.item, note, clock=clock)
    await letter.forget()
