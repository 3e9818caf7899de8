"""Rebuilding the totals from the stored events, by the engine's own code on real stores."""

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import store as stores
from analytics import DayTally
from broker.frames import Frame
from broker.protocol import Message
from engine import Flusher, NotRebuiltError, Totals, audit, prepare, rebuild, repair
from store import Store, StoreError
from streams import ReceiptStream
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))
DAYS = [f"2026-11-{day}" for day in range(11, 18)]

#: Rebuilds and ends itself by a kill -9 when it is about to write another day than so many.
_VICTIM = """
import asyncio, os, signal, sys
import store as stores
from engine import rebuild
from tests.integration.engine.test_rebuild import STREAM, Counting

class Mortal(Counting):
    async def write_day(self, *arguments):
        if self.written == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().write_day(*arguments)

async def main():
    await rebuild(Mortal(await stores.connect(sys.argv[1])), STREAM)

asyncio.run(main())
"""


class Nobody:
    """A broker that nobody listens to."""

    async def announce(self, message: Message) -> None:
        """Nobody hears it."""


class Counting:
    """A store that counts the day documents that are written."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write_day(self, *arguments: Any) -> str:
        """Write and count it."""
        self.written += 1
        return await self._inner.write_day(*arguments)


@pytest.fixture(params=["sqlite", pytest.param("ferret", marks=pytest.mark.mongo)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that nothing is in yet."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.db'}"
    database: str = request.getfixturevalue("ferret").database()
    return database


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store of seven days; some of it is in a checkpoint, one writer is finished, and one is about to be."""
    opened = await stores.connect(url)
    await opened.prepare(STREAM.name, STREAM.key_names)
    for start in range(3):
        await count(opened, *(frame(10 * start + n, day) for n, day in enumerate(DAYS)), frame(10 * start + 9, *DAYS))
        totals = Totals(opened, STREAM.name)
        await totals.sync()
        if start < 2:
            await totals.seal(list(totals.offsets), 5000.0)
        if start == 0:
            await totals.sync()
            assert await totals.checkpoint()
    assert totals.folded.writers == 1
    yield opened
    await opened.close()


def frame(number: int, *days: str) -> Frame:
    """A frame of a receipt on each of some days."""
    receipts = [receipt({"cashReceiptID": 100 * number + n, "date": f"{day} 10:00:00"}) for n, day in enumerate(days)]
    return Frame.of(STREAM.name, [STREAM.accept(json.dumps(one).encode(), 1000.0) for one in receipts])


async def count(store: Store, *frames: Frame) -> None:
    """Count frames as one writer does."""
    flusher = Flusher(store=store, broker=Nobody(), stream=STREAM, clock=lambda: 2000.0)
    for each in frames:
        await flusher.flush([await prepare(each, STREAM, store, lambda: 2000.0)])


async def figures(store: Store) -> dict[str, DayTally]:
    """What the totals say of each day."""
    totals = Totals(store, STREAM.name)
    await totals.sync()
    return {day: (await totals.day(day)).copy() for day in sorted(await totals.days())}


async def damage(store: Store, days: Sequence[str] = DAYS) -> None:
    """Have the head name documents with wrong sums, one that is not there, and a day on which nothing was sold."""
    head = await store.head(STREAM.name)
    assert head is not None
    version = head.version + 1
    wrong = DayTally()
    wrong.add("total", "", 1_0000, 1)
    named = {day: await store.write_day(STREAM.name, day, wrong, version) for day in days}
    named |= {days[0]: "gone", "2026-01-01": await store.write_day(STREAM.name, "2026-01-01", wrong, version)}
    assert await store.swap_head(dataclasses.replace(head, version=version, token=f"damaged {version}", days=named))


async def test_damaged_totals_are_made_anew_from_the_events(store: Store) -> None:
    """Those of all days, the ones that nobody sold on included; a process that holds totals begins anew."""
    before = await figures(store)
    reader = Totals(store, STREAM.name)
    await reader.sync()
    revision = reader.revision
    await damage(store)
    rebuilt = await rebuild(store, STREAM)
    assert (sorted(rebuilt.days), rebuilt.events, rebuilt.resumed) == (DAYS, 42, 0)
    assert await figures(store) == before
    assert (await audit(store, STREAM)).listed == []
    await reader.sync()
    assert {day: await reader.day(day) for day in DAYS} == before
    assert (reader.revision, reader.head and reader.head.generation) == (revision, 2)


