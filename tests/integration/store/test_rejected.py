"""Rejected items: kept once, as they came, and listed."""

import asyncio
import dataclasses

from store import Store
from tests.integration.store.examples import STREAM, rejected


async def test_a_rejected_item_comes_back_as_it_was(store: Store) -> None:
    """Bytes that are no text included."""
    item = rejected("1")
    await store.reject([item])
    assert await store.rejected(STREAM) == [item]


async def test_an_item_that_is_there_stays_as_it_is(store: Store) -> None:
    """Rejecting it again, also within one call, changes nothing; new ones beside it are kept."""
    item = rejected("1")
    again = dataclasses.replace(item, first_seen=2e9, detail="later")
    await store.reject([item])
    await store.reject([again, rejected("2"), rejected("2")])
    await store.reject([])
    found = await store.rejected(STREAM)
    assert found[0] == item
    assert [one.id for one in found] == ["1", "2"]


async def test_concurrent_rejections_of_one_item_keep_one(store: Store, other: Store) -> None:
    """And none of them fails."""
    await asyncio.gather(*(where.reject([rejected("1"), rejected("2")]) for where in [store, other] * 3))
    assert [one.id for one in await store.rejected(STREAM)] == ["1", "2"]


async def test_rejected_items_are_paged_in_order(store: Store) -> None:
    """Without those of another stream."""
    names = ["a", "b", "c", "d", "e"]
    await store.reject([rejected(name) for name in reversed(names)] + [rejected("bb", stream="invoices")])
    assert [one.id for one in await store.rejected(STREAM, limit=2)] == ["a", "b"]
    assert [one.id for one in await store.rejected(STREAM, after="b", limit=2)] == ["c", "d"]
    assert [one.id for one in await store.rejected(STREAM, after="d", limit=2)] == ["e"]
    assert await store.rejected(STREAM, after="e") == []


async def test_rejected_items_are_counted_by_reason(store: Store) -> None:
    """Nothing rejected is an empty answer."""
    assert await store.rejected_count(STREAM) == {}
    reasons = ["invalid", "conflict", "invalid", "undecodable"]
    await store.reject([rejected(str(n), reason=reason) for n, reason in enumerate(reasons)])
    await store.reject([rejected("x", stream="invoices")])
    assert await store.rejected_count(STREAM) == {"invalid": 2, "conflict": 1, "undecodable": 1}
