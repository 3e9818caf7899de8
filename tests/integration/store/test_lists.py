"""Lists of events: newest first, page by page, by every condition together with every other."""

import itertools
from typing import Any

import pytest

from store import EventQuery, Store
from streams.base import Event
from tests.integration.store.examples import DAY, KEY_NAMES, STREAM, event, frame

#: Names that are easily taken for one another, or for the marks between them.
AWKWARD_NAMES = [
    "",
    " ",
    "Pain",
    "pain",
    "Pain ",
    "Pai",
    "Pain\n",
    "\nPain",
    "\n",
    "\\",
    "\\n",
    "\\\n",
    "\\\\n",
    "a\nb",
    "\0",
    "\\0",
    "a\0",
    "a\0b",
    "%",
    "_",
    "*",
    '"',
    "','",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{PILE OF POO}",
    "$gt",
    "a.b",
    "x" * 256,
]


async def keep(store: Store, *events: Event) -> None:
    """Store events."""
    assert await store.insert_events(STREAM, [store.encode(one, frame()) for one in events], 1.0) == set()


def newest_first(events: list[Event]) -> list[str]:
    """Ids in the order of lists."""
    return [one.id for one in sorted(events, key=lambda one: (one.day, one.time, one.id), reverse=True)]


async def pages(store: Store, size: int = 7, **conditions: Any) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    while page := await store.events(STREAM, EventQuery(limit=size, after=ids[-1] if ids else None, **conditions)):
        assert len(page) <= size
        ids += [one.id for one in page]
    return ids


async def test_events_are_listed_newest_first(store: Store) -> None:
    """By day, then by their own time, then by id, however small the pages; the day comes before the time."""
    events = [
        event(f"{id}{day}{time}", day=day, time=time)
        for id in "bca"
        for day, time in [(DAY, 100.0), (DAY, 9.5), (DAY, 0.0), ("2026-11-20", 150.0), ("2026-11-22", -5.0)]
    ]
    await keep(store, *events)
    for size in (1, 2, 100):
        assert await pages(store, size) == newest_first(events)
        assert await pages(store, size, day=DAY) == newest_first([one for one in events if one.day == DAY])
    assert (await store.events(STREAM, EventQuery(limit=1)))[0].id == "c2026-11-22-5.0"


async def test_every_condition_combines_with_every_other(store: Store) -> None:
    """Day, keys, category and amounts."""
    days, shops, customers = (DAY, "2026-11-22"), ("1", "2"), ("x.y", "$z", None)
    kinds = [((), -5_0000), (("Pain",), 0), (("Pain", "Menu"), 12_3400), (("Menu",), 2**40)]
    events = [
        event(
            day=day,
            time=float(number % 3),
            keys={"store": shop, "customer": customer} if customer else {"store": shop},
            categories=categories,
            amount=amount,
        )
        for number, (day, shop, customer, (categories, amount)) in enumerate(
            itertools.product(days, shops, customers, kinds)
        )
    ]
    await keep(store, *events)
    bounds = [(None, None), (-5_0000, 0), (1, None), (None, 12_3400), (12_3400, 12_3400), (1, 0)]
    for day, shop, customer, category, (low, high) in itertools.product(
        (DAY, None), ("1", None), ("$z", None), ("Pain", "nobody's", None), bounds
    ):
        keys = {name: value for name, value in zip(KEY_NAMES, (shop, customer), strict=True) if value}
        wanted = [
            one
            for one in events
            if day in (one.day, None)
            and keys.items() <= dict(one.keys).items()
            and (category is None or category in one.categories)
            and (low is None or low <= one.amount)
            and (high is None or one.amount <= high)
        ]
        found = await pages(store, day=day, keys=keys, category=category, at_least=low, at_most=high)
        assert found == newest_first(wanted)


async def test_conditions_that_nothing_meets_give_an_empty_page(store: Store) -> None:
    """Also a key that no event has."""
    await keep(store, event())
    for conditions in ({"keys": {"store": "unknown"}}, {"keys": {"nosuchkey": "1"}}, {"day": "2027-01-01"}):
        assert await pages(store, **conditions) == []


