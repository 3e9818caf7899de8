"""Rejected items: kept once, as they came, and listed."""

import asyncio
import dataclasses
import itertools
from typing import Any

from store import Rejected, RejectedQuery, RejectedStep, Store
from tests.integration.store.examples import STREAM, frame, rejected


async def test_a_rejected_item_comes_back_as_it_was(store: Store) -> None:
    """Bytes that are no text included; lists have it without its bytes, and say how many there are."""
    item = rejected("1")
    await store.reject([item])
    assert await store.rejected_item(STREAM, "1") == item
    assert await store.rejected(STREAM, RejectedQuery()) == [item.summary()]
    assert item.summary().size == len(item.body)


async def test_an_item_that_is_there_stays_as_it_is(store: Store) -> None:
    """Rejecting it again, also within one call, changes nothing; new ones beside it are kept."""
    item = rejected("1")
    again = dataclasses.replace(item, first_seen=2e9, detail="later")
    await store.reject([item])
    await store.reject([again, rejected("2"), rejected("2")])
    await store.reject([])
    found = await store.rejected(STREAM, RejectedQuery())
    assert [one.id for one in found] == ["2", "1"]
    assert found[1] == item.summary()


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


def step(item: Rejected, what: str, frame: str = "", at: float = 2000.0, note: str = "") -> RejectedStep:
    """Something that happened to an item."""
    return RejectedStep(item=item.id, stream=item.stream, what=what, at=at, frame=frame, note=note)


async def test_what_happened_to_an_item_is_kept_with_it(store: Store) -> None:
    """In the order of time, each step once, and the first word counts."""
    one, two = rejected("1"), rejected("2")
    await store.reject([one, two])
    first = [step(one, "replayed", "f1", 2000.5), step(one, "again", "f1", 2001.0), step(one, "replayed", "f2", 2002.0)]
    await store.note([first[2], first[0]])
    await store.note([first[1], first[0], step(one, "replayed", "f1", 3000.0, "later")])
    await store.note([step(two, "discarded", note="not ours \0 é")])
    await store.note([step(two, "discarded", note="said twice"), step(one, "again", "f1", 9.0)])
    await store.note([])
    found = {item.id: item for item in await store.rejected(STREAM, RejectedQuery())}
    assert found["1"] == dataclasses.replace(one.summary(), steps=tuple(first))
    assert found["2"].steps == (step(two, "discarded", note="not ours \0 é"),)
    assert await store.rejected_item(STREAM, "1") == dataclasses.replace(one, steps=tuple(first))
    assert [found[id].status for id in "12"] == ["replayed", "discarded"]


async def test_a_replayed_item_that_is_rejected_again_is_open(store: Store) -> None:
    """Whichever of the two is noted first; by its own frame and by no other; the first rejection is none of it."""
    item, source, replay = rejected("1"), frame(), frame()
    item = dataclasses.replace(item, source=source)

    async def status() -> str:
        found = await store.rejected_item(STREAM, "1")
        assert found is not None
        assert (found.source, found.first_seen) == (source, item.first_seen)
        return found.status

    await store.reject([item])
    assert await status() == "open"
    await store.note([step(item, "replayed", replay)])
    await store.reject([item])  # the flush that rejected it first, once more
    await store.reject([dataclasses.replace(item, source=frame(), first_seen=3000.0)])
    assert await status() == "replayed"
    await store.reject([dataclasses.replace(item, source=replay, first_seen=3000.0), rejected("2")])
    assert await status() == "open"
    early = frame()
    await store.reject([dataclasses.replace(item, source=early), dataclasses.replace(item, source=early)])
    await store.note([step(item, "replayed", early)])
    assert await status() == "open"
    found = await store.rejected_item(STREAM, "1")
    assert found is not None
    assert sorted((one.what, one.frame) for one in found.steps if one.frame in (replay, early)) == sorted(
        [("replayed", replay), ("again", replay), ("again", early), ("replayed", early)]
    )


