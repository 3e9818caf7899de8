"""A store's own day, added up from stored receipts: what is read, and how often."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import dashboard.store_day
import store as stores
from dashboard.formats import Formats
from dashboard.reading import REST, REST_AFTER_FAILURE, Reading
from dashboard.store_day import EVERY_SECONDS, StoreDays, read_store_day
from dashboard.store_view import CLOSES, MOST_LINES, OPENS, hours, store_details
from dashboard.stored import Stored
from store.errors import StoreUnavailableError
from store.protocol import Store
from streams import ReceiptStream
from tests.support import eventually
from tests.unit.dashboard.said import DAY, PARIS, Clock, feed_of, moment_of
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(PARIS)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty embedded store."""
    opened = await stores.connect(f"sqlite:{tmp_path}/store.db")
    await opened.prepare(STREAM.name, STREAM.key_names)
    yield opened
    await opened.close()


async def keep(store: Store, number: int, **fields: Any) -> None:
    """Store a receipt of store 612, received at 13:00 and stored two seconds later."""
    made = {**receipt(), "date": f"{DAY} 11:06:40", "cashReceiptID": number, **fields}
    event = STREAM.parse(STREAM.accept(json.dumps(made).encode(), 1795262400.0))
    taken = await store.insert_events(STREAM.name, [store.encode(event, f"{number:032x}")], 1795262402.0)
    assert taken == set()


async def test_a_day_is_what_its_receipts_add_up_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts of other stores and days do not count; pages of the store are added up; the newest are kept."""
    monkeypatch.setattr(dashboard.store_day, "PAGE", 5)
    for number in range(12):
        await keep(store, number, date=f"{DAY} {8 + number // 2:02}:30:00")
    await keep(store, 100, storeID=613)
    await keep(store, 101, date="2026-11-20 08:00:00")
    day = await read_store_day(Stored(store, STREAM), DAY, "612", epoch=lambda: 1795261200.0)
    assert (day.count, day.complete, day.before) == (12, True, None)
    assert day.tally.row("total", "", 2) == [12 * 26_5300, 12]
    assert day.tally.row("categories", "Pain", 3) == [12 * 2_4100, 12 * 2_0000, 12]
    assert [event.keys["receipt"] for event in day.newest] == [
        str(number) for number in (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
    ]

    shown = store_details(day, moment_of(feed_of()))
    assert [(row.hour, row.receipts) for row in shown.hours if row.height] == [
        (hour, "2 receipts") for hour in range(8, 14)
    ]
    assert (shown.hours[0].hour, shown.hours[-1].hour) == (OPENS, CLOSES)
    assert [(row.name, row.amount, row.share, row.detail) for row in shown.categories] == [
        ("Menu", "289.44", "90.9%", "36 sold"),
        ("Pain", "28.92", "9.1%", "24 sold"),
    ]
    assert [(row.name, row.amount, row.detail) for row in shown.payments] == [
        ("CB", "240.00", "12 payments"),
        ("Especes", "78.36", "12 payments"),
    ]
    assert (shown.newest[0].time, shown.newest[0].amount, shown.newest[0].terminal) == ("13:30:00", "26.53", "3")
    assert shown.note == "Read from the stored receipts at 12:40:00."


async def test_a_day_without_receipts_tells_of_the_last_one(store: Store) -> None:
    """A store that is only closed today is something else than one that nobody ever heard of."""
    await keep(store, 1, date="2026-11-19 08:00:00")
    stored = Stored(store, STREAM)
    closed = await read_store_day(stored, DAY, "612")
    assert closed.count == 0
    assert closed.before is not None
    assert closed.before.day == "2026-11-19"
    assert (await read_store_day(stored, DAY, "nobody")).before is None


async def test_an_endless_day_is_cut_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More receipts than a page can add up are not all read."""
    monkeypatch.setattr(dashboard.store_day, "PAGE", 2)
    for number in range(7):
        await keep(store, number)
    day = await read_store_day(Stored(store, STREAM), DAY, "612", most=4)
    assert (day.count, day.complete) == (4, False)
    assert "only the newest 4 receipts" in store_details(day, moment_of(feed_of())).note


async def test_a_store_that_sold_of_everything_has_a_bounded_page(store: Store) -> None:
    """Categories beyond the limit share a line; returns and hours at night have their place."""
    lines = [{**receipt()["lines"][0], "productCategoryName": f"c{n:02}", "settlementAmount": n} for n in range(1, 31)]
    await keep(store, 1, lines=lines, date=f"{DAY} 23:59:59")
    await keep(store, 2, date=f"{DAY} 00:00:00", documentTotal={"taxPayable": 0, "netTotal": -5, "grossTotal": -5})
    day = await read_store_day(Stored(store, STREAM), DAY, "612")
    shown = store_details(day, moment_of(feed_of()))
    assert len(shown.categories) == MOST_LINES
    assert (shown.categories[-1].name, shown.categories[-1].rest) == ("21 others", True)
    assert [row.hour for row in shown.hours] == list(range(24))
    assert (shown.hours[0].height, shown.hours[0].revenue) == (0.0, "-€5.00")
    assert shown.hours[23].height == 100.0
    assert hours(day.tally.__class__(), Formats()) == ()


