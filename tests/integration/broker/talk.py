"""Short ways to say what the contract's tests do: publish, take, expect silence."""

import asyncio
from collections.abc import Mapping

from broker.protocol import Broker, Consumer, Delivery, Message

#: Far longer than any delivery takes, so that a test that waits for one fails instead of hanging.
PATIENCE_SECONDS = 20.0
#: Something that must not come does not come within this time.
SILENCE_SECONDS = 0.3


def receipt(
    body: bytes = b"{}", *, headers: Mapping[str, str | int] | None = None, message_id: str | None = None, key: str = ""
) -> Message:
    """A message for `receipts.work`."""
    return Message(
        exchange="receipts", routing_key=key or "receipts", body=body, headers=headers or {}, message_id=message_id
    )


def partial(body: bytes = b"{}") -> Message:
    """A message for the queue of partials."""
    return Message(exchange="partials", routing_key="receipts", body=body)


async def publish(broker: Broker, *bodies: bytes) -> None:
    """Publish receipts one after the other, so that their order is known."""
    for body in bodies:
        await broker.publish(receipt(body))


async def take(consumer: Consumer, count: int = 1) -> list[Delivery]:
    """The next deliveries."""
    deliveries: list[Delivery] = []
    iterator = aiter(consumer)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(deliveries) < count:
            deliveries.append(await anext(iterator))
    return deliveries


async def take_one(consumer: Consumer) -> Delivery:
    """The next delivery."""
    return (await take(consumer))[0]


async def rest(consumer: Consumer) -> list[Delivery]:
    """Everything until the iteration ends."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [delivery async for delivery in consumer]


async def assert_silent(consumer: Consumer) -> None:
    """Nothing comes for a while; and waiting for it, and giving that up, takes nothing away."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            delivery = await anext(aiter(consumer))
    except TimeoutError:
        return
    raise AssertionError(f"nothing should have come, but {delivery.body[:100]!r} did")


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    """The bodies, in the order of delivery."""
    return [delivery.body for delivery in deliveries]
