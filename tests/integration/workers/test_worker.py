import asyncio

import pytest

from engine import audit, read_totals
from streams.errors import TillstreamError
from tests.integration.workers.conftest import STREAM, Place
from tests.support import eventually

DAY = "2026-11-18"


async def count(place: Place) -> int:
    """Receipts in the totals of the sample's day."""
    found: int = (await read_totals(place.store, STREAM, DAY))["count"]
    return found


async def test_frames_are_counted_and_acknowledged(place: Place) -> None:
    """What was published is stored, in the ledger, and out of the queue."""
    async with place.running(place.worker().run):
        await place.publish(place.frame(1, 2, 3))
        await place.publish(place.frame(3, 4))
        await eventually(lambda: count(place))

        async def four() -> bool:
            return await count(place) == 4

        await eventually(four)
    assert (await place.broker.state(place.topology.work)).ready == 0
    assert (await audit(place.store, STREAM)).listed == []


@pytest.mark.parametrize("call", ["insert_events", "append"])
async def test_a_failing_flush_is_tried_again_under_a_new_writer(place: Place, call: str) -> None:
    """While the store fails the worker is not ready; when it is back, everything counts once."""
    worker = place.worker()
    first_writer = worker._flusher.writer
    place.store.failing = {call}
    async with place.running(worker.run):
        await place.publish(place.frame(1, 2))
        await eventually(lambda: place.store.failures >= 3)
        with pytest.raises(TillstreamError, match=call):
            await worker.check()
        place.store.failing = set()

        async def two() -> bool:
            return await count(place) == 2

        await eventually(two)
        await eventually(lambda: worker._trouble is None)
        await worker.check()
    ((writer, seq, _),) = await place.entries()
    assert (seq, writer != first_writer) == (1, True)
    assert (await audit(place.store, STREAM)).listed == []


async def test_frames_are_given_back_after_a_while(place: Place) -> None:
    """A worker whose store does not come back leaves its frames to others."""
    place.store.failing = {"append"}
    async with place.running(place.worker(give_back_after_s=0.0).run):
        await place.publish(place.frame(1))
        await eventually(lambda: place.store.failures >= 3)
        place.store.failing = set()

        async def one() -> bool:
            return await count(place) == 1

        await eventually(one)
    assert len(await place.entries()) == 1


async def test_stopping_gives_unfinished_frames_back(place: Place) -> None:
    """A worker that is told to stop while its store fails does so at once, and the frames wait for another."""
    place.store.failing = {"insert_events"}
    async with place.running(place.worker().run) as stop:
        await place.publish(place.frame(1))
        await place.publish(place.frame(2))
        await eventually(lambda: place.store.failures >= 1)
        stop.set()

    async def back() -> bool:
        return (await place.broker.state(place.topology.work)).ready == 2

    await eventually(back)
    place.store.failing = set()
    async with place.running(place.worker().run):

        async def two() -> bool:
            return await count(place) == 2

        await eventually(two)


async def test_a_worker_that_dies_in_its_flush_leaves_its_frames(place: Place) -> None:
    """Cancelled in the middle, as a kill would have it, nothing is acknowledged; another worker finishes."""
    place.store.failing = {"append"}
    task = asyncio.create_task(place.worker().run(asyncio.Event()))
    await place.publish(place.frame(1, 2))
    await eventually(lambda: place.store.failures >= 1)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert await count(place) == 0
    place.store.failing = set()
    async with place.running(place.worker().run):

        async def two() -> bool:
            return await count(place) == 2

        await eventually(two)
    assert (await audit(place.store, STREAM)).listed == []


async def test_a_frame_of_a_newer_release_is_held(place: Place) -> None:
    """It is not dropped, not spun on: the worker stops consuming, says so, and gives it back when it stops."""
    worker = place.worker()
    async with place.running(worker.run):
        await place.publish(place.frame(1), schema=2)
        await eventually(lambda: worker._held is not None)
        with pytest.raises(TillstreamError, match="newer release"):
            await worker.check()
        await place.publish(place.frame(2))

    async def both() -> bool:
        return (await place.broker.state(place.topology.work)).ready == 2

    await eventually(both)
    assert await count(place) == 0


async def test_lines_that_cannot_be_read_are_set_aside(place: Place) -> None:
    """The others of their frame count; what was refused is kept with its reason, and announced."""
    listener = await place.broker.subscribe("test", {"rejected": "#"})
    good = place.frame(1)
    body = good.body + b'\n{"receivedTime":1,"storeID":1}\n\xff\n'
    frame = type(good).from_body(STREAM.name, body)
    async with place.running(place.worker().run):
        await place.publish(frame)

        async def one() -> bool:
            return await count(place) == 1

        await eventually(one)
    assert await place.store.rejected_count(STREAM.name) == {"invalid": 1, "undecodable": 1}
    keys = set()
    async for delivery in listener:
        keys.add(delivery.routing_key)
        assert delivery.headers["source"] == frame.id
        if len(keys) == 2:
            break
    assert keys == {"receipts.invalid", "receipts.undecodable"}
    await listener.close()


async def test_a_conflict_is_kept_and_does_not_count(place: Place) -> None:
    """The same identity with other content: the first one wins, the other is in `rejected`."""
    async with place.running(place.worker().run):
        await place.publish(place.frame(1))

        async def one() -> bool:
            return await count(place) == 1

        await eventually(one)
        place.now += 1
        await place.publish(place.frame(1, **{"documentTotal.grossTotal": 99}))
        await place.publish(place.frame(1))

        async def three() -> bool:
            return len(await place.entries()) == 3

        await eventually(three)
    assert await place.store.rejected_count(STREAM.name) == {"conflict": 1}
    assert await count(place) == 1


async def test_a_frame_delivered_again_changes_nothing(place: Place) -> None:
    """One ledger entry per frame, however often it comes."""
    async with place.running(place.worker().run):
        for _ in range(3):
            await place.publish(place.frame(1, 2))

        async def done() -> bool:
            return (await place.broker.state(place.topology.work)).ready == 0 and await count(place) == 2

        await eventually(done)
    assert len(await place.entries()) == 1


async def test_a_frame_for_another_store_is_held(place: Place) -> None:
    """A worker on a stray store counts nothing of it, stops consuming and is not ready; the frames wait."""
    other = await place.store.identify(STREAM.name, "UTC")
    worker = place.worker()
    async with place.running(worker.run):
        await place.publish(place.frame(1), store=other.id)

        async def one() -> bool:
            return await count(place) == 1

        await eventually(one)
        await place.publish(place.frame(2), store="the store of all others")
        await eventually(lambda: worker._held is not None)
        with pytest.raises(TillstreamError, match="belongs into the store the store of all others"):
            await worker.check()
        await place.publish(place.frame(3), store=other.id)

    async def both() -> bool:
        return (await place.broker.state(place.topology.work)).ready == 2

    await eventually(both)
    assert await count(place) == 1
    await place.store.adopt("the store of all others")
    async with place.running(place.worker().run):

        async def three() -> bool:
            return await count(place) == 3

        await eventually(three)


async def test_a_store_that_does_not_tell_which_one_it_is_is_asked_again(place: Place) -> None:
    """Meanwhile its frames wait; none is taken for another store's."""
    own = await place.store.identify(STREAM.name, "UTC")
    place.store.failing = {"identity"}
    worker = place.worker()
    async with place.running(worker.run):
        await place.publish(place.frame(1), store=own.id)
        await eventually(lambda: place.store.failures > 1)
        assert worker._held is None
        place.store.failing = set()

        async def one() -> bool:
            return await count(place) == 1

        await eventually(one)
