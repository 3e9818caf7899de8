"""Rejected items: kept once, as they came, and listed."""

import asyncio
import dataclasses
import itertools
from typing import Any

from store import RejectedQuery, Store
from tests.integration.store.examples import STREAM, rejected


async def test_a_rejected_item_comes_back_as_it_was(store: Store) -> None:
    """Bytes that are no text included."""
    item = rejected("1")
    await store.reject([item])
    assert await store.rejected(STREAM, RejectedQuery()) == [item]


async def test_an_item_that_is_there_stays_as_it_is(store: Store) -> None:
    """Rejecting it again, also within one call, changes nothing; new ones beside it are kept."""
    item = rejected("1")
    again = dataclasses.replace(item, first_seen=2e9, detail="later")
    await store.reject([item])
    await store.reject([again, rejected("2"), rejected("2")])
    await store.reject([])
    found = await store.rejected(STREAM, RejectedQuery())
    assert [one.id for one in found] == ["2", "1"]
    assert found[1] == item


async def test_concurrent_rejections_of_one_item_keep_one(store: Store, other: Store) -> None:
    """And none of them fails."""
    await asyncio.gather(*(where.reject([rejected("1"), rejected("2")]) for where in [store, other] * 3))
    assert [one.id for one in await store.rejected(STREAM, RejectedQuery())] == ["2", "1"]


async def _pages(store: Store, **conditions: Any) -> list[str]:
    """The ids of all pages of two items."""
    ids: list[str] = []
    while page := await store.rejected(STREAM, RejectedQuery(limit=2, after=ids[-1] if ids else None, **conditions)):
        assert len(page) <= 2
        ids += [one.id for one in page]
    return ids


async def test_rejected_items_are_listed_newest_first(store: Store) -> None:
    """Page by page, by every combination of reason and time, without those of another stream."""
    reasons, moments = ("invalid", "conflict"), (1000.0, 1000.5, 2000.0)
    items = [
        rejected(f"{n}{reason}{moment}", reason=reason, first_seen=moment)
        for n in range(2)
        for reason in reasons
        for moment in moments
    ]
    await store.reject([*items, rejected("other", stream="invoices")])
    items.sort(key=lambda one: (one.first_seen, one.id), reverse=True)
    assert await _pages(store) == [one.id for one in items]
    for reason, since, before in itertools.product((*reasons, None), (*moments, None), (*moments, 3000.0, None)):
        assert await _pages(store, reason=reason, since=since, before=before) == [
            one.id
            for one in items
            if reason in (one.reason, None)
            and (since is None or since <= one.first_seen)
            and (before is None or one.first_seen < before)
        ]


async def test_behind_an_item_that_is_not_there_is_nothing(store: Store) -> None:
    """Also where it is there in another stream; one that does not meet the conditions is a place all the same."""
    await store.reject([rejected(name, reason=name, first_seen=ord(name)) for name in "abc"])
    await store.reject([rejected("x", stream="invoices", first_seen=5000.0)])
    for unknown in ("nobody", "x", ""):
        assert await store.rejected(STREAM, RejectedQuery(after=unknown)) == []
    assert [one.id for one in await store.rejected(STREAM, RejectedQuery(after="b", reason="a"))] == ["a"]
    assert await store.rejected(STREAM, RejectedQuery(after="b", reason="c")) == []


async def test_one_rejected_item_can_be_read(store: Store) -> None:
    """By its id, in its stream; else None."""
    item = rejected("1")
    await store.reject([item, rejected("2", stream="invoices")])
    assert await store.rejected_item(STREAM, "1") == item
    assert await store.rejected_item(STREAM, "2") is None
    assert await store.rejected_item(STREAM, "3") is None


async def test_rejected_items_are_counted_by_reason(store: Store) -> None:
    """Nothing rejected is an empty answer."""
    assert await store.rejected_count(STREAM) == {}
    reasons = ["invalid", "conflict", "invalid", "undecodable"]
    await store.reject([rejected(str(n), reason=reason) for n, reason in enumerate(reasons)])
    await store.reject([rejected("x", stream="invoices")])
    assert await store.rejected_count(STREAM) == {"invalid": 2, "conflict": 1, "undecodable": 1}
