"""What only a server can show: going away, coming back, hanging, and indexes."""

import asyncio
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

import store as stores
from analytics import DayTally
from store import EventQuery, RejectedQuery, StoreError, StoreRefusedError, StoreUnavailableError
from store.mongo import MongoStore
from store.mongo_client import Collection
from streams.errors import ConfigurationError
from tests.integration.store.examples import DAY, KEY_NAMES, STREAM, entry, event, frame, ledger, rejected
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
    assert time.monotonic() - began < 60  # by their own limits these calls would take 90
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
    assert len(await ledger(store)) == 1
    assert await store.append([entry("w", 2)]) == 1
    await store.close()


@pytest.mark.faults
async def test_a_server_that_hangs_raises_within_the_time_limit(own_ferret: FerretServer) -> None:
    """No call waits for ever, and the store works once the server goes on."""
    store = await stores.connect(own_ferret.database() + QUICK)
    await store.prepare(STREAM, KEY_NAMES)
    await asyncio.to_thread(own_ferret.pause)
    try:
        async with asyncio.timeout(30):
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
    turns, longest, last = 0, 0.0, time.thread_time()
    while not insert.done():
        await asyncio.sleep(0)
        turns += 1
        longest, last = max(longest, time.thread_time() - last), time.thread_time()
    assert await insert == set()
    assert turns > 10
    assert longest < 0.25  # seconds of the processor, so that other processes do not count
    await store.close()


async def _indexes(items: Collection) -> set[tuple[str, ...]]:
    return {tuple(name for name, _ in one["key"]) for one in (await items.index_information()).values()}


async def test_queries_get_their_indexes_where_the_server_uses_them(
    ferret: FerretServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of lists: all, each key, each reason; a server that scans anyway has the ledger's alone."""
    monkeypatch.setattr("store.mongo._OF_FIRST", {})  # FerretDB has no partial indexes
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
    large.tables["store"] = {"x" * (17 * 1024**2): [1]}  # no receipts add up to such a key
    with pytest.raises(StoreRefusedError, match="too large"):
        await store.write_day(STREAM, DAY, large, 1)
    await store.ping()
    await store.close()


class Heard(CommandListener):
    """Keeps the commands that a client sends."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to keep."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to keep."""


@pytest.mark.parametrize("scans", [True, False])
async def test_every_query_has_a_time_limit_at_the_server(
    ferret: FerretServer, monkeypatch: pytest.MonkeyPatch, scans: bool
) -> None:
    """Lists, look-ups, counts, and each query of a scan; where a scan is one long query, the socket's limit ends it."""
    heard = Heard()
    monkeypatch.setattr("store.mongo_client.AsyncIOMotorClient", partial(AsyncIOMotorClient, event_listeners=[heard]))
    store = await stores.connect(ferret.database())
    assert isinstance(store, MongoStore)
    await store.prepare(STREAM, KEY_NAMES)
    store._scans_filters = scans
    await store.insert_events(STREAM, [store.encode(event(str(n)), frame()) for n in range(60)], 1.0)
    await store.append([entry("w", 1)])
    await store.reject([rejected("1")])
    heard.commands.clear()
    await store.owners(STREAM, [str(n) for n in range(60)])
    await store.event(STREAM, "1")
    await store.events(STREAM, EventQuery(day=DAY, at_least=1, after="30"))
    await store.entry(STREAM, frame())
    await store.ledger_after(STREAM, {})
    await store.head(STREAM)
    await store.read_day(STREAM, "x")
    await store.rejected(STREAM, RejectedQuery(status="open"))
    await store.rejected_item(STREAM, "1")
    await store.rejected_count(STREAM, "open")
    if not scans:
        assert len([one async for one in store.scan_events(STREAM)]) == 60
        assert len([one async for one in store.scan_ledger(STREAM)]) == 1
    queries = [one for one in heard.commands if {"find", "aggregate", "distinct", "count"} & one.keys()]
    assert len(queries) >= 10
    assert [one for one in queries if not 0 < one.get("maxTimeMS", 0) <= 25_000] == []
    await store.close()


async def test_a_scan_is_cut_into_queries_of_bounded_time(
    ferret: FerretServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All documents, each once, however many queries it takes."""
    monkeypatch.setattr("store.mongo._SCAN_PAGE", 7)
    store = await stores.connect(ferret.database())
    assert isinstance(store, MongoStore)
    await store.prepare(STREAM, KEY_NAMES)
    store._scans_filters = False
    for count in (13, 14, 15):
        await store.insert_events(STREAM, [store.encode(event(f"{n:02}"), frame()) for n in range(count)], 1.0)
        assert [one.id async for one in store.scan_events(STREAM)] == [f"{n:02}" for n in range(count)]
    await store.close()


async def test_an_item_that_an_earlier_release_rejected_has_a_size(ferret: FerretServer) -> None:
    """Its document does not say it."""
    url = ferret.database()
    store = await stores.connect(url)
    assert isinstance(store, MongoStore)
    await store.reject([rejected("1", body=b"12345")])
    await store._client[urlsplit(url).path[1:]]["rejected"].update_one({"_id": "1"}, {"$unset": {"size": ""}})
    assert [one.size for one in await store.rejected(STREAM, RejectedQuery())] == [5]
    await store.close()


async def test_whoever_asks_learns_soon_that_no_server_answers() -> None:
    """Within two seconds by the limits that a client has where the URL sets none."""
    store = await stores.connect(f"mongodb://127.0.0.1:{free_port()}/x")
    assert isinstance(store, MongoStore)
    options: Any = store._client.options
    assert options.server_selection_timeout == 2
    assert options.pool_options.connect_timeout == 2
    with pytest.raises(StoreUnavailableError, match="no MongoDB server answers"):
        await store.events(STREAM, EventQuery())
    await store.close()


async def test_the_hosts_of_mongodb_srv_are_looked_up_when_the_store_is_used() -> None:
    """A name server that does not know the host is an outage, as any server that is away, not a wrong setting."""
    store = await stores.connect("mongodb+srv://user:hush@cluster0.example.invalid/x")
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="could not reach the store: ") as caught:
            await store.ping()
        assert "hush" not in str(caught.value)
    await store.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("tlsCAFle=/x", "an unknown option; similar ones are tlscafile, "),
        ("tls=flase", "an option twice, or with a wrong value"),
        ("tls=true&tlsCAFile=/no/such", "names a file that cannot be read: /no/such: No such file or directory"),
    ],
)
async def test_an_option_that_would_be_passed_over_is_refused(options: str, said: str) -> None:
    """The driver only warns of it."""
    with pytest.raises(ConfigurationError, match=said):
        await stores.connect(f"mongodb://user:hush@127.0.0.1:{free_port()}/x?{options}")
