"""Events: who owns an identity is decided once, and what comes back is what went in."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from store import EventQuery, Owner, Store
from tests.integration.store.examples import DAY, STREAM, event, frame

#: JSON that databases find hard to keep.
AWKWARD_FIELDS: list[dict[str, Any]] = [
    {"a.b": 1, "c": {"d.e.f": [1, {"g.h": 2}]}},
    {"$set": {"a": 1}, "x": {"$gt": 2}},
    {"nested": [[1, [2]], [{"a": [[]]}]]},
    {"_id": 7, "inner": {"_id": "x"}},
    {"": 1, " ": 2, "é\N{SNOWMAN}\N{PILE OF POO}": "\N{PILE OF POO}"},
    {"nul\0key": 1, "value": "nul\0value"},
    {"int32": 2**31 - 1, "int64": 2**63 - 1, "negative": -(2**63)},
    {"beyond": 2**64, "below": -(2**80)},
    {"floats": [0.1, 1e300, 5.0, 20.000000000000004, -2.5e-10]},
    {"null": None, "yes": True, "empty": {}, "none": []},
    {"frame": "x", "hash": 1, "day": None, "stored": "y", "event": {}, "raw": "z", "store": 1},
    {"long": "x" * 300_000},
]


async def test_a_stored_event_comes_back_as_it_was(store: Store) -> None:
    """Identity, owner, hash, day, amount, categories, keys, times and body survive."""
    keys = {"store": "612", "customer": "85320"}
    one = event(
        keys=keys,
        fields={"total": 12.34, "lines": [{"n": 1}]},
        time=1763722799.0,
        amount=-(2**40),
        categories=["b", "a"],
    )
    owner = frame()
    assert await store.insert_events(STREAM, [store.encode(one, owner)], 1763722801.5) == set()
    found = await store.event(STREAM, one.id)
    assert found is not None
    assert (found.id, found.frame, found.hash, found.day) == (one.id, owner, one.hash, DAY)
    assert (found.time, found.amount, found.categories) == (1763722799.0, -(2**40), ("b", "a"))
    assert dict(found.keys) == one.keys
    assert (found.received, found.stored) == (one.received, 1763722801.5)
    assert msgspec.json.decode(found.body) == msgspec.json.decode(one.line)


async def test_an_event_that_is_not_stored_is_none(store: Store) -> None:
    """Also in a stream that nobody prepared."""
    assert await store.event(STREAM, "nobody") is None
    assert await store.event("invoices", "nobody") is None
    assert await store.events("invoices", EventQuery()) == []
    assert await store.owners("invoices", ["nobody"]) == {}


@pytest.mark.parametrize("fields", AWKWARD_FIELDS, ids=lambda fields: ascii(next(iter(fields))))
async def test_any_json_comes_back_equal(store: Store, fields: Mapping[str, Any]) -> None:
    """Whatever an unknown field holds, the body reads back as equal JSON."""
    one = event(fields=fields)
    assert await store.insert_events(STREAM, [store.encode(one, frame())], 1.0) == set()
    found = await store.event(STREAM, one.id)
    assert found is not None
    assert msgspec.json.decode(found.body) == msgspec.json.decode(one.line)


async def test_deep_json_comes_back_equal(store: Store) -> None:
    """Nesting beyond what a database takes."""
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    one = event(fields={"deep": deep})
    await store.insert_events(STREAM, [store.encode(one, frame())], 1.0)
    found = await store.event(STREAM, one.id)
    assert found is not None
    assert msgspec.json.decode(found.body) == msgspec.json.decode(one.line)


async def test_a_large_event_is_stored(store: Store) -> None:
    """JSON of some megabytes that is many times as long in BSON."""
    one = event(fields={"ones": [1] * 2_000_000})
    assert await store.insert_events(STREAM, [store.encode(one, frame())], 1.0) == set()
    found = await store.event(STREAM, one.id)
    assert found is not None
    assert len(msgspec.json.decode(found.body)["ones"]) == 2_000_000


async def test_an_event_without_a_document_is_stored_as_its_line(store: Store) -> None:
    """Byte for byte."""
    line = b'{"a":1,"a":2, "big": 123456789012345678901234567890}'
    one = event(line=line)
    await store.insert_events(STREAM, [store.encode(one, frame())], 1.0)
    found = await store.event(STREAM, one.id)
    assert found is not None
    assert found.body == line


@pytest.mark.parametrize("id", ["a.b", "$x", "é", "a/b?c#d%20", " ", "\N{PILE OF POO}", "x" * 500, "a\0b", "'\";--"])
async def test_any_identity_can_be_stored_once(store: Store, id: str) -> None:
    """Odd characters in an identity and in key values make no difference."""
    one = event(id, keys={"store": id, "customer": id})
    assert await store.insert_events(STREAM, [store.encode(one, frame("first"))], 1.0) == set()
    assert await store.insert_events(STREAM, [store.encode(one, frame("second"))], 2.0) == {0}
    assert (await store.owners(STREAM, [id]))[id].frame == frame("first")
    assert [found.id for found in await store.events(STREAM, EventQuery(keys={"customer": id}))] == [id]


async def test_taken_identities_are_told_by_their_index_and_the_others_are_stored(store: Store) -> None:
    """In an order that mixes both; the first owner and its time stay."""
    old, new = [event() for _ in range(150)], [event() for _ in range(150)]
    await store.insert_events(STREAM, [store.encode(one, frame("first")) for one in old], 1.0)
    mixed = [one for pair in zip(new, old, strict=True) for one in pair]
    taken = await store.insert_events(STREAM, [store.encode(one, frame("second")) for one in mixed], 2.0)
    assert taken == set(range(1, 300, 2))
    owners = await store.owners(STREAM, [one.id for one in mixed])
    assert {owners[one.id].frame for one in old} == {frame("first")}
    assert {owners[one.id].frame for one in new} == {frame("second")}
    found = await store.event(STREAM, old[0].id)
    assert found is not None
    assert found.stored == 1.0


async def test_taken_identities_are_told_beside_documents_that_a_server_refuses(store: Store) -> None:
    """Falling back to the line keeps the indexes right."""
    awkward = [event(fields=fields) for fields in AWKWARD_FIELDS[:4]]
    await store.insert_events(STREAM, [store.encode(one, frame("first")) for one in awkward[:2]], 1.0)
    plain = event()
    batch = [plain, *awkward, plain]
    taken = await store.insert_events(STREAM, [store.encode(one, frame("second")) for one in batch], 2.0)
    assert taken == {1, 2, 5}
    owners = await store.owners(STREAM, [one.id for one in batch])
    assert [owners[one.id].frame for one in awkward] == [frame("first")] * 2 + [frame("second")] * 2


async def test_of_two_equal_identities_in_one_call_one_is_stored(store: Store) -> None:
    """Exactly one of the two is told as taken."""
    first = event("twice", hash="1:" + "a" * 32)
    second = dataclasses.replace(first, hash="1:" + "b" * 32)
    taken = await store.insert_events(STREAM, [store.encode(one, frame()) for one in (first, second)], 1.0)
    assert len(taken) == 1
    stays = (first, second)[1 - taken.pop()]
    assert (await store.owners(STREAM, ["twice"]))["twice"].hash == stays.hash


async def test_concurrent_inserts_of_the_same_identities_have_one_owner_each(store: Store, other: Store) -> None:
    """Several writers at once: each identity is inserted by exactly one of them."""
    events = [event() for _ in range(120)]
    frames = [frame() for _ in range(6)]
    answers = await asyncio.gather(
        *(
            where.insert_events(STREAM, [where.encode(one, owner) for one in events], 1.0)
            for where, owner in zip([store, other] * 3, frames, strict=True)
        )
    )
    owners = await store.owners(STREAM, [one.id for one in events])
    for index, one in enumerate(events):
        winners = [owner for owner, taken in zip(frames, answers, strict=True) if index not in taken]
        assert winners == [owners[one.id].frame]


async def test_nothing_to_insert_is_no_error(store: Store) -> None:
    """An empty call changes nothing."""
    assert await store.insert_events(STREAM, [], 1.0) == set()
    assert await store.owners(STREAM, []) == {}


async def test_owners_leaves_out_what_is_not_stored(store: Store) -> None:
    """Few or many, asked twice or unknown."""
    events = [event() for _ in range(60)]
    await store.insert_events(STREAM, [store.encode(one, frame("x")) for one in events], 1.0)
    wanted = [events[0].id, "unknown", events[0].id]
    assert await store.owners(STREAM, wanted) == {events[0].id: Owner(frame("x"), events[0].hash)}
    assert len(await store.owners(STREAM, [one.id for one in events] + ["unknown"])) == 60


async def test_what_one_connection_stored_another_sees(store: Store, other: Store) -> None:
    """As soon as the insert returned."""
    for _ in range(20):
        one = event()
        await store.insert_events(STREAM, [store.encode(one, frame())], 1.0)
        assert await other.event(STREAM, one.id) is not None


async def test_a_scan_gives_every_event_once(store: Store) -> None:
    """More than one batch of them."""
    events = [event() for _ in range(1_100)]
    await store.insert_events(STREAM, [store.encode(one, frame()) for one in events], 1.0)
    found = [one.id async for one in store.scan_events(STREAM)]
    assert sorted(found) == sorted(one.id for one in events)
    assert [one async for one in store.scan_events("invoices")] == []


async def test_streams_do_not_see_each_others_events(store: Store) -> None:
    """The same identity may live in both."""
    await store.prepare("invoices", ("store",))
    for stream in (STREAM, "invoices"):
        assert await store.insert_events(stream, [store.encode(event("same"), frame(stream))], 1.0) == set()
    assert (await store.owners("invoices", ["same"]))["same"].frame == frame("invoices")
    assert [one.id async for one in store.scan_events(STREAM)] == ["same"]