async def test_rejected_again_in_the_same_call_is_noted(store: Store) -> None:
    """A flush may hold the same line in two frames."""
    one, other = rejected("1"), rejected("1")
    await store.reject([one, other])
    found = await store.rejected_item(STREAM, "1")
    assert found is not None
    assert {found.source, *(each.frame for each in found.steps)} == {one.source, other.source}
    assert [each.what for each in found.steps] == ["again"]


async def test_rejections_and_notes_at_once_lose_nothing(store: Store, other: Store) -> None:
    """A worker that rejects an item again while people replay and discard it: every step is there afterwards."""
    item = rejected("1")
    await store.reject([item])
    frames = [frame() for _ in range(12)]
    await asyncio.gather(
        *(store.note([step(item, "replayed", one)]) for one in frames),
        *(other.reject([dataclasses.replace(item, source=one)]) for one in frames),
        *(where.note([step(item, "discarded")]) for where in (store, other)),
    )
    found = await other.rejected_item(STREAM, "1")
    assert found is not None
    assert sorted((one.what, one.frame) for one in found.steps) == sorted(
        [("discarded", ""), *((what, one) for one in frames for what in ("replayed", "again"))]
    )


async def test_rejected_items_are_listed_and_counted_by_status(store: Store) -> None:
    """Page by page, together with the other conditions."""
    reasons = ("invalid", "conflict")
    items = [
        rejected(f"{number}{reason}", reason=reason, first_seen=1000.0 + number)
        for number in range(4)
        for reason in reasons
    ]
    await store.reject([*items, rejected("other", stream="invoices")])
    expected: dict[str, list[Rejected]] = {"open": [], "replayed": [], "discarded": []}
    for number, item in enumerate(items):
        match number % 4:
            case 0:
                await store.note([step(item, "replayed", frame("r")), step(item, "again", frame("a"))])
                expected["replayed"].append(item)
            case 1:
                await store.note([step(item, "replayed", frame("r")), step(item, "discarded")])
                expected["discarded"].append(item)
            case 2:
                await store.note([step(item, "replayed", frame("r")), step(item, "again", frame("r"))])
                expected["open"].append(item)
            case _:
                expected["open"].append(item)
    for status, some in expected.items():
        some.sort(key=lambda one: (one.first_seen, one.id), reverse=True)
        assert await _pages(store, status=status) == [one.id for one in some]
        for reason in reasons:
            same = [one.id for one in some if one.reason == reason]
            assert await _pages(store, status=status, reason=reason, since=1000.0, before=2000.0) == same
            assert (await store.rejected_count(STREAM, status)).get(reason, 0) == len(same)
    assert await store.rejected_count(STREAM) == {"invalid": 4, "conflict": 4}
    assert await store.rejected_count("invoices", "open") == {"invalid": 1}
    assert await store.rejected_count("invoices", "replayed") == {}


async def test_a_page_of_rejected_items_says_whether_there_is_more(store: Store) -> None:
    """Also where most items are of another status than the one asked for."""
    await store.reject([rejected(str(n), first_seen=float(n)) for n in range(4)])
    await store.note([RejectedStep(item=n, stream=STREAM, what="discarded", at=1.0) for n in ("0", "2")])
    for status, count in ((None, 4), ("open", 2), ("discarded", 2)):
        for limit in (1, 2, 4, 5):
            page = await store.rejected(STREAM, RejectedQuery(status=status, limit=limit))
            assert (len(page), page.more) == (min(limit, count), limit < count)


async def test_a_list_of_rejected_items_reads_no_bodies(store: Store) -> None:
    """Forty of a megabyte are one short page; each says its size."""
    for n in range(40):
        await store.reject([rejected(f"{n:02}", body=bytes(1024**2))])
    page = await store.rejected(STREAM, RejectedQuery(limit=40))
    assert [one.size for one in page] == [1024**2] * 40
    assert not any(hasattr(one, "body") for one in page)