async def test_a_day_is_read_once_for_all_and_again_when_it_changed(store: Store) -> None:
    """Twenty looks are one reading; the next comes when the totals count more, and not before its time."""
    await keep(store, 1)
    clock = Clock()
    days = StoreDays(Stored(store, STREAM), clock=clock)
    readings = {id(days.look(DAY, "612", 1)) for _ in range(20)}
    assert len(readings) == 1
    reading = days.look(DAY, "612", 1)
    await eventually(lambda: reading.latest)
    first = reading.latest
    await keep(store, 2)
    clock.now += 3600
    assert not days.look(DAY, "612", 1).reading, "read although nothing changed"
    days.look(DAY, "612", 2)
    await eventually(lambda: reading.latest is not first)
    assert reading.latest is not None
    assert reading.latest.count == 2
    await keep(store, 3)
    clock.now += EVERY_SECONDS - 0.1
    assert not days.look(DAY, "612", 3).reading, "read again too early"
    clock.now += 0.2
    assert days.look(DAY, "612", 3).reading
    await eventually(lambda: getattr(reading.latest, "count", 0) == 3)
    await days.close()


async def test_what_takes_long_is_read_rarely() -> None:
    """After a slow reading comes a long rest, so that all of it is a small part of the time."""
    clock, begun = Clock(), asyncio.Event()

    async def slow() -> int:
        clock.now += 2.0
        begun.set()
        return 1

    reading = Reading("something", slow, every_seconds=5.0, clock=clock)
    assert reading.look()
    await eventually(lambda: reading.latest)
    await eventually(lambda: not reading.reading)
    clock.now += REST * 2.0 - 0.1
    assert not reading.look()
    clock.now += 0.2
    assert reading.look()
    await reading.close()


async def test_news_are_read_before_their_time() -> None:
    """Who knows that something changed does not wait for the next turn, but for the rest."""
    clock = Clock()

    async def quick() -> float:
        clock.now += 0.1
        return clock.now

    reading = Reading("something", quick, every_seconds=60.0, clock=clock)
    assert reading.look(news=0)
    await eventually(lambda: reading.latest and not reading.reading)
    clock.now += REST * 0.1 - 0.05
    assert not reading.look(news=1), "no rest"
    clock.now += 0.1
    assert not reading.look(news=0), "read although nothing is new"
    assert reading.look(news=1)
    await eventually(lambda: not reading.reading)
    clock.now += 10.0
    assert not reading.look(news=1)
    await reading.close()


async def test_a_reading_that_fails_keeps_what_was_read() -> None:
    """The page says that the store does not answer, goes on showing what it has, and recovers."""
    clock = Clock()
    answers = iter((1, StoreUnavailableError("no answer"), RuntimeError("a defect"), 2))

    async def moody() -> int:
        answer = next(answers)
        if isinstance(answer, int):
            return answer
        raise answer

    reading = Reading("something", moody, every_seconds=5.0, clock=clock)
    seen = []
    for _ in range(4):
        assert reading.look()
        await eventually(lambda: not reading.reading)
        seen.append((reading.latest, reading.error))
        clock.now += 6
    assert seen == [(1, ""), (1, "no answer"), (1, "the log of the dashboard says why"), (2, "")]


class Silent:
    """A store that can be silent, or away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.answers, self.away = asyncio.Event(), False

    async def events(self, *asked: Any) -> Any:
        await self.answers.wait()
        if self.away:
            raise StoreUnavailableError("away")
        return await self._store.events(*asked)


async def test_a_store_that_is_silent_keeps_nobody_waiting_for_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks is told soon, however many others look; and nothing is kept of those who did, once it is over."""
    monkeypatch.setattr(dashboard.store_day, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(dashboard.store_day, "MOST_STORES", 20)
    silent = Silent(store)
    days = StoreDays(Stored(silent, STREAM))  # type: ignore[arg-type]  # as much of a store as is asked
    readings = [days.look(DAY, f"s{number}", 1) for number in range(100)]
    await eventually(lambda: all("other stores" in reading.error for reading in readings[1:]))
    days.look(DAY, "612", 1)
    assert len(days._readings) <= 21
    await days.close()


async def test_a_reading_that_failed_is_tried_again_though_nothing_changed(store: Store) -> None:
    """The last receipt of the day may be the one that could not be read; and soon, however long the failure took."""
    clock = Clock()
    await keep(store, 1)
    silent = Silent(store)
    silent.answers.set()
    days = StoreDays(Stored(silent, STREAM), clock=clock)  # type: ignore[arg-type]  # as above
    reading = days.look(DAY, "612", 1)
    await eventually(lambda: reading.latest)
    clock.now += 3600
    silent.away = True
    silent.answers.clear()
    days.look(DAY, "612", 2)
    assert reading.reading
    await asyncio.sleep(0)
    clock.now += 30
    silent.answers.set()
    await eventually(lambda: reading.error)
    silent.away = False
    await keep(store, 2)
    clock.now += REST_AFTER_FAILURE + 1
    assert days.look(DAY, "612", 2).reading
    await eventually(lambda: getattr(reading.latest, "count", 0) == 2 and not reading.error)
    await days.close()
