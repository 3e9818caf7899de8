import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from analytics import DayTally, Tally
from engine import Totals, TotalsNotReadError, TotalsReader, read_day, read_totals
from store.errors import StoreError
from store.protocol import Head, LedgerEntry, Page
from streams import ReceiptStream
from tests.simulation.memory import MemoryStore, Tables

STREAM = ReceiptStream(ZoneInfo("UTC"))
TODAY, YESTERDAY = "2026-11-18", "2026-11-17"


def entry(seq: int, day: str, amount: int) -> LedgerEntry:
    """A ledger entry of one receipt."""
    tally = Tally()
    tally.day(day).add("total", "", amount, 1)
    return LedgerEntry(frame=f"f{seq}", stream="receipts", writer="w", seq=seq, tally=tally, at=0.0)


async def two_days() -> MemoryStore:
    """A receipt of yesterday under the checkpoint; one of today and a late one of yesterday after it."""
    store = MemoryStore()
    await store.append([entry(1, YESTERDAY, 100_000)])
    totals = Totals(store, "receipts")
    await totals.sync()
    assert await totals.checkpoint()
    await store.append([entry(2, TODAY, 200_000), entry(3, YESTERDAY, 50_000)])
    return store


async def test_any_day_can_be_read_with_its_revision_and_moment() -> None:
    """A day past is its checkpoint plus what came late; a day that nothing happened on is empty."""
    store = await two_days()
    yesterday, revision, as_of = await read_day(store, STREAM, YESTERDAY, clock=lambda: 12.5)
    assert (yesterday.row("total", "", 2), revision, as_of) == ([150_000, 2], 3, 12.5)
    today, revision, _ = await read_day(store, STREAM, TODAY)
    assert (today.row("total", "", 2), revision) == ([200_000, 1], 3)
    assert (await read_day(store, STREAM, "2026-11-11"))[0] == DayTally()


async def test_the_tally_read_is_the_callers_own() -> None:
    """Whoever changes what was read changes nothing for the next one who asks."""
    store = await two_days()
    (await read_day(store, STREAM, YESTERDAY))[0].add("total", "", 1, 1)
    assert (await read_day(store, STREAM, YESTERDAY))[0].row("total", "", 2) == [150_000, 2]


async def test_totals_of_a_day_are_its_summary_with_revision_and_moment() -> None:
    """`read_totals` says the same in the form of `GET /totals/{day}`."""
    found = await read_totals(await two_days(), STREAM, YESTERDAY, clock=lambda: 12.34567)
    assert (bytes(found["sum"]), found["count"], found["revision"], found["asOf"]) == (b"15.00", 2, 3, 12.346)


async def test_a_checkpoint_swapped_meanwhile_is_read_again_a_few_times() -> None:
    """A document that is gone is looked for in the newer head; a store that fails is an error at once."""
    store = await two_days()
    real = store.read_day
    failures = iter([True, False])

    async def gone_once(stream: str, document: str) -> DayTally | None:
        return None if next(failures, False) else await real(stream, document)

    store.read_day = gone_once  # type: ignore[method-assign]
    assert (await read_day(store, STREAM, YESTERDAY))[0].row("total", "", 2) == [150_000, 2]
    failures = iter([True] * 5)
    with pytest.raises(StoreError, match="is gone"):
        await read_day(store, STREAM, YESTERDAY)

    async def away(stream: str) -> Head | None:
        raise StoreError("not now")

    store.head = away  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="not now"):
        await read_day(store, STREAM, TODAY)


