"""The contract of every broker: publishing, confirmed, and what it is refused for."""

import asyncio

import pytest

from broker.errors import BrokerFullError, MessageTooLargeError, UnroutableError
from broker.exchanges import receipts_topology
from broker.protocol import MESSAGE_MAX_BYTES, Broker, Message
from tests.integration.broker.place import Place, opened, topology
from tests.integration.broker.talk import (
    assert_silent,
    bodies,
    partial,
    publish,
    receipt,
    take,
    take_one,
)
from tests.support import eventually

ALL = receipts_topology()
KILOBYTE = b"x" * 1024


async def test_what_nothing_is_bound_for_is_refused(place: Place) -> None:
    """A publish that no queue would get raises UnroutableError, and publishing goes on."""
    async with opened(place) as broker:
        with pytest.raises(UnroutableError):
            await broker.publish(receipt(key="invoices"))
        with pytest.raises(UnroutableError):
            await broker.publish(receipt(key="receipts.more"))
        with pytest.raises(UnroutableError):
            await broker.publish(Message(exchange="count", routing_key="receipts", body=b"{}"))
        await publish(broker, b"1")
        assert bodies(await take(await broker.consume(ALL.work, prefetch=10))) == [b"1"]


async def test_a_subscriber_makes_a_message_routable(place: Place) -> None:
    """A subscription is a queue too: what it is bound for can be published, and arrives."""
    async with opened(place) as broker:
        listener = await broker.subscribe("test", {"count": "receipts"})
        await broker.publish(Message(exchange="count", routing_key="receipts", body=b"1"))
        assert (await take_one(listener)).body == b"1"
        await listener.close()

        async def refused() -> bool:
            try:
                await broker.publish(Message(exchange="count", routing_key="receipts", body=b"2"))
            except UnroutableError:
                return True
            return False

        await eventually(refused)


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("#", ["receipts", "a.b.c", "a"], []),
        ("*", ["receipts", "a"], ["a.b"]),
        ("a.#", ["a", "a.b", "a.b.c"], ["b", "b.a"]),
        ("a.*", ["a.b"], ["a", "a.b.c"]),
        ("#.z", ["z", "a.z", "a.b.z"], ["z.a"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z"]),
        ("*.#", ["a", "a.b"], []),
        ("a.*.b", ["a..b", "a.x.b"], ["a.b"]),
        ("a*", ["a*"], ["ab"]),
    ],
)
async def test_a_queue_gets_what_its_pattern_says(
    place: Place, pattern: str, fitting: list[str], other: list[str]
) -> None:
    """`*` is one word, `#` any number with none included, anything else is itself."""
    bound = topology(pattern=pattern)
    async with opened(place, bound) as broker:
        for key in other:
            with pytest.raises(UnroutableError):
                await broker.publish(receipt(key=key))
        for key in fitting:
            await broker.publish(receipt(key.encode(), key=key))
        deliveries = await take(await broker.consume(bound.work, prefetch=10), len(fitting))
        assert [delivery.routing_key for delivery in deliveries] == fitting


async def test_the_empty_key_fits_the_hash(place: Place) -> None:
    """A routing key of no words at all goes where `#` is bound."""
    bound = topology(pattern="#")
    async with opened(place, bound) as broker:
        await broker.publish(Message(exchange="receipts", routing_key="", body=b"1"))
        assert (await take_one(await broker.consume(bound.work, prefetch=1))).routing_key == ""


async def test_many_publishes_in_flight(place: Place) -> None:
    """A thousand publishes at once are all confirmed, and each arrives once."""
    sent = [b"%d" % number for number in range(1000)]
    async with opened(place) as broker:
        await asyncio.gather(*(broker.publish(receipt(body)) for body in sent))
        deliveries = await take(await broker.consume(ALL.work, prefetch=1000), 1000)
        assert sorted(bodies(deliveries)) == sorted(sent)


async def test_publishing_and_consuming_at_once(place: Place) -> None:
    """Messages flow through while publishers and acknowledging consumers work side by side; none is lost or doubled."""
    sent = [b"%d" % number for number in range(600)]
    seen: list[bytes] = []

    async def work(broker: Broker) -> None:
        consumer = await broker.consume(ALL.work, prefetch=7)
        async for delivery in consumer:
            seen.append(delivery.body)
            await delivery.ack()

    async with opened(place) as broker:
        workers = [asyncio.create_task(work(broker)) for _ in range(3)]
        for start in range(0, len(sent), 50):
            await asyncio.gather(*(broker.publish(receipt(body)) for body in sent[start : start + 50]))
        await eventually(lambda: len(seen) >= len(sent))
    await asyncio.gather(*workers)
    assert sorted(seen) == sorted(sent)


