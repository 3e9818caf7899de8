"""What this release makes of data that another release stored: it reads it whole, or says that it cannot."""

import asyncio
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import store as stores
from analytics import Tally, encode_tally
from broker.exchanges import PARTIALS
from broker.frames import Frame
from broker.protocol import Message
from engine import Partial, audit, partial_message, prepare, read_totals
from engine.flush import Flusher
from store import EventQuery, StoredEvent
from store.mongo import MongoStore
from streams.errors import TillstreamError
from tests.integration.workers.conftest import NOON, STREAM, Place
from tests.servers.ferret import FerretServer
from tests.support import eventually
from tests.unit.streams.sample import receipt

OUTCOMES = ("unreadable", "merged", "known", "gap")
DAY = "2026-11-18"
#: Where each of the forms is, which call reads it, and the version that this release writes.
FORMS = {
    "ledger": ("ledger", "tally", "ledger_after", 1),
    "day": ("days", "tally", "read_day", 1),
    "head": ("checkpoints", "state", "head", 2),
}


def change(path: Path, statement: str) -> int:
    """Change rows behind the store's back; how many."""
    with sqlite3.connect(path) as connection:
        changed = connection.execute(statement).rowcount
    connection.close()
    return changed


def rows(path: Path, table: str) -> list[Any]:
    """All rows of a table, in order."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    connection.close()
    return found


async def count(place: Place) -> int:
    """Receipts in the totals of the sample's day."""
    found: int = (await read_totals(place.store, STREAM, DAY))["count"]
    return found


async def flush(place: Place, *frames: Frame) -> None:
    """Store and count frames as a worker does."""
    flusher = Flusher(store=place.store, broker=place.broker, stream=STREAM, clock=lambda: place.now)
    await flusher.flush([await prepare(frame, STREAM, place.store, lambda: place.now) for frame in frames])


def rewrite(path: Path, what: str, *, back: bool = False) -> None:
    """Make all of a form one of the next release, or of this one again."""
    table, column, _, version = FORMS[what]
    version, becomes = (version + 1, version) if back else (version, version + 1)
    assert change(path, f"UPDATE {table} SET {column} = replace({column}, '\"v\":{version}', '\"v\":{becomes}')") >= 1


