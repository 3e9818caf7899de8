"""What only a server can show: going away, coming back, hanging, and indexes."""

import asyncio
import time
from urllib.parse import urlsplit

import pytest

import store as stores
from analytics import DayTally
from store import StoreError, StoreRefusedError, StoreUnavailableError
from store.mongo import MongoStore
from store.mongo_client import Collection
from tests.integration.store.examples import DAY, KEY_NAMES, STREAM, entry, event, frame
from tests.servers.ferret import FerretServer
from tests.support import eventually, free_port

pytestmark = pytest.mark.mongo

#: Short limits, so that a test of a server that is away takes a second.
QUICK = "?serverSelectionTimeoutMS=500&connectTimeoutMS=500&socketTimeoutMS=1000"


async def test_a_store_whose_server_is_away_can_be_opened_and_says_so_when_asked() -> None:
    """Opening needs no server; the first call raises, within its limit."""
    store = await stores.connect(f"mongodb://user:hush@127.0.0.1:{free_port()}/x{QUICK}")
    began = time.monotonic()
    for call in (store.ping(), store.prepare(STREAM, KEY_NAMES), store.head(STREAM)):
        with pytest.raises(StoreUnavailableError) as raised:
            await call
        assert "hush" not in str(raised.value)
    assert time.monotonic() - began < 30
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_went_away_raises_and_works_again_when_it_is_back(
    own_ferret: FerretServer, how: str
) -> None:
    """Nothing that was acknowledged is lost; the same store object goes on."""
    store = await stores.connect(own_ferret.database() + QUICK)
    await store.prepare(STREAM, KEY_NAMES)
    one = store.encode(event("before"), frame("first"))
    await store.insert_events(STREAM, [one], 1.0)
    await store.append([entry("w", 1)])
    await asyncio.to_thread(getattr(own_ferret, how))
    try:
        for call in (
            store.insert_events(STREAM, [one], 1.0),
            store.append([entry("w", 2)]),
            store.owners(STREAM, ["before"]),
            store.ledger_after(STREAM, {}),
            store.ping(),
        ):
            with pytest.raises(StoreError):
                await call
    finally:
        await asyncio.to_thread(own_ferret.start)

    async def back() -> bool:
        try:
            await store.ping()
        except StoreError:
            return False
        return True

    await eventually(back)
    assert await store.insert_events(STREAM, [one], 2.0) == {0}
    assert len(await store.ledger_after(STREAM, {})) == 1
    assert await store.append([entry("w", 2)]) == 1
    await store.close()


@pytest.mark.faults
async def test_a_server_that_hangs_raises_within_the_time_limit(own_ferret: FerretServer) -> None:
    """No call waits for ever, and the store works once the server goes on."""
    store = await stores.connect(own_ferret.database() + QUICK)
    await store.prepare(STREAM, KEY_NAMES)
    await asyncio.to_thread(own_ferret.pause)
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailableError):
                await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    finally:
        await asyncio.to_thread(own_ferret.resume)

    async def stored() -> bool:
        try:
            await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
        except StoreError:
            return False
        return True

    await eventually(stored)
    assert await store.event(STREAM, "x") is not None
    await store.close()


async def test_inserting_does_not_hold_up_the_event_loop(ferret: FerretServer) -> None:
    """While 500 large events are on their way, other tasks run."""
    store = await stores.connect(ferret.database())
    await store.prepare(STREAM, KEY_NAMES)
    batch = [store.encode(event(fields={"x": "y" * 1_500}), frame()) for _ in range(500)]
    insert = asyncio.create_task(store.insert_events(STREAM, batch, 1.0))
    longest, last = 0.0, time.monotonic()
    while not insert.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert await insert == set()
    assert longest < 0.25  # generous: both cores may be busy with the server
    await store.close()


async def _indexes(items: Collection) -> set[tuple[str, ...]]:
    return {tuple(name for name, _ in one["key"]) for one in (await items.index_information()).values()}


async def test_queries_get_their_indexes_where_the_server_uses_them(ferret: FerretServer) -> None:
    """In the order of lists: all, each key, each reason; a server that scans anyway has the ledger's alone."""
    url = ferret.database()
    store = await stores.connect(url)
    assert isinstance(store, MongoStore)
    database = store._client[urlsplit(url).path[1:]]
    await store.prepare(STREAM, KEY_NAMES)
    ledger = await database["ledger"].index_information()
    assert ledger["stream_1_writer_1_seq_1"]["unique"] is True
    assert len(ledger) == 2

    store._scans_filters = False  # as MongoDB would answer
    await store.prepare(STREAM, KEY_NAMES)
    assert await _indexes(database[STREAM]) == {
        ("_id",),
        ("day", "time", "_id"),
        ("store", "day", "time", "_id"),
        ("customer", "day", "time", "_id"),
    }
    assert await _indexes(database["rejected"]) == {
        ("_id",),
        ("stream", "first_seen", "_id"),
        ("stream", "reason", "first_seen", "_id"),
    }
    await store.close()


@pytest.mark.parametrize(
    ("stream", "key"), [("ledger", "store"), (STREAM, "frame"), (STREAM, "_id"), (STREAM, "amount")]
)
async def test_names_that_the_store_needs_itself_are_refused(ferret: FerretServer, stream: str, key: str) -> None:
    """A stream or key must not overwrite what the store keeps."""
    store = await stores.connect(ferret.database())
    with pytest.raises(ValueError, match="taken by the store"):
        await store.prepare(stream, (key,))
    await store.close()


async def test_a_document_beyond_16_mib_is_refused_for_good(ferret: FerretServer) -> None:
    """In one line that says so; the store goes on."""
    store = await stores.connect(ferret.database())
    large = DayTally()
    large.add("store", "x" * (17 * 1024**2), 1)
    with pytest.raises(StoreRefusedError, match="too large"):
        await store.write_day(STREAM, DAY, large, 1)
    await store.ping()
    await store.close()
