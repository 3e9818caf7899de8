"""The contract of every broker: queues. Each test runs on the embedded broker and on RabbitMQ.

Publishing and subscriptions have files of their own beside this one.
"""

import asyncio
import dataclasses

import pytest

from broker.errors import BrokerError, BrokerUnavailableError, ConsumerRefusedError
from broker.exchanges import receipts_topology
from broker.protocol import QueueState
from tests.integration.broker.place import Place, opened, topology
from tests.integration.broker.talk import assert_silent, bodies, partial, publish, receipt, rest, take, take_one
from tests.support import eventually

ALL = receipts_topology()
#: With partials that are kept while nobody consumes them.
KEPT = topology()


async def test_a_message_arrives_as_it_was_sent(place: Place) -> None:
    """Body, headers, message id, exchange and routing key arrive unchanged, and the first time is not a redelivery."""
    headers: dict[str, str | int] = {"stream": "receipts", "schema": 1, "events": 0, "big": 2**53, "text": "é ☃ \n"}
    async with opened(place) as broker:
        await broker.publish(receipt(b"body", headers=headers, message_id="0123456789abcdef"))
        delivery = await take_one(await broker.consume(ALL.work, prefetch=1))
        assert delivery.body == b"body"
        assert dict(delivery.headers) == headers
        assert delivery.message_id == "0123456789abcdef"
        assert (delivery.exchange, delivery.routing_key) == ("receipts", "receipts")
        assert not delivery.redelivered


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", bytes(range(256)), b"\n", bytes(range(256)) * 4096, b"{" * 50_000],
    ids=["empty", "zero", "binary", "newline", "megabyte", "frame"],
)
async def test_any_body_arrives_unchanged(place: Place, body: bytes) -> None:
    """A body is bytes, of any length and value; without headers and id there are none on arrival."""
    async with opened(place) as broker:
        await broker.publish(receipt(body))
        delivery = await take_one(await broker.consume(ALL.work, prefetch=1))
        assert delivery.body == body
        assert dict(delivery.headers) == {}
        assert delivery.message_id is None


async def test_messages_arrive_in_order(place: Place) -> None:
    """One consumer has them in the order of publishing."""
    sent = [b"%d" % number for number in range(50)]
    async with opened(place) as broker:
        await publish(broker, *sent)
        assert bodies(await take(await broker.consume(ALL.work, prefetch=50), 50)) == sent


async def test_acknowledged_messages_are_gone(place: Place) -> None:
    """What was acknowledged does not come again, not even after the broker was opened anew."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2", b"3")
        consumer = await broker.consume(ALL.work, prefetch=10)
        first, second, _ = await take(consumer, 3)
        await first.ack()
        await second.ack()
        await consumer.close()
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        assert bodies(await take(consumer)) == [b"3"]
        await assert_silent(consumer)


async def test_ready_messages_survive_the_broker(place: Place) -> None:
    """What was published and not yet delivered is there after the broker was opened anew, and not redelivered."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2")
    async with opened(place) as broker:
        deliveries = await take(await broker.consume(ALL.work, prefetch=10), 2)
        assert bodies(deliveries) == [b"1", b"2"]
        assert [delivery.redelivered for delivery in deliveries] == [False, False]


async def test_unsettled_messages_survive_the_broker(place: Place) -> None:
    """What was delivered and not settled comes again, marked as redelivered, before what is newer."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2")
        await take(await broker.consume(ALL.work, prefetch=1))
    async with opened(place) as broker:
        deliveries = await take(await broker.consume(ALL.work, prefetch=10), 2)
        assert bodies(deliveries) == [b"1", b"2"]
        assert [delivery.redelivered for delivery in deliveries] == [True, False]


async def test_prefetch_bounds_what_is_unsettled(place: Place) -> None:
    """No more than `prefetch` deliveries are unsettled; each settlement lets one more come."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2", b"3", b"4")
        consumer = await broker.consume(ALL.work, prefetch=2)
        first, second = await take(consumer, 2)
        await assert_silent(consumer)
        await second.ack()
        assert bodies(await take(consumer)) == [b"3"]
        await assert_silent(consumer)
        await first.ack()
        assert bodies(await take(consumer)) == [b"4"]


