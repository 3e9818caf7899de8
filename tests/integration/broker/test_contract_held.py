"""A queue that exists while somebody holds it: what every broker has to do about it, on each of them."""

import pytest

from broker.errors import ConsumerRefusedError
from broker.exchanges import receipts_topology
from broker.protocol import Broker, Consumer
from tests.integration.broker.place import Place, opened
from tests.integration.broker.talk import assert_silent, partial, take_one
from tests.support import eventually

TOPOLOGY = receipts_topology()
PARTIALS = TOPOLOGY.partials


async def hold(broker: Broker, prefetch: int = 10) -> Consumer:
    """Hold the queue, as soon as whoever closed just now is gone."""

    async def held() -> Consumer | None:
        try:
            return await broker.consume(PARTIALS, prefetch=prefetch, exclusive=True)
        except ConsumerRefusedError:
            return None

    consumer = await eventually(held)
    assert consumer is not None
    return consumer


async def test_one_holds_and_all_others_are_refused_until_it_is_gone(place: Place) -> None:
    """Whether they ask for it alone or not."""
    async with opened(place, TOPOLOGY) as broker:
        held = await hold(broker)
        for exclusive in (True, False):
            with pytest.raises(ConsumerRefusedError):
                await broker.consume(PARTIALS, prefetch=10, exclusive=exclusive)
        await held.close()
        await (await hold(broker)).close()


async def test_a_holder_receives_what_is_published_and_nothing_of_those_who_ask(place: Place) -> None:
    """An attempt of another to hold the queue is no delivery."""
    async with opened(place, TOPOLOGY) as broker:
        held = await hold(broker)
        with pytest.raises(ConsumerRefusedError):
            await broker.consume(PARTIALS, prefetch=10, exclusive=True)
        await broker.announce(partial(b"1"))
        assert (await take_one(held)).body == b"1"
        await assert_silent(held)


async def test_a_listener_to_all_partials_is_no_holder(place: Place) -> None:
    """Somebody who listens to everything on the exchange keeps nobody from holding the queue."""
    async with opened(place, TOPOLOGY) as broker:
        listener = await broker.subscribe("test", {"partials": "#"})
        held = await broker.consume(PARTIALS, prefetch=10, exclusive=True)
        await broker.announce(partial(b"1"))
        assert (await take_one(held)).body == b"1"
        assert (await take_one(listener)).body == b"1"
        await assert_silent(listener)


async def test_a_holder_begins_with_nothing(place: Place) -> None:
    """Neither what nobody held the queue for, nor what the holder before left, ready or unsettled."""
    async with opened(place, TOPOLOGY) as broker:
        await broker.announce(partial(b"nobody holds"))
        first = await hold(broker, prefetch=1)
        for number in range(3):
            await broker.announce(partial(b"%d" % number))
        unsettled = await take_one(first)
        assert unsettled.body == b"0"
        await first.close()
        await unsettled.ack()
        await broker.announce(partial(b"nobody holds"))
        second = await hold(broker)
        await broker.announce(partial(b"new"))
        assert (await take_one(second)).body == b"new"
        await assert_silent(second)


async def test_what_was_left_when_a_process_ended_is_gone(place: Place) -> None:
    """The next process that holds the queue begins with nothing, too."""
    async with opened(place, TOPOLOGY) as broker:
        held = await hold(broker, prefetch=1)
        for number in range(3):
            await broker.announce(partial(b"%d" % number))
        await take_one(held)
    async with opened(place, TOPOLOGY) as broker:
        held = await hold(broker)
        await assert_silent(held)


async def test_a_cancelled_holder_lets_another_in_and_can_still_settle(place: Place) -> None:
    """What it has in hand is its own affair."""
    async with opened(place, TOPOLOGY) as broker:
        first = await hold(broker)
        await broker.announce(partial(b"1"))
        delivery = await take_one(first)
        await first.cancel()
        second = await hold(broker)
        await delivery.nack()
        await assert_silent(second)
        await first.close()
        await broker.announce(partial(b"2"))
        assert (await take_one(second)).body == b"2"
