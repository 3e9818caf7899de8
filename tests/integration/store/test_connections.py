"""Opening, preparing, asking and closing a store."""

import asyncio

import pytest

import store as stores
from store import EventQuery, RejectedQuery, Store, StoreError, StoreMissingError
from streams.errors import ConfigurationError
from tests.integration.store.examples import KEY_NAMES, STREAM, entry, event, frame, rejected


async def test_a_store_answers(store: Store) -> None:
    """To a ping."""
    await store.ping()


async def test_preparing_again_changes_nothing(store: Store, other: Store) -> None:
    """Events stay, from this or another connection."""
    await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    await store.prepare(STREAM, KEY_NAMES)
    await other.prepare(STREAM, KEY_NAMES)
    assert await other.event(STREAM, "x") is not None


async def test_several_can_prepare_at_once(url: str) -> None:
    """As when many processes start against an empty store."""
    opened = await asyncio.gather(*(stores.connect(url) for _ in range(5)))
    try:
        await asyncio.gather(*(one.prepare(STREAM, KEY_NAMES) for one in opened for _ in range(2)))
        first = opened[0]
        assert await first.insert_events(STREAM, [first.encode(event("x"), frame())], 1.0) == set()
        assert await first.append([entry("w", 1), entry("v", 1)]) == 2
        assert await opened[1].append([entry("w", 1)]) == 0
    finally:
        await asyncio.gather(*(one.close() for one in opened))


async def test_a_key_that_a_later_release_adds_can_be_prepared(store: Store) -> None:
    """Events of before simply do not have it."""
    await store.insert_events(STREAM, [store.encode(event("old"), frame())], 1.0)
    await store.prepare(STREAM, (*KEY_NAMES, "agent"))
    await store.insert_events(STREAM, [store.encode(event("new", keys={"agent": "7"}), frame())], 1.0)
    assert [one.id for one in await store.events(STREAM, EventQuery(keys={"agent": "7"}))] == ["new"]
    assert [dict(one.keys) for one in await store.events(STREAM, EventQuery())] == [{"store": "612"}, {"agent": "7"}]


async def test_what_was_written_is_there_for_the_next_connection(url: str, store: Store) -> None:
    """Closing loses nothing."""
    await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    await store.reject([rejected("1")])
    await store.close()
    again = await stores.connect(url)
    assert await again.event(STREAM, "x") is not None
    assert len(await again.rejected(STREAM, RejectedQuery())) == 1
    await again.close()


async def test_a_closed_store_raises(store: Store) -> None:
    """Also when it is closed twice."""
    await store.close()
    await store.close()
    with pytest.raises(StoreError):
        await store.ping()
    with pytest.raises(StoreError):
        await store.insert_events(STREAM, [store.encode(event(), frame())], 1.0)


async def test_calls_under_way_end_when_the_store_is_closed(store: Store) -> None:
    """They are done or raise StoreError; none hangs."""
    batch = [store.encode(event(), frame()) for _ in range(200)]
    calls = [asyncio.create_task(store.insert_events(STREAM, batch, 1.0)) for _ in range(5)]
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, set | StoreError) for answer in answers)


async def test_a_cancelled_caller_leaves_the_store_working(store: Store) -> None:
    """The write may or may not happen; the next call is fine."""
    for _ in range(5):
        call = asyncio.create_task(store.insert_events(STREAM, [store.encode(event(), frame())], 1.0))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await store.ping()
    await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    assert await store.event(STREAM, "x") is not None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "sqlite",
        "sqlite:",
        "redis://user:hush@host/1",
        "mongodb://user:hush@127.0.0.1:27017",
        "mongodb://user:hu:sh@127.0.0.1:27017/x",
        "mongodb://user:hush@127.0.0.1:notaport/x",
        "mongodb://user:hush@127.0.0.1/x?w=nonsense&serverSelectionTimeoutMS=soon&nosuchoption=hush",
        "mongodb://user:hush@/x",
    ],
)
async def test_a_url_that_names_no_store_is_refused_without_showing_it(wrong: str) -> None:
    """One line that names the forms; never a password."""
    with pytest.raises(ConfigurationError) as refused:
        await stores.connect(wrong)
    assert "hu" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_store_that_is_not_there_is_not_made(url: str) -> None:
    """For commands that read: `create=False` finds what is there, and makes nothing."""
    for _ in range(2):
        with pytest.raises(StoreMissingError, match="no store"):
            await stores.connect(url, create=False)
    made = await stores.connect(url)
    await made.prepare(STREAM, KEY_NAMES)
    await made.close()
    found = await stores.connect(url, create=False)
    assert await found.events(STREAM, EventQuery()) == []
    await found.close()