async def test_giving_up_the_wait_loses_nothing(place: Place) -> None:
    """A caller that stops waiting for the next delivery does not take it away."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        await assert_silent(consumer)
        await publish(broker, b"1")
        assert bodies(await take(consumer)) == [b"1"]


async def test_a_waiting_consumer_is_served(place: Place) -> None:
    """A consumer that was there first has the message as soon as it is published."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        waiting = asyncio.create_task(take_one(consumer))
        await publish(broker, b"1")
        assert (await waiting).body == b"1"


async def test_nack_gives_back_to_the_old_place(place: Place) -> None:
    """A message given back comes again before newer ones, marked as redelivered; the newer ones are not."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2", b"3")
        consumer = await broker.consume(ALL.work, prefetch=1)
        first = await take_one(consumer)
        assert not first.redelivered
        await first.nack()
        again = await take_one(consumer)
        assert (again.body, again.redelivered) == (b"1", True)
        await again.ack()
        second = await take_one(consumer)
        assert (second.body, second.redelivered) == (b"2", False)


async def test_a_redelivery_is_whole(place: Place) -> None:
    """Body, headers of ours and message id are the same the second time."""
    async with opened(place) as broker:
        await broker.publish(receipt(b"body", headers={"events": 3, "stream": "receipts"}, message_id="m"))
        consumer = await broker.consume(ALL.work, prefetch=1)
        await (await take_one(consumer)).nack()
        again = await take_one(consumer)
        assert (again.body, again.message_id) == (b"body", "m")
        assert {"events": 3, "stream": "receipts"}.items() <= dict(again.headers).items()


async def test_settling_twice_does_nothing(place: Place) -> None:
    """Only the first settlement of a delivery counts, and the consumer goes on."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2", b"3")
        consumer = await broker.consume(ALL.work, prefetch=1)
        first = await take_one(consumer)
        await first.ack()
        await first.ack()
        await first.nack()
        second = await take_one(consumer)
        assert second.body == b"2"
        await second.ack()
        assert (await take_one(consumer)).body == b"3"


async def test_consumers_compete(place: Place) -> None:
    """Each message goes to one consumer, and none of the consumers is left out."""
    sent = [b"%d" % number for number in range(40)]
    async with opened(place) as broker:
        consumers = [await broker.consume(ALL.work, prefetch=10) for _ in range(4)]
        await publish(broker, *sent)
        shares = [bodies(await take(consumer, 10)) for consumer in consumers]
        assert sorted(body for share in shares for body in share) == sorted(sent)


async def test_consumers_take_turns(place: Place) -> None:
    """Two consumers with room for everything get about half each."""
    async with opened(place) as broker:
        one, other = [await broker.consume(ALL.work, prefetch=100) for _ in range(2)]
        await publish(broker, *[b"%d" % number for number in range(20)])
        assert len(await take(one, 8)) == len(await take(other, 8))


async def test_a_busy_consumer_does_not_hold_up_others(place: Place) -> None:
    """Where one consumer's hands are full, the rest goes to the other."""
    async with opened(place) as broker:
        busy = await broker.consume(ALL.work, prefetch=1)
        free = await broker.consume(ALL.work, prefetch=1)
        await publish(broker, *[b"%d" % number for number in range(10)])
        (held,) = await take(busy)
        for _ in range(9):
            await (await take_one(free)).ack()
        await assert_silent(free)
        await busy.cancel()
        await held.nack()
        again = await take_one(free)
        assert (again.body, again.redelivered) == (held.body, True)


async def test_cancel_then_settle(place: Place) -> None:
    """After `cancel` nothing new comes, the iteration ends, and what was delivered can still be acknowledged."""
    async with opened(place) as broker:
        await publish(broker, b"1")
        consumer = await broker.consume(ALL.work, prefetch=10)
        first = await take_one(consumer)
        await consumer.cancel()
        await publish(broker, b"2")
        assert await rest(consumer) == []
        await first.ack()
        await consumer.close()
        other = await broker.consume(ALL.work, prefetch=10)
        assert bodies(await take(other)) == [b"2"]
        await assert_silent(other)


async def test_cancel_loses_nothing_that_had_arrived(place: Place) -> None:
    """What a cancelled consumer had received is given out by it, or goes to another consumer after `close`."""
    sent = [b"%d" % number for number in range(10)]
    async with opened(place) as broker:
        await publish(broker, *sent)
        consumer = await broker.consume(ALL.work, prefetch=10)
        seen = await take(consumer, 2)
        await consumer.cancel()
        seen += await rest(consumer)
        for delivery in seen:
            await delivery.ack()
        await consumer.close()
        missing = len(sent) - len(seen)
        other = await broker.consume(ALL.work, prefetch=10)
        assert sorted(bodies(seen) + bodies(await take(other, missing))) == sorted(sent)
        await assert_silent(other)