async def test_a_cancelled_publish_harms_nobody(place: Place) -> None:
    """A caller that is cancelled leaves its own outcome unknown, and nobody else's."""
    async with opened(place) as broker:
        publishes = [asyncio.create_task(broker.publish(receipt(b"%d" % number))) for number in range(40)]
        await asyncio.sleep(0)
        for task in publishes[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*publishes, return_exceptions=True)
        assert outcomes[1::2] == [None] * 20
        await publish(broker, b"last")
        consumer = await broker.consume(ALL.work, prefetch=100)
        expected = {b"%d" % number for number in range(1, 40, 2)} | {b"last"}
        seen: set[bytes] = set()
        while not expected <= seen:
            seen.add((await take_one(consumer)).body)


async def test_a_full_queue_refuses_and_opens_again(place: Place) -> None:
    """Beyond its bytes a queue refuses publishers, loses nothing, and takes messages again below 80 per cent."""
    small = topology(max_bytes=10 * len(KILOBYTE))
    async with opened(place, small) as broker:
        taken = 0
        with pytest.raises(BrokerFullError):
            for _ in range(100):
                await broker.publish(receipt(KILOBYTE))
                taken += 1
        assert taken >= 10
        assert not broker.blocked  # one queue is full, not the broker
        consumer = await broker.consume(small.work, prefetch=1)
        for _ in range(taken):
            await (await take_one(consumer)).ack()
        await assert_silent(consumer)
        await consumer.close()

        async def accepted() -> bool:
            try:
                await broker.publish(receipt(KILOBYTE))
            except BrokerFullError:
                return False
            return True

        await eventually(accepted)


async def test_a_full_queue_stays_closed_until_it_has_room(place: Place) -> None:
    """One message taken from a full queue does not open it."""
    small = topology(max_bytes=20 * len(KILOBYTE))
    async with opened(place, small) as broker:
        with pytest.raises(BrokerFullError):
            for _ in range(100):
                await broker.publish(receipt(KILOBYTE))
        consumer = await broker.consume(small.work, prefetch=1)
        delivery = await take_one(consumer)
        await consumer.cancel()
        await delivery.ack()
        with pytest.raises(BrokerFullError):
            await broker.publish(receipt(KILOBYTE))


async def test_what_is_in_hand_does_not_fill_a_queue(place: Place) -> None:
    """The limit counts ready messages only: a consumer's unsettled ones leave room."""
    small = topology(max_bytes=10 * len(KILOBYTE))
    async with opened(place, small) as broker:
        consumer = await broker.consume(small.work, prefetch=100)
        for _ in range(30):
            await broker.publish(receipt(KILOBYTE))
            await take_one(consumer)


async def test_a_capped_queue_drops_its_oldest(place: Place) -> None:
    """Beyond its length a capped queue keeps the newest, and publishers notice nothing."""
    small = topology(max_length=3)
    async with opened(place, small) as broker:
        for number in range(10):
            await broker.publish(partial(b"%d" % number))
        consumer = await broker.consume(small.partials, prefetch=10)
        assert bodies(await take(consumer, 3)) == [b"7", b"8", b"9"]
        await assert_silent(consumer)


async def test_a_capped_queue_does_not_count_what_is_in_hand(place: Place) -> None:
    """Delivered messages are not dropped, nor do they push out ready ones."""
    small = topology(max_length=2)
    async with opened(place, small) as broker:
        consumer = await broker.consume(small.partials, prefetch=2)
        for number in range(2):
            await broker.publish(partial(b"%d" % number))
        held = await take(consumer, 2)
        for number in range(2, 6):
            await broker.publish(partial(b"%d" % number))
        for delivery in held:
            await delivery.ack()
        assert bodies(held + await take(consumer, 2)) == [b"0", b"1", b"4", b"5"]


async def test_a_message_that_is_too_large_is_refused_before_it_is_sent(place: Place) -> None:
    """Published or announced, one byte beyond the limit is an error; what is under way beside it is not disturbed."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=1)
        largest, larger = receipt(b"x" * MESSAGE_MAX_BYTES), receipt(b"x" * (MESSAGE_MAX_BYTES + 1))
        beside = asyncio.create_task(broker.publish(largest))
        for send in (broker.publish, broker.announce):
            with pytest.raises(MessageTooLargeError, match="16777217 bytes on receipts"):
                await send(larger)
        await beside
        assert not broker.blocked
        assert len((await take_one(consumer)).body) == MESSAGE_MAX_BYTES