@pytest.mark.parametrize("what", [*FORMS])
async def test_totals_wait_at_what_a_newer_release_wrote(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """They neither end nor overwrite it, say why they are not ready, and go on once it can be read."""
    path, reads = tmp_path / "store.db", Counter[str]()
    name = FORMS[what][2]
    real = getattr(place.store._store, name)

    async def counted(*arguments: Any, **named: Any) -> Any:
        reads[name] += 1
        return await real(*arguments, **named)

    monkeypatch.setattr(place.store._store, name, counted)
    await flush(place, place.frame(1, 2))
    async with place.running(place.totals().run):
        await eventually(lambda: rows(path, "checkpoints"))
    await flush(place, place.frame(3))  # something to write a checkpoint for
    rewrite(path, what)
    before = rows(path, "checkpoints"), rows(path, "days")
    totals = place.totals()
    async with place.running(totals.run):
        begun = reads[name]
        await eventually(lambda: reads[name] >= begun + 10)
        with pytest.raises(TillstreamError, match=r"(of format 2|has format 3)"):
            await totals.check()
        assert (rows(path, "checkpoints"), rows(path, "days")) == before
        rewrite(path, what, back=True)

        async def three() -> bool:
            assert totals._troubles == {}
            return await count(place) == 3 and rows(path, "checkpoints") != before[0]

        await eventually(three)
    assert (await audit(place.store, STREAM)).listed == []


async def test_a_partial_of_a_newer_release_is_read_from_the_ledger(place: Place) -> None:
    """Or of none, or with more in it than is known: totals go on, and what the ledger has is counted."""
    totals = place.totals()
    partial = Partial(writer="w", first=1, last=1, tally=Tally(), worker="x")
    body = partial_message(STREAM.name, partial).body
    async with place.running(totals.run):
        await eventually(lambda: totals._active)
        await flush(place, place.frame(1))
        for odd in (
            body.replace(b'"v":1', b'"v":2'),
            b'{"stage":2}',
            b"\xff",
            body.replace(b'"writer":"w"', b'"writer":"ww","more":1'),
        ):
            await place.broker.announce(Message(exchange=PARTIALS.name, routing_key=STREAM.name, body=odd))

        def heard() -> bool:
            unreadable, *read = (totals._metrics.partials.labels(outcome)._value.get() for outcome in OUTCOMES)
            return (unreadable, sum(read)) == (3, 2)  # the flush announced one, too

        await eventually(heard)
        await totals.check()
        assert await count(place) == 1


async def test_a_frame_that_a_newer_release_counted_is_acknowledged(place: Place, tmp_path: Path) -> None:
    """Its ledger entry cannot be read here, but is there: that is all that a worker has to know."""
    frame = place.frame(1, 2)
    await flush(place, frame)
    rewrite(tmp_path / "store.db", "ledger")
    await place.publish(frame)
    await place.publish(place.frame(3))
    worker = place.worker()
    async with place.running(worker.run):

        async def two() -> bool:
            return len(await asyncio.to_thread(rows, tmp_path / "store.db", "ledger")) == 2

        await eventually(two)
        await worker.check()
    assert (await place.broker.state(place.topology.work)).ready == 0
    rewrite(tmp_path / "store.db", "ledger", back=True)
    assert (await count(place), (await audit(place.store, STREAM)).listed) == (3, [])


async def test_contents_are_compared_where_hashes_of_two_releases_cannot_be(place: Place, tmp_path: Path) -> None:
    """A frame that another release began is finished and counts; a repetition is one, and so is a conflict."""
    begun = place.frame(1, 2)
    prepared = await prepare(begun, STREAM, place.store, lambda: place.now)
    await place.store.insert_events(STREAM.name, prepared.encoded[:1], place.now)  # and there it was killed
    assert change(tmp_path / "store.db", "UPDATE events_receipts SET hash = '2' || substr(hash, 2)") == 1
    await flush(place, begun)
    assert await count(place) == 2
    changed = place.frame(1, **{"documentTotal.grossTotal": 99})
    flusher = Flusher(store=place.store, broker=place.broker, stream=STREAM, clock=lambda: place.now)
    done = await flusher.flush(
        [await prepare(frame, STREAM, place.store, lambda: place.now) for frame in (changed, place.frame(2, 1))]
    )
    assert (done.counted, done.duplicates, done.conflicts) == (0, 2, 1)
    assert await count(place) == 2
    assert (await audit(place.store, STREAM)).listed == []


@pytest.mark.mongo
@pytest.mark.parametrize("scans", [True, False])
async def test_receipts_that_an_earlier_release_stored_are_listed_whole(ferret: FerretServer, scans: bool) -> None:
    """Without the fields that were added since: what they would say is read from the receipt; last of their day."""
    url = ferret.database()
    store = await stores.connect(url, [STREAM])
    assert isinstance(store, MongoStore)
    await store.prepare(STREAM.name, STREAM.key_names)
    store._scans_filters = scans
    lines = [
        STREAM.accept(
            json.dumps(receipt({"cashReceiptID": number, "date": f"2026-11-{day} 11:0{number % 10}:40"})).encode(), NOON
        )
        for day in (18, 19)
        for number in range(1, 10)
    ]
    events = [STREAM.parse(line) for line in lines]
    await store.insert_events(STREAM.name, [store.encode(one, "f") for one in events], NOON)
    old = {one.id for one in events if int(one.keys["receipt"]) % 3 == 0}
    collection = store._client[urlsplit(url).path[1:]][STREAM.name]
    for id in old:
        await collection.update_one({"_id": id}, {"$unset": {"time": 1, "amount": 1, "categories": 1}})
    order = [
        one.id
        for one in sorted(
            events,
            key=lambda one: (one.day, one.id not in old, one.time if one.id not in old else 0, one.id),
            reverse=True,
        )
    ]

    async def pages(size: int, **conditions: Any) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        while page := await store.events(
            STREAM.name, EventQuery(limit=size, after=found[-1].id if found else None, **conditions)
        ):
            found += page
        return found

    for size in (1, 2, 5, 100):
        assert [one.id for one in await pages(size)] == order
        of_day = [id for id in order if "2026-11-18" in id]
        assert [one.id for one in await pages(size, day="2026-11-18")] == of_day
        assert [one.id for one in await pages(size, category="Pain", at_least=26_5300)] == order
        assert await pages(size, category="Glaces") == []
        assert await pages(size, at_most=26_5299) == []
        assert [one.id for one in await pages(size, at_most=26_5300, day="2026-11-18")] == of_day
    by_id = {one.id: one for one in events}
    for found in await pages(100):
        event = by_id[found.id]
        assert (found.time, found.amount, found.categories) == (event.time, event.amount, event.categories)
    await store.close()

    bare = await stores.connect(url)  # nobody told it how to read receipts: nothing fails
    assert len(await bare.events(STREAM.name, EventQuery())) == len(events)
    await bare.close()


@pytest.mark.mongo
@pytest.mark.parametrize("scans", [True, False])
async def test_what_a_worker_of_an_earlier_release_counts_is_read(
    ferret: FerretServer, monkeypatch: pytest.MonkeyPatch, scans: bool
) -> None:
    """Also when it took its writer id after this release prepared the store, and until the writer is closed."""
    monkeypatch.setattr("store.mongo._OF_FIRST", {})  # FerretDB has no partial indexes
    url = ferret.database()
    store = await stores.connect(url, [STREAM])
    assert isinstance(store, MongoStore)
    await store.prepare(STREAM.name, STREAM.key_names)
    store._scans_filters = scans
    ledger = store._client[urlsplit(url).path[1:]]["ledger"]
    await ledger.insert_one(
        {
            "_id": "f",
            "stream": STREAM.name,
            "writer": "earlier",
            "seq": 1,
            "tally": encode_tally(Tally()).decode(),
            "kept": True,
            "at": NOON,
        }
    )
    assert [one.writer for one in await store.ledger_after(STREAM.name, {})] == ["earlier"]
    await store.close_writers(STREAM.name, ["earlier"])
    await store.prepare(STREAM.name, STREAM.key_names)
    assert await store.ledger_after(STREAM.name, {}) == []
    await store.close()