async def test_what_is_counted_after_a_rebuild_is_added_to_it(store: Store) -> None:
    """By writers of before and by new ones; finished ones stay finished."""
    await damage(store)
    await rebuild(store, STREAM)
    head = await store.head(STREAM.name)
    assert head is not None
    assert (head.folded.writers, len(head.offsets)) == (2, 1)
    await count(store, frame(90, *DAYS))
    totals = Totals(store, STREAM.name)
    await totals.sync()
    assert await totals.checkpoint()
    assert (await audit(store, STREAM)).listed == []
    await rebuild(store, STREAM)
    assert (await audit(store, STREAM)).listed == []


@pytest.mark.parametrize("done", [0, 1, 6])
async def test_a_rebuild_that_was_killed_goes_on_where_it_was(store: Store, url: str, done: int) -> None:
    """Nothing was changed until then, and the days that were done are not done again."""
    before = await figures(store)
    await damage(store)
    head = await store.head(STREAM.name)
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _VICTIM, url, str(done)], timeout=60)
    assert killed.returncode == -9
    assert await store.head(STREAM.name) == head
    counting: Any = Counting(store)
    rebuilt = await rebuild(counting, STREAM)
    assert (rebuilt.resumed, counting.written) == (done, len(DAYS) - done)
    assert await figures(store) == before


async def test_a_rebuild_does_not_go_on_where_something_was_counted_meanwhile(store: Store, url: str) -> None:
    """The days that were done then are not those of now."""
    await damage(store)
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _VICTIM, url, "4"], timeout=60)
    await count(store, frame(90, *DAYS))
    assert (await rebuild(store, STREAM)).resumed == 0
    assert (await audit(store, STREAM)).listed == []


async def test_events_without_a_ledger_entry_are_repaired_first(store: Store) -> None:
    """It says so, and changes nothing."""
    prepared = await prepare(frame(90, DAYS[3]), STREAM, store, lambda: 2000.0)
    await store.insert_events(STREAM.name, prepared.encoded, 2000.0)
    await damage(store)
    head = await store.head(STREAM.name)
    with pytest.raises(
        NotRebuiltError, match=rf"frame {prepared.id}, which has no ledger entry: run `.*--repair` first"
    ):
        await rebuild(store, STREAM)
    assert await store.head(STREAM.name) == head
    broker: Any = Nobody()
    await repair(store, broker, STREAM)
    await rebuild(store, STREAM)
    assert (await audit(store, STREAM)).listed == []


async def test_a_checkpoint_of_another_process_wins(store: Store) -> None:
    """The rebuilt totals are not swapped in, and it says what to do."""

    class Overtaken(Counting):
        async def write_day(self, *arguments: Any) -> str:
            if self.written == 3:
                await damage(store, DAYS[:2])
            return await super().write_day(*arguments)

    overtaken: Any = Overtaken(store)
    with pytest.raises(NotRebuiltError, match="another process moved the checkpoint on, nothing was changed: stop the"):
        await rebuild(overtaken, STREAM)
    await rebuild(store, STREAM)
    assert (await audit(store, STREAM)).listed == []


async def test_an_exchange_of_unknown_outcome_is_safe_to_repeat(store: Store) -> None:
    """Whether it happened or not."""

    class Failing(Counting):
        def __init__(self, inner: Store, when: str) -> None:
            super().__init__(inner)
            self.when = when

        async def swap_head(self, head: Any) -> bool:
            if head.stream == STREAM.name:
                if self.when == "after":
                    await self._inner.swap_head(head)
                raise StoreError("simulated")
            return await self._inner.swap_head(head)

    before = await figures(store)
    await damage(store)
    for when in ("before", "after"):
        failing: Any = Failing(store, when)
        with pytest.raises(StoreError, match="simulated"):
            await rebuild(failing, STREAM)
        await rebuild(store, STREAM)
        assert await figures(store) == before


async def test_a_long_history_is_named_by_months(store: Store) -> None:
    """As a checkpoint names it, so that the head stays small."""
    days = [f"2026-{month:02}-{day:02}" for month in (1, 2, 3, 4) for day in range(1, 29)]
    await count(store, frame(80, *days))
    await rebuild(store, STREAM)
    head = await store.head(STREAM.name)
    assert head is not None
    assert len(head.days) <= 62
    assert head.months.keys() >= {"2026-01", "2026-02"}
    assert list(await figures(store)) == sorted([*days, *DAYS])
    assert (await audit(store, STREAM)).listed == []