class Paced(MemoryStore):
    """A store that reads a page of the ledger each time it is allowed to."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.pages = 0
        self.allowed = asyncio.Semaphore(0)

    async def ledger_after(self, stream: str, offsets: Mapping[str, int], **limits: int) -> Page[LedgerEntry]:
        self.pages += 1
        await self.allowed.acquire()
        return await super().ledger_after(stream, offsets, limit=1)


async def test_a_reading_that_takes_long_goes_on_without_those_who_waited() -> None:
    """Each gets an error in time; what was read is kept, and the next one has less to wait for."""
    store = Paced((await two_days()).tables)
    reader = TotalsReader(store, STREAM)
    for _ in range(2):
        with pytest.raises(TotalsNotReadError, match="ask again"):
            await reader.day(TODAY, within_s=0.01)
    assert store.pages == 1
    for _ in range(9):
        store.allowed.release()
    tally, revision, _ = await reader.day(TODAY)
    assert (tally.row("total", "", 2), revision) == ([200_000, 1], 3)
    await reader.close()


async def test_one_reading_serves_all_who_wait() -> None:
    """Those who came after it began share the next one, which reads no entry again."""
    store = Paced((await two_days()).tables)
    reader = TotalsReader(store, STREAM)
    first = asyncio.gather(*(reader.day(TODAY) for _ in range(10)))
    await asyncio.sleep(0)
    for _ in range(3):
        store.allowed.release()
    assert {revision for _, revision, _ in await first} == {3}
    assert store.pages == 3
    await store.append([entry(4, TODAY, 50_000)])
    store.allowed.release()
    assert (await reader.day(TODAY))[1] == 4
    await reader.close()


async def test_a_reader_that_was_not_asked_for_long_begins_from_the_newest_head() -> None:
    """It does not read again all that came since its own, and holds nothing of before."""
    store, now = await two_days(), [0.0]
    reader = TotalsReader(store, STREAM, monotonic=lambda: now[0])
    await reader.day(TODAY)
    held = reader._totals
    await store.append([entry(4, TODAY, 10)])
    store.ledger["f4"] = replace(store.ledger["f4"], tally=Tally(seconds={1: [1, 0, 0]}))
    await reader.day(TODAY)
    assert reader._totals is held
    assert held is not None
    assert held.seconds == {}, "they would grow as long as nobody writes a checkpoint"
    now[0] += 61
    assert (await reader.day(TODAY))[1] == 4
    assert reader._totals is not held
    await reader.close()


class Beside:
    """A clock that has somebody else ask at the very moment at which a reading ends."""

    def __init__(self) -> None:
        self.now = 0.0
        self.end: Callable[[], object] = lambda: None
        self._asked = 0

    def __call__(self) -> float:
        now = self.now
        self._asked += 1
        if self._asked == 2:  # asked for the time when a reading begins and when it ends
            self.end()
        return now


async def test_a_reading_that_begins_anew_takes_nothing_from_who_waited_for_the_one_before() -> None:
    """The next reader begins from the newest head; who is about to get an answer gets all that was read."""
    store, clock, others = await two_days(), Beside(), []
    reader = TotalsReader(store, STREAM, monotonic=clock, totals=lambda *of, **_: Totals(*of, page=1))

    def end() -> None:
        clock.now += 61
        others.append(asyncio.ensure_future(reader.day(TODAY)))

    clock.end = end
    first, revision, _ = await reader.day(TODAY)
    assert (first.row("total", "", 2), revision) == ([200_000, 1], 3)
    assert [(await other)[1] for other in others] == [3]
    await reader.close()


async def test_a_head_of_another_generation_that_comes_in_between_is_read_first() -> None:
    """Whoever has to wait for it gets the day as of that head: neither an error nor a part of it."""
    store, clock, others = await two_days(), Beside(), []
    reader = TotalsReader(store, STREAM, monotonic=clock, totals=lambda *of, **_: Totals(*of, page=1))

    def end() -> None:
        head = store.heads["receipts"]
        store.heads["receipts"] = replace(head, version=head.version + 1, generation=1, token="another")
        others.append(asyncio.ensure_future(reader.day(TODAY)))

    clock.end = end
    yesterday, revision, _ = await reader.day(YESTERDAY)
    assert (yesterday.row("total", "", 2), revision) == ([150_000, 2], 3)
    assert [(await other)[1] for other in others] == [3]
    await reader.close()
