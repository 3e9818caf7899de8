"""Days past, read from a store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import store as stores
from dashboard import history as history_module
from dashboard.history import History, days_before
from store.errors import StoreUnavailableError
from store.protocol import Store
from streams import ReceiptStream
from tests.support import eventually
from tests.unit.dashboard.days import keep_day
from tests.unit.dashboard.said import Clock, body, count, feed_of, minutes

DAY, BEFORE, A_WEEK_BEFORE = "2026-11-21", "2026-11-20", "2026-11-14"


class Away:
    """A store that can be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreUnavailableError("away")
        return getattr(self._store, name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Any]:
    """A store that knows three days."""
    opened = await stores.connect(f"sqlite:{tmp_path}/store.db")
    stream = ReceiptStream(ZoneInfo("UTC"))
    await opened.prepare(stream.name, stream.key_names)
    await keep_day(opened, DAY, {"08:00": (3.5, 2)})
    await keep_day(opened, BEFORE, {"08:00": (12.25, 1), "20:00": (7.75, 1)})
    yield Away(opened)
    await opened.close()


@contextlib.asynccontextmanager
async def keeping(history: History) -> AsyncIterator[None]:
    """Reads meanwhile."""
    task = asyncio.create_task(history.keep())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "LOOK_SECONDS", 0.01)


async def test_today_and_the_days_that_it_is_compared_with_are_read(store: Any) -> None:
    """As soon as the totals name a day; a day without receipts is known to have none."""
    feed = feed_of()
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    async with keeping(history):
        feed.take(*count(3.5, 2))
        await eventually(lambda: len(history.latest.days) == 3)
    past = history.latest
    assert not past.failing
    assert past.days[DAY].minutes["08:00"].count == 2
    yesterday, week = past.before(DAY, 1), past.before(DAY, 7)
    assert yesterday is not None
    assert {minute: str(row.sum) for minute, row in yesterday.minutes.items()} == {"08:00": "12.25", "20:00": "7.75"}
    assert week is not None
    assert week.count == 0


async def test_a_store_that_is_away_is_said_and_asked_again(store: Any) -> None:
    """What was read stays; when the store is back it is read, and late receipts are seen in time."""
    clock = Clock()
    feed = feed_of(count(3.5, 2), clock=clock)
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    store.away = True
    async with keeping(history):
        await eventually(lambda: history.latest.failing)
        assert history.latest.days == {}
        store.away = False
        clock.now += 60
        await eventually(lambda: len(history.latest.days) == 3 and not history.latest.failing)
        store.away = True
        clock.now += history_module.AGAIN_SECONDS
        await eventually(lambda: history.latest.failing)
        assert len(history.latest.days) == 3
        store.away = False
        await keep_day(store, BEFORE, {"09:00": (1.0, 1)})
        clock.now += 60
        await eventually(lambda: "09:00" in history.latest.days[BEFORE].minutes)


async def test_messages_that_were_missed_are_read_from_the_store(store: Any) -> None:
    """At once, however lately it was read: what is heard after a lost connection does not say what it missed."""

    def heard(as_of: float, *, complete: bool) -> None:
        said = body(1, as_of=as_of, received={}, own={}, complete=complete)
        feed.take("metrics", "receipts.minutes", said)

    feed = feed_of(count(3.5, 2))
    heard(100.0, complete=True)
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    async with keeping(history):
        await eventually(lambda: len(history.latest.days) == 3)
        await keep_day(store, DAY, {"09:00": (1.0, 1)})
        heard(101.0, complete=False)
        heard(130.0, complete=False)
        await eventually(lambda: "09:00" in history.latest.days[DAY].minutes)


async def test_a_new_day_moves_all_of_them(store: Any) -> None:
    """At midnight yesterday is what was today, and days that nothing is compared with any more are forgotten."""
    feed = feed_of(count(3.5, 2), minutes({"08:00": 2}, complete=True))
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    async with keeping(history):
        await eventually(lambda: len(history.latest.days) == 3)
        feed.take(*count(0, 0, day="2026-11-22"))
        await eventually(lambda: set(history.latest.days) == {"2026-11-22", DAY, "2026-11-15"})
    yesterday = history.latest.before("2026-11-22", 1)
    assert yesterday is not None
    assert yesterday.count == 2


async def test_days_are_read_again_after_a_restore(store: Any) -> None:
    """A new epoch means another store, or an earlier state of it: all days are read anew, however lately that was."""
    feed = feed_of(("count", "receipts", body(sum=3.5, count=2, epoch="a", as_of=100.0)))
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    async with keeping(history):
        await eventually(lambda: len(history.latest.days) == 3)
        await keep_day(store, BEFORE, {"09:00": (1.0, 1)})
        feed.take("count", "receipts", body(sum=3.5, count=2, epoch="b", as_of=101.0))
        await eventually(lambda: BEFORE in history.latest.days and "09:00" in history.latest.days[BEFORE].minutes)


async def test_what_is_no_date_is_compared_with_nothing(store: Any) -> None:
    """An odd day in a message ends nothing."""
    feed = feed_of(count(1, 1, day="someday"))
    history = History(store, ReceiptStream(ZoneInfo("UTC")), feed)
    async with keeping(history):
        await eventually(lambda: "someday" in history.latest.days)
    assert history.latest.before("someday", 1) is None
    assert days_before("0001-01-01", 1) is None
