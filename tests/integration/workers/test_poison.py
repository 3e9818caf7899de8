import sqlite3

import pytest

from broker.embedded_queues import Settle
from engine import NotReplayedError, audit, read_totals, replay
from engine.prepare import rejected
from store.errors import StoreError, StoreRefusedError
from store.protocol import Rejected
from tests.integration.workers.conftest import STREAM, Place
from tests.support import eventually
from tests.unit.streams.sample import SAMPLE

DAY = "2026-11-18"
REFUSAL = StoreRefusedError("the document is too large, says the test")


async def counted(place: Place, number: int) -> bool:
    """Whether so many receipts are in the totals of the sample's day."""
    return bool((await read_totals(place.store, STREAM, DAY))["count"] == number)


async def poison(place: Place) -> Rejected:
    """The frame that was put aside."""
    bad = place.frame(666)
    id = rejected(STREAM.name, "poison", "", source="", body=bad.body, first_seen=0.0).id
    found: Rejected | None = await place.store.rejected_item(STREAM.name, id)
    assert found is not None, "not put aside"
    return found


@pytest.fixture
def given_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[Settle]:
    """The frames that went back to their queue, which counts towards their delivery limit."""
    found: list[Settle] = []
    settle = place.broker.settle

    def note(operation: Settle) -> None:
        if operation.give_back:
            found.append(operation)
        settle(operation)

    monkeypatch.setattr(place.broker, "settle", note)
    return found


async def test_a_frame_that_the_store_refuses_keeps_no_other_from_being_counted(
    place: Place, given_back: list[Settle]
) -> None:
    """It is kept whole as poison and acknowledged; the frames beside it count, and none of them is given back."""
    place.store.faults = {"insert_events": (":666'", REFUSAL)}
    for number in range(20):
        await place.publish(place.frame(number))
    await place.publish(place.frame(666))
    for number in range(20, 40):
        await place.publish(place.frame(number))
    worker = place.worker()
    async with place.running(worker.run):
        await eventually(lambda: counted(place, 40))
        item = await eventually(lambda: poison(place))
        await worker.check()
    assert (item.body, item.source, item.status) == (place.frame(666).body, place.frame(666).id, "open")
    assert "too large" in item.detail
    assert given_back == []
    assert (await place.broker.state(place.topology.work)).ready == 0


async def test_a_frame_whose_ledger_entry_is_refused_counts_when_it_is_replayed(place: Place) -> None:
    """Its events are claimed by it before it is put aside; a store that takes it counts them, once."""
    place.store.faults = {"append": (place.frame(666).id, REFUSAL)}
    await place.publish(place.frame(1))
    await place.publish(place.frame(666))
    async with place.running(place.worker().run):
        await eventually(lambda: counted(place, 1))
        item = await eventually(lambda: poison(place))
        place.store.faults = {}
        await replay(place.store, place.broker, STREAM, item)
        await eventually(lambda: counted(place, 2))
    assert (await audit(place.store, STREAM)).listed == []


async def test_a_frame_that_is_refused_again_after_its_replay_is_open_again(place: Place) -> None:
    """Replayed too early it is put aside once more; and once it was counted, it is not replayed any more."""
    place.store.faults = {"append": (place.frame(666).id, REFUSAL)}
    await place.publish(place.frame(666))
    async with place.running(place.worker().run):
        item = await eventually(lambda: poison(place))
        await replay(place.store, place.broker, STREAM, item)

        async def again() -> bool:
            return {"replayed", "again"} <= {step.what for step in (await poison(place)).steps}

        await eventually(again)
        item = await poison(place)
        assert item.status == "open"
        place.store.faults = {}
        await replay(place.store, place.broker, STREAM, item)
        await eventually(lambda: counted(place, 1))
        with pytest.raises(NotReplayedError, match="was counted"):
            await replay(place.store, place.broker, STREAM, item)


async def test_a_passing_failure_of_one_frame_is_never_taken_for_a_refusal(
    place: Place, given_back: list[Settle]
) -> None:
    """While it fails, the frames beside it count; it is not put aside, and counts when the failure has passed."""
    place.store.faults = {"insert_events": (":666'", StoreError("no answer in time, says the test"))}
    for number in range(5):
        await place.publish(place.frame(number))
    await place.publish(place.frame(666))
    worker = place.worker()
    async with place.running(worker.run):
        await eventually(lambda: counted(place, 5))
        await place.publish(place.frame(7))
        await eventually(lambda: counted(place, 6))
        failures = place.store.failures
        await eventually(lambda: place.store.failures > failures + 3)
        assert await place.store.rejected_count(STREAM.name) == {}
        await worker.check()  # others succeed: the store works
        place.store.faults = {}
        await eventually(lambda: counted(place, 7))
    assert given_back == []


async def test_poison_that_cannot_be_kept_is_not_acknowledged(place: Place) -> None:
    """It is tried again, and goes back to its queue with the worker's end."""
    place.store.faults = {"insert_events": (":666'", REFUSAL), "reject": ("", REFUSAL)}
    await place.publish(place.frame(666))
    await place.publish(place.frame(1))
    async with place.running(place.worker().run):
        await eventually(lambda: counted(place, 1))
        await eventually(lambda: place.store.failures > 6)

    async def back() -> bool:
        return (await place.broker.state(place.topology.work)).ready == 1

    await eventually(back)


async def test_a_real_refusal_of_the_store_puts_its_frame_aside(place: Place) -> None:
    """A receipt whose row is larger than SQLite takes, since categories have a column; its bytes alone fit."""
    line = SAMPLE["lines"][0]
    lines = [{**line, "lineNumber": at, "productCategoryName": f"{at:03}" + "x" * 250} for at in range(100)]
    large = place.frame(666, lines=lines)
    limit = len(large.body) + 5_000
    await place.store._store._writer.run(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit))
    await place.publish(place.frame(1))
    await place.publish(large)
    await place.publish(place.frame(2))
    async with place.running(place.worker().run):
        await eventually(lambda: counted(place, 2))

        async def kept() -> bool:
            return bool(await place.store.rejected_count(STREAM.name) == {"poison": 1})

        await eventually(kept)
    assert (await place.broker.state(place.topology.work)).ready == 0
