"""Consumers that are bounded in bytes, on the embedded broker and on RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broker.byte_limit import BoundedConsumer, consume_bounded
from broker.exchanges import receipts_topology
from broker.protocol import Broker
from tests.integration.broker.place import Place, opened
from tests.integration.broker.talk import assert_silent, bodies, publish, take
from tests.support import eventually

ALL = receipts_topology()
LARGE = b"x" * 30_000
BOUND = 100_000


@asynccontextmanager
async def bounded(broker: Broker, *, prefetch: int, held_bytes: int = BOUND) -> AsyncIterator[BoundedConsumer]:
    """A bounded consumer of the work queue."""
    consumer = await consume_bounded(broker, ALL.work, prefetch=prefetch, held_bytes=held_bytes)
    try:
        yield consumer
    finally:
        await consumer.close()


async def ready(broker: Broker, number: int) -> bool:
    """Whether so many messages wait in the work queue."""
    return (await broker.state(ALL.work)).ready == number


async def test_small_messages_are_taken_up_to_the_prefetch(place: Place) -> None:
    """After a few of them, as many are unsettled as were asked for, and no more."""
    sent = [b"%d" % number for number in range(30)]
    async with opened(place) as broker:
        await publish(broker, *sent)
        async with bounded(broker, prefetch=20) as consumer:
            held = await take(consumer, 20)
            await assert_silent(consumer)
            for delivery in held:
                await delivery.ack()
            assert sorted(bodies([*held, *await take(consumer, 10)])) == sorted(sent)


async def test_large_messages_after_small_ones_are_held_up_to_the_bound(place: Place) -> None:
    """What exceeds it goes back to the queue; when half is settled, more of them come, and each one in the end."""
    small = [b"%d" % number for number in range(8)]
    large = [LARGE + b"%d" % number for number in range(20)]
    async with opened(place) as broker:
        await publish(broker, *small, *large)
        async with bounded(broker, prefetch=16) as consumer:
            got: list[bytes] = []
            for delivery in await take(consumer, 8):
                got.append(delivery.body)
                await delivery.ack()
            while len(got) < 28:
                (delivery,) = await take(consumer)
                assert consumer.held_bytes <= BOUND
                got.append(delivery.body)
                await delivery.ack()
            assert sorted(set(got)) == sorted({*small, *large})
            await eventually(lambda: ready(broker, 0))


async def test_no_more_is_held_than_the_bound_when_nothing_is_settled(place: Place) -> None:
    """The others wait in the queue, for whoever has room."""
    async with opened(place) as broker:
        await publish(broker, *(b"%d" % number for number in range(4)))
        async with bounded(broker, prefetch=16) as consumer:
            await take(consumer, 4)
            await publish(broker, *[LARGE] * 10)
            await take(consumer, 3)
            await eventually(lambda: ready(broker, 7))
            await assert_silent(consumer)
            assert 3 * len(LARGE) < consumer.held_bytes <= BOUND


async def test_a_message_beyond_the_bound_is_taken_alone(place: Place) -> None:
    """Or it would never be."""
    async with opened(place) as broker:
        await publish(broker, LARGE, LARGE)
        async with bounded(broker, prefetch=5, held_bytes=1000) as consumer:
            (first,) = await take(consumer)
            await assert_silent(consumer)
            await first.ack()
            await take(consumer)


async def test_what_is_unsettled_at_the_end_goes_back(place: Place) -> None:
    """Given out or not; what was acknowledged does not."""
    async with opened(place) as broker:
        await publish(broker, *(b"%d" % number for number in range(12)))
        async with bounded(broker, prefetch=10) as consumer:
            first, *_ = await take(consumer, 5)
            await first.ack()
        await eventually(lambda: ready(broker, 11))
        assert (await broker.state(ALL.work)).consumers == 0


async def test_as_many_are_held_as_their_size_allows(place: Place) -> None:
    """Where nothing is settled, as by who looks at dead letters: more than with messages of the largest size."""
    async with opened(place) as broker:
        await publish(broker, *[LARGE] * 5)
        async with bounded(broker, prefetch=200) as consumer:
            assert len(await take(consumer, 3)) == 3
            await assert_silent(consumer)
            assert consumer.held_bytes <= BOUND
            await eventually(lambda: ready(broker, 2))
