"""Writes that a store refuses for good: a class of their own, and nobody else's write suffers."""

import asyncio
import dataclasses

import pytest

from store import RejectedQuery, Store, StoreRefusedError
from tests.integration.store.examples import STREAM, entry, event, frame, rejected

#: Many large ids: more bytes than a query of MongoDB may have.
LARGE_IDS = ["\N{CROISSANT}" * 15_000 + str(n) for n in range(300)]


async def test_a_ledger_entry_that_has_no_form_in_the_store_is_refused(store: Store) -> None:
    """Its neighbours are appended by a call of their own."""
    good, bad = entry("w", 1), entry("w", 2**70)
    with pytest.raises(StoreRefusedError):
        await store.append([bad])
    assert await store.append([good]) == 1
    assert await store.ledger_after(STREAM, {}) == [good]


async def test_a_rejected_item_that_cannot_be_encoded_is_refused(store: Store) -> None:
    """While it is refused, another caller's item is kept."""
    bad = dataclasses.replace(rejected("bad"), detail="\ud800")
    results = await asyncio.gather(store.reject([bad]), store.reject([rejected("good")]), return_exceptions=True)
    assert isinstance(results[0], StoreRefusedError)
    assert results[1] is None
    assert [one.id for one in await store.rejected(STREAM, RejectedQuery())] == ["good"]


async def test_owners_of_ids_of_any_size_are_read(store: Store) -> None:
    """A list of ids that is larger than a query may be is cut into several."""
    events = [event(id) for id in LARGE_IDS]
    assert await store.insert_events(STREAM, [store.encode(one, frame("a")) for one in events], 1.0) == set()
    again = [store.encode(one, frame("b")) for one in events]
    assert await store.insert_events(STREAM, again, 2.0) == set(range(len(events)))
    owners = await store.owners(STREAM, LARGE_IDS)
    assert owners.keys() == set(LARGE_IDS)
    assert {owner.frame for owner in owners.values()} == {frame("a")}


async def test_a_call_may_hold_more_events_than_a_message_of_the_server(store: Store) -> None:
    """60 events of a MiB: MongoDB's messages end at 48 MB."""
    events = [store.encode(event(str(n), fields={"x": "y" * 1024**2}), frame()) for n in range(60)]
    assert await store.insert_events(STREAM, events, 1.0) == set()
    assert (await store.owners(STREAM, [str(n) for n in range(60)])).keys() == {str(n) for n in range(60)}