async def test_a_category_is_found_by_exactly_its_name(store: Store) -> None:
    """Names may hold anything; alone, at an end, or between others."""
    names = AWKWARD_NAMES
    events = [event(f"alone {n}", categories=[name]) for n, name in enumerate(names)]
    events += [event(f"among {n}", categories=[*names[n + 1 :], name, *names[:n]][::3]) for n, name in enumerate(names)]
    events.append(event("none", categories=[]))
    await keep(store, *events)
    for name in names:
        found = await pages(store, 1000, category=name)
        assert found == newest_first([one for one in events if name in one.categories]), repr(name)
    for one in events:
        stored = await store.event(STREAM, one.id)
        assert stored is not None
        assert stored.categories == one.categories


@pytest.mark.parametrize("line", [None, b'{"cashReceiptID":1,"u":1e999}'])
async def test_an_event_that_is_stored_as_its_line_is_found_as_well(store: Store, line: bytes | None) -> None:
    """What people look for stands beside the event, whatever its own form."""
    await keep(store, event("x", line=line, categories=["Pain"], amount=7))
    query = EventQuery(day=DAY, keys={"store": "612"}, category="Pain", at_least=7, at_most=7)
    assert [one.id for one in await store.events(STREAM, query)] == ["x"]


async def test_amounts_are_compared_as_numbers(store: Store) -> None:
    """Beyond 32 bits and below zero, both bounds included."""
    amounts = [-(10**13), -1, 0, 1, 2**31, 2**31 + 1, 10**13]
    await keep(store, *(event(str(amount), amount=amount) for amount in amounts))
    for low, high in itertools.combinations_with_replacement(amounts, 2):
        found = await pages(store, at_least=low, at_most=high)
        assert sorted(map(int, found)) == [amount for amount in amounts if low <= amount <= high]


async def test_a_list_goes_on_behind_any_event_that_is_stored(store: Store) -> None:
    """It need not meet the conditions; behind one that is not stored there is nothing."""
    events = [event(f"{day}{n}", day=day, time=float(n)) for day in ("2026-11-20", DAY, "2026-11-22") for n in range(3)]
    await keep(store, *events)
    for day in (DAY, None):
        for place in events:
            behind = [one for one in events if (one.day, one.time) < (place.day, place.time) and day in (one.day, None)]
            found = await store.events(STREAM, EventQuery(after=place.id, day=day))
            assert [one.id for one in found] == newest_first(behind)
    for unknown in ("nobody", ""):
        assert await store.events(STREAM, EventQuery(after=unknown)) == []
        assert await store.events(STREAM, EventQuery(after=unknown, day=DAY)) == []


async def test_pages_stay_in_step_while_events_arrive(store: Store) -> None:
    """What is new stands before the pages that were read, or behind them: nothing is shown twice."""
    events = [event(f"{n}", time=float(n)) for n in range(6)]
    await keep(store, *events[::2])
    first = await store.events(STREAM, EventQuery(limit=2))
    assert [one.id for one in first] == ["4", "2"]
    await keep(store, *events[1::2])
    assert [one.id for one in await store.events(STREAM, EventQuery(after="2"))] == ["1", "0"]


async def test_a_page_of_large_events_ends_before_its_limit_and_says_that_there_is_more(store: Store) -> None:
    """At 8 MiB, with at least one event; the pages together hold every event once."""
    sizes = [3, 3, 3, 9, 1, 1, 1, 1, 9, 9, 1]
    events = [event(f"{n:02}", time=float(n), fields={"x": "y" * size * 1024**2}) for n, size in enumerate(sizes)]
    for one in events:
        await keep(store, one)
    pages, after = [], None
    while True:
        page = await store.events(STREAM, EventQuery(limit=6, after=after))
        pages.append([len(one.body) // 1024**2 for one in page])
        if not page.more:
            break
        after = page[-1].id
    assert pages == [[1], [9], [9], [1, 1, 1, 1], [9], [3, 3], [3]]


async def test_the_last_page_is_the_one_that_says_so(store: Store) -> None:
    """Not a short one; also where conditions are looked at on the way, and where nothing is."""
    await keep(store, *(event(f"{n}", time=float(n), amount=n) for n in range(4)))
    for limit, more in ((3, True), (4, False), (5, False)):
        for conditions in ({}, {"at_least": 0}, {"day": DAY}, {"category": "Pain"}):
            page = await store.events(STREAM, EventQuery(limit=limit, **conditions))
            assert (len(page), page.more) == (min(limit, 4), more)
    assert (await store.events(STREAM, EventQuery(limit=1, at_least=3))).more is False
    assert (await store.events(STREAM, EventQuery(keys={"store": "nobody"}))).more is False