async def test_close_gives_back_in_order(place: Place) -> None:
    """What a closed consumer had not settled goes to another, in the old order, marked as redelivered."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2", b"3")
        consumer = await broker.consume(ALL.work, prefetch=3)
        await take(consumer, 3)
        await consumer.close()
        deliveries = await take(await broker.consume(ALL.work, prefetch=10), 3)
        assert bodies(deliveries) == [b"1", b"2", b"3"]
        assert [delivery.redelivered for delivery in deliveries] == [True, True, True]


async def test_settling_after_close_does_nothing(place: Place) -> None:
    """A delivery of a closed consumer was given back: settling it then neither fails nor takes it away."""
    async with opened(place) as broker:
        await publish(broker, b"1", b"2")
        consumer = await broker.consume(ALL.work, prefetch=10)
        first, second = await take(consumer, 2)
        await consumer.close()
        await first.ack()
        await second.nack()
        other = await broker.consume(ALL.work, prefetch=10)
        assert bodies(await take(other, 2)) == [b"1", b"2"]
        await assert_silent(other)


async def test_settling_after_the_broker_closed_does_nothing(place: Place) -> None:
    """Nor does it when the whole broker is closed."""
    async with opened(place) as broker:
        await publish(broker, b"1")
        delivery = await take_one(await broker.consume(ALL.work, prefetch=10))
    await delivery.ack()
    async with opened(place) as broker:
        assert bodies(await take(await broker.consume(ALL.work, prefetch=10))) == [b"1"]


async def test_close_ends_a_waiting_iteration(place: Place) -> None:
    """A task that waits for the next delivery ends when the consumer is closed."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        waiting = asyncio.create_task(rest(consumer))
        await asyncio.sleep(0)
        await consumer.close()
        assert await waiting == []


