"""The contract of every broker: announcing, and subscribing to what is announced."""

import asyncio

import pytest

from broker.exchanges import receipts_topology
from broker.protocol import Broker, Message
from tests.integration.broker.place import Place, opened, topology
from tests.integration.broker.talk import assert_silent, bodies, partial, publish, rest, take, take_one
from tests.support import eventually

ALL = receipts_topology()


async def announce(broker: Broker, exchange: str, key: str, body: bytes = b"{}") -> None:
    """Announce something."""
    await broker.announce(Message(exchange=exchange, routing_key=key, body=body, headers={"n": 1}))


async def test_everybody_who_listens_hears(place: Place) -> None:
    """What is announced reaches every subscription bound for it, whole, and no other."""
    async with opened(place) as broker:
        one = await broker.subscribe("test", {"count": "receipts", "metrics": "#"})
        two = await broker.subscribe("test", {"count": "#"})
        other = await broker.subscribe("test", {"count": "invoices", "categories": "#"})
        await announce(broker, "count", "receipts", b"1")
        await announce(broker, "metrics", "receipts.rate", b"2")
        first, second = await take(one, 2)
        assert (first.exchange, first.routing_key, first.body) == ("count", "receipts", b"1")
        assert dict(first.headers) == {"n": 1}
        assert (second.exchange, second.routing_key, second.body) == ("metrics", "receipts.rate", b"2")
        assert bodies(await take(two)) == [b"1"]
        await assert_silent(two)
        await assert_silent(other)


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("#", ["receipts", "receipts.rate", "receipts.a.b"]),
        ("*", ["receipts"]),
        ("receipts.*", ["receipts.rate"]),
        ("receipts.#", ["receipts", "receipts.rate", "receipts.a.b"]),
        ("*.rate", ["receipts.rate"]),
        ("#.b", ["receipts.a.b"]),
    ],
)
async def test_a_subscription_hears_what_its_pattern_says(place: Place, pattern: str, heard: list[str]) -> None:
    """Patterns of subscriptions are topics, as those of queues."""
    async with opened(place) as broker:
        listener = await broker.subscribe("test", {"metrics": pattern, "count": "end"})
        for key in ("receipts", "receipts.rate", "receipts.a.b"):
            await announce(broker, "metrics", key)
        await announce(broker, "count", "end")
        deliveries = await take(listener, len(heard) + 1)
        assert [delivery.routing_key for delivery in deliveries] == [*heard, "end"]


async def test_nobody_has_to_listen(place: Place) -> None:
    """Announcing what nobody listens for is fine, and leaves nothing behind for those who come later."""
    async with opened(place) as broker:
        await announce(broker, "count", "receipts", b"early")
        await broker.ping()
        listener = await broker.subscribe("test", {"count": "#"})
        await announce(broker, "count", "receipts", b"now")
        assert bodies(await take(listener)) == [b"now"]


async def test_a_slow_listener_loses_the_oldest(place: Place) -> None:
    """A subscription that is not read keeps the newest `max_length` messages; publishers go on."""
    async with opened(place) as broker:
        slow = await broker.subscribe("test", {"count": "#"}, max_length=5)
        quick = await broker.subscribe("test", {"count": "#"}, max_length=1000)
        for number in range(200):
            await announce(broker, "count", "receipts", b"%d" % number)
        assert len(await take(quick, 200)) == 200
        seen = bodies(await take(slow, 5))
        while seen[-1] != b"199":
            seen += bodies(await take(slow))
        assert seen[-5:] == [b"195", b"196", b"197", b"198", b"199"]
        assert len(seen) < 100


async def test_listening_needs_no_settling(place: Place) -> None:
    """Subscriptions go on without acknowledgements, and survive needless ones."""
    async with opened(place) as broker:
        listener = await broker.subscribe("test", {"count": "#"}, max_length=1000)
        for number in range(300):
            await announce(broker, "count", "receipts", b"%d" % number)
        deliveries = await take(listener, 300)
        await deliveries[0].ack()
        await deliveries[1].nack()
        await deliveries[1].ack()
        await announce(broker, "count", "receipts", b"more")
        assert bodies(await take(listener)) == [b"more"]


async def test_a_closed_subscription_is_gone(place: Place) -> None:
    """After `close` the iteration ends, and others with the same role go on."""
    async with opened(place) as broker:
        one = await broker.subscribe("test", {"count": "#"})
        two = await broker.subscribe("test", {"count": "#"})
        waiting = asyncio.create_task(rest(one))
        await asyncio.sleep(0)
        await one.close()
        assert await waiting == []
        await announce(broker, "count", "receipts", b"1")
        assert bodies(await take(two)) == [b"1"]


async def test_subscribers_hear_what_is_published(place: Place) -> None:
    """A confirmed publish reaches subscriptions as well as queues."""
    async with opened(place) as broker:
        listener = await broker.subscribe("test", {"receipts": "#"})
        await publish(broker, b"1")
        assert (await take_one(listener)).body == b"1"
        assert bodies(await take(await broker.consume(ALL.work, prefetch=1))) == [b"1"]


async def test_announcements_reach_queues(place: Place) -> None:
    """A queue that is bound has what was announced, also what came before its consumer, to be acknowledged."""
    kept = topology()
    async with opened(place, kept) as broker:
        for number in range(3):
            await broker.announce(partial(b"%d" % number))

        async def three() -> bool:
            return (await broker.state(kept.partials)).ready == 3

        await eventually(three)
        consumer = await broker.consume(kept.partials, prefetch=1, exclusive=True)
        first = await take_one(consumer)
        assert first.body == b"0"
        await first.nack()
        again = await take_one(consumer)
        assert (again.body, again.redelivered) == (b"0", True)
        await again.ack()
        assert bodies(await take(consumer)) == [b"1"]


async def test_announcements_to_a_capped_queue_drop_the_oldest(place: Place) -> None:
    """A queue that nobody reads keeps the newest announcements."""
    small = topology(max_length=3)
    async with opened(place, small) as broker:
        for number in range(10):
            await broker.announce(partial(b"%d" % number))
        await broker.publish(Message(exchange="partials", routing_key="receipts", body=b"10"))
        consumer = await broker.consume(small.partials, prefetch=10)
        seen = bodies(await take(consumer, 3))
        assert set(seen) <= {b"%d" % number for number in range(11)}
        await assert_silent(consumer)