async def test_closing_the_broker_ends_its_consumers(place: Place) -> None:
    """Iterations of queues and subscriptions end when the broker is closed."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        subscription = await broker.subscribe("test", {"count": "#"})
        waiting = [asyncio.create_task(rest(each)) for each in (consumer, subscription)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [[], []]


async def test_closing_twice_is_fine(place: Place) -> None:
    """Consumers and brokers can be closed again, and consumers after their broker."""
    async with opened(place) as broker:
        consumer = await broker.consume(ALL.work, prefetch=10)
        await consumer.close()
        await consumer.close()
        other = await broker.consume(ALL.work, prefetch=10)
        await broker.close()
        await other.cancel()
        await other.close()


async def test_a_closed_broker_refuses(place: Place) -> None:
    """After `close` every request raises BrokerUnavailableError, and publishing is blocked."""
    async with opened(place) as broker:
        pass
    assert broker.blocked
    with pytest.raises(BrokerUnavailableError):
        await broker.publish(receipt())
    with pytest.raises(BrokerUnavailableError):
        await broker.announce(partial())
    with pytest.raises(BrokerUnavailableError):
        await broker.consume(ALL.work, prefetch=1)
    with pytest.raises(BrokerUnavailableError):
        await broker.subscribe("test", {"count": "#"})
    with pytest.raises(BrokerError):
        await broker.ping()


async def test_an_open_broker_answers(place: Place) -> None:
    """A healthy broker is not blocked and answers `ping`."""
    async with opened(place) as broker:
        assert not broker.blocked
        await broker.ping()


async def test_a_queue_says_what_is_ready_and_who_consumes(place: Place) -> None:
    """Delivered messages do not count, ready ones do; consumers count whether they have something to do or not."""
    async with opened(place) as broker:

        async def becomes(ready: int, consumers: int) -> None:
            async def is_so() -> bool:
                return await broker.state(ALL.work) == QueueState(ready, consumers)

            await eventually(is_so)

        assert await broker.state(ALL.work) == QueueState(0, 0)
        await publish(broker, b"1", b"2", b"3")
        await becomes(3, 0)
        consumer = await broker.consume(ALL.work, prefetch=2)
        await take(consumer, 2)
        await becomes(1, 1)
        idle = await broker.consume(ALL.work, prefetch=1)
        await becomes(0, 2)
        await idle.close()
        await becomes(1, 1)
        await consumer.close()
        await becomes(3, 0)
        assert await broker.state(ALL.dead) == QueueState(0, 0)


async def test_queues_can_be_asked_side_by_side(place: Place) -> None:
    """Several questions at once are each answered; one that cannot be is an error of its own."""
    async with opened(place) as broker:
        await publish(broker, b"1")
        unknown = dataclasses.replace(ALL.dead, name="receipts.unknown")

        async def one_ready() -> bool:
            return (await broker.state(ALL.work)).ready == 1

        await eventually(one_ready)
        work, dead, missing = await asyncio.gather(
            broker.state(ALL.work), broker.state(ALL.dead), broker.state(unknown), return_exceptions=True
        )
        assert (work, dead) == (QueueState(1, 0), QueueState(0, 0))
        assert isinstance(missing, BrokerError)
        assert await broker.state(ALL.work) == QueueState(1, 0)


async def test_an_exclusive_consumer_keeps_others_out(place: Place) -> None:
    """While a queue is held exclusively everybody else is refused, and gets it after the holder closed."""
    async with opened(place, KEPT) as broker:
        holder = await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        with pytest.raises(ConsumerRefusedError):
            await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        with pytest.raises(ConsumerRefusedError):
            await broker.consume(KEPT.partials, prefetch=10)
        await broker.announce(partial(b"1"))
        assert bodies(await take(holder)) == [b"1"]
        await holder.close()
        other = await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        assert bodies(await take(other)) == [b"1"]


async def test_exclusive_is_refused_where_others_consume(place: Place) -> None:
    """A queue that somebody consumes cannot be had exclusively, until they cancel."""
    async with opened(place, KEPT) as broker:
        holder = await broker.consume(KEPT.partials, prefetch=10)
        with pytest.raises(ConsumerRefusedError):
            await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        await holder.cancel()
        await broker.consume(KEPT.partials, prefetch=10, exclusive=True)


async def test_a_refusal_harms_nobody_else(place: Place) -> None:
    """After a refused consumer, the broker and its other consumers go on."""
    async with opened(place, KEPT) as broker:
        holder = await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        worker = await broker.consume(KEPT.work, prefetch=10)
        with pytest.raises(ConsumerRefusedError):
            await broker.consume(KEPT.partials, prefetch=10, exclusive=True)
        await publish(broker, b"1")
        await broker.announce(partial(b"2"))
        assert bodies(await take(worker)) == [b"1"]
        assert bodies(await take(holder)) == [b"2"]


async def test_the_delivery_limit_dead_letters_whole(place: Place) -> None:
    """A message that came back too often goes to the dead letters: body, headers and id, and where and why it died."""
    small = topology(limit=2)
    async with opened(place, small) as broker:
        await broker.publish(receipt(b"poison", headers={"events": 3, "stream": "receipts"}, message_id="m"))
        await publish(broker, b"fine")
        consumer = await broker.consume(small.work, prefetch=1)
        for redelivered in (False, True, True):
            delivery = await take_one(consumer)
            assert (delivery.body, delivery.redelivered) == (b"poison", redelivered)
            await delivery.nack()
        assert bodies(await take(consumer)) == [b"fine"]
        dead = await take_one(await broker.consume(small.dead, prefetch=1))
        assert (dead.body, dead.message_id) == (b"poison", "m")
        assert {
            "events": 3,
            "stream": "receipts",
            "x-first-death-exchange": "receipts",
            "x-first-death-queue": "receipts.work",
            "x-first-death-reason": "delivery_limit",
        }.items() <= dict(dead.headers).items()


async def test_closing_consumers_counts_towards_the_limit(place: Place) -> None:
    """A message whose consumers go away each time ends among the dead letters too, and survives there."""
    small = topology(limit=1)
    async with opened(place, small) as broker:
        await publish(broker, b"poison")
        for _ in range(2):
            consumer = await broker.consume(small.work, prefetch=1)
            assert bodies(await take(consumer)) == [b"poison"]
            await consumer.close()

        async def dead() -> bool:
            return (await broker.state(small.dead)).ready == 1

        await eventually(dead)
    async with opened(place, small) as broker:
        assert bodies(await take(await broker.consume(small.dead, prefetch=1))) == [b"poison"]
        await assert_silent(await broker.consume(small.work, prefetch=1))
