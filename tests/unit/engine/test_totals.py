import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from analytics import DayTally, Tally, decode_day
from analytics.tally import MOST_KEYS, OTHERS
from engine import Merged, Totals
from engine.checkpoint import DAYS_IN_HEAD
from store.errors import StoreError
from store.protocol import Folded, Head, LedgerEntry, Page
from tests.simulation.memory import MemoryStore

DAY = "2026-11-18"


def entry(seq: int, amount: int = 10, *, day: str = DAY) -> LedgerEntry:
    """A ledger entry of one receipt."""
    tally = Tally()
    tally.day(day).add("total", "", amount, 1)
    return LedgerEntry(frame=f"f{seq}", stream="receipts", writer="w", seq=seq, tally=tally, at=0.0)


async def in_checkpoint(store: MemoryStore) -> list[int]:
    """Revenue and count of the day as the checkpoint alone has them."""
    document = store.heads["receipts"].days[DAY]
    return decode_day(store.tables.days[document]).row("total", "", 2)


class Held(MemoryStore):
    """A store whose head can only be swapped when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.fail = self.unwritable = False
        self.refused: list[Head] = []
        self.before: Callable[[], object] = lambda: None

    async def swap_head(self, head: Head) -> bool:
        self.reached.set()
        await self.go.wait()
        self.before()
        if self.fail:
            self.refused.append(head)
            raise StoreError("no head today")
        return await super().swap_head(head)

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        if self.unwritable:
            raise StoreError("too large")
        return await super().write_day(stream, day, tally, version)


async def test_merging_goes_on_during_a_checkpoint() -> None:
    """What is merged while a checkpoint is written is in the totals, and in the next checkpoint."""
    store = Held()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    await totals.day(DAY)
    checkpoint = asyncio.create_task(totals.checkpoint())
    await store.reached.wait()
    await store.append([entry(2, 5)])
    totals.merge("w", 2, 2, entry(2, 5).tally or Tally())
    store.go.set()
    assert await checkpoint
    assert (await totals.day(DAY)).row("total", "", 2) == [15, 2]
    assert await totals.checkpoint()
    fresh = Totals(store, "receipts")
    await fresh.sync()
    assert (await fresh.day(DAY)).row("total", "", 2) == [15, 2]
    assert fresh.revision == 2


async def test_a_checkpoint_that_fails_leaves_the_totals_as_they_are() -> None:
    """Days can be read meanwhile and afterwards, merging goes on, and the next checkpoint holds everything."""
    store = Held()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    checkpoint = asyncio.create_task(totals.checkpoint())
    await store.reached.wait()
    totals.merge("w", 2, 2, entry(2, 5).tally or Tally())
    asked = asyncio.create_task(totals.day(DAY))
    store.fail = True
    store.go.set()
    with pytest.raises(StoreError, match="no head"):
        await checkpoint
    assert (await asked).row("total", "", 2) == [15, 2]
    assert totals.synced
    store.fail = False
    assert await totals.checkpoint()
    assert await in_checkpoint(store) == [15, 2]


async def test_a_swap_that_happened_although_it_failed_is_found_out() -> None:
    """Also when it happens only after the next one was tried: the totals go on from it, and nothing counts twice."""
    store = Held()
    store.go.set()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    store.fail = True
    with pytest.raises(StoreError, match="no head"):
        await totals.checkpoint()
    late = store.refused[-1]
    totals.merge("w", 2, 2, entry(2, 5).tally or Tally())
    store.before = lambda: store.tables.swap(late)  # between looking and swapping
    store.fail = False
    assert not await totals.checkpoint()
    assert (await totals.day(DAY)).row("total", "", 2) == [15, 2]
    assert await in_checkpoint(store) == [10, 1]
    assert await totals.checkpoint()
    assert await in_checkpoint(store) == [15, 2]


async def test_a_day_that_cannot_be_written_keeps_nothing_else_back() -> None:
    """What was merged stays in memory until its document can be written."""
    store = Held()
    store.go.set()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    store.unwritable = True
    for _ in range(3):
        with pytest.raises(StoreError, match="too large"):
            await totals.checkpoint()
    totals.merge("w", 2, 2, entry(2, 5).tally or Tally())
    assert (await totals.day(DAY)).row("total", "", 2) == [15, 2]
    store.unwritable = False
    assert await totals.checkpoint()
    assert await in_checkpoint(store) == [15, 2]


async def test_a_partial_alone_is_no_proof_of_its_entries() -> None:
    """Of a writer that the ledger has not shown, it is a gap; if the ledger then has nothing, it is forgotten."""
    store = MemoryStore()
    totals = Totals(store, "receipts")
    assert totals.merge("w", 1, 1, entry(1).tally or Tally()) is Merged.GAP
    await totals.sync()
    assert totals.merge("w", 1, 1, entry(1).tally or Tally()) is Merged.GAP
    assert totals.behind == 1
    await totals.sync()
    assert (totals.behind, totals.strays, totals.revision) == (0, 1, 0)
    await store.append([entry(1)])
    assert totals.merge("w", 1, 1, entry(1).tally or Tally()) is Merged.GAP
    await totals.sync()
    assert (totals.behind, totals.revision) == (0, 1)
    assert totals.merge("w", 2, 2, entry(2).tally or Tally()) is Merged.MERGED


async def test_finished_writers_become_a_sum() -> None:
    """A writer without an entry for a round is sealed, folded, and closed; the revision and the totals stay."""
    store = MemoryStore()
    await store.append([entry(1), entry(2)])
    totals = Totals(store, "receipts")
    await totals.sync()
    for entries in (2, 3):
        await totals.seal_idle(0.0)
        assert len(store.ledger) == entries
    assert await store.append([entry(3)]) == 0
    await totals.sync()
    assert await totals.checkpoint()
    assert (totals.offsets, totals.folded, totals.revision) == ({}, Folded(1, 3), 3)
    head = store.heads["receipts"]
    assert (dict(head.offsets), head.closing, head.generation) == ({}, frozenset({"w"}), 1)
    assert totals.merge("w", 1, 1, entry(1).tally or Tally()) is Merged.KNOWN
    for closed in (False, True):
        if closed:
            await totals.close_folded()
        fresh = Totals(store, "receipts")
        await fresh.sync()
        assert (fresh.revision, (await fresh.day(DAY)).row("total", "", 2)) == (3, [20, 2])
    await store.append([LedgerEntry(frame="x", stream="receipts", writer="v", seq=1, tally=Tally(), at=0.0)])
    await totals.sync()
    assert await totals.checkpoint()
    assert store.heads["receipts"].closing == frozenset()


async def test_a_writer_that_goes_on_is_not_sealed() -> None:
    """Whoever appends first has the seq."""
    store = MemoryStore()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    await store.append([entry(2)])
    await totals.seal(["w"], 0.0)
    await totals.sync()
    assert (totals.offsets, len(store.ledger)) == ({"w": 2}, 2)


async def test_a_round_of_seals_that_failed_ends_nobody_who_was_busy() -> None:
    """It is tried again soon, and then it is still about the writers that had no entry since the round before."""

    class Full(MemoryStore):
        full = False

        async def append(self, entries: Sequence[LedgerEntry]) -> int:
            if self.full:
                raise StoreError("no entry today")
            return await super().append(entries)

    store = Full()
    await store.append([entry(1), replace(entry(1), writer="busy", frame="b1")])
    totals = Totals(store, "receipts")
    await totals.sync()
    await totals.seal_idle(0.0)
    await store.append([replace(entry(2), writer="busy", frame="b2")])
    await totals.sync()
    store.full = True
    with pytest.raises(StoreError, match="no entry"):
        await totals.seal_idle(0.0)
    store.full = False
    await totals.seal_idle(0.0)
    assert [one.writer for one in store.ledger.values() if one.is_seal] == ["w"]


async def test_totals_that_stand_on_documents_that_are_gone_begin_again() -> None:
    """Another process wrote checkpoints and dropped what the head of this one names, and then went away."""
    store = MemoryStore()
    await store.append([entry(1)])
    frozen, other = Totals(store, "receipts"), Totals(MemoryStore(store.tables, "other"), "receipts")
    await frozen.sync()
    assert await frozen.checkpoint()
    await store.append([entry(2, 5)])
    await other.sync()
    assert await other.checkpoint()
    head = store.heads["receipts"]
    await store.tidy(head, named=await other.named(head), tallies_before=0, days_before=1e12)
    await frozen.sync()
    with pytest.raises(StoreError, match="is gone"):
        await frozen.checkpoint()
    await store.append([entry(3, 7)])
    await frozen.sync()
    assert await frozen.checkpoint()
    assert await in_checkpoint(store) == [22, 3]


async def test_a_key_among_the_others_is_never_shown_apart() -> None:
    """However it comes back: what is read of a day has exact sums for each key that it names."""
    store = MemoryStore()
    tally = Tally()
    for number in range(MOST_KEYS + 100):
        tally.day(DAY).add("stores", str(number), 10, 1)
    await store.append([LedgerEntry(frame="f1", stream="receipts", writer="w", seq=1, tally=tally, at=0.0)])
    totals = Totals(store, "receipts")
    await totals.sync()
    shown = set((await totals.day(DAY)).tables["stores"])
    again = next(str(number) for number in range(MOST_KEYS + 100) if str(number) not in shown)
    more = Tally()
    more.day(DAY).add("stores", again, 10, 1)
    assert totals.merge("w", 2, 2, more) is Merged.MERGED
    stores = (await totals.day(DAY)).tables["stores"]
    assert again not in stores
    assert stores[OTHERS] == [1010, 101]


async def test_a_long_history_of_days_leaves_the_head_small() -> None:
    """Days move to their months; every day is found again, and a late one counts on its day."""
    store = MemoryStore()
    days = [(date(2024, 1, 1) + timedelta(n)).isoformat() for n in range(500)]
    totals = Totals(store, "receipts")
    for seq, day in enumerate(days, start=1):
        await store.append([entry(seq, seq, day=day)])
        await totals.sync()
        if seq % 5 == 0:
            assert await totals.checkpoint()
    head = store.heads["receipts"]
    assert len(head.days) <= DAYS_IN_HEAD
    assert len(head.months) == 15
    await store.append([entry(501, 7, day=days[3])])
    await totals.sync()
    assert await totals.checkpoint()
    fresh = Totals(store, "receipts")
    await fresh.sync()
    assert await fresh.days() == frozenset(days)
    for seq, day in enumerate(days, start=1):
        assert (await fresh.day(day)).row("total", "", 2) == ([11, 2] if seq == 4 else [seq, 1])
    head = store.heads["receipts"]
    await store.tidy(head, named=await fresh.named(head), tallies_before=0, days_before=1e12)
    again = Totals(store, "receipts")
    await again.sync()
    assert (await again.day(days[3])).row("total", "", 2) == [11, 2]
    assert len(store.tables.days) == len(await again.named(head))


async def test_a_store_that_was_set_back_is_read_again() -> None:
    """A head of an earlier version than ours, or none: memory knows more than there is."""
    store = MemoryStore()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    assert await totals.checkpoint()
    store.heads.clear()
    store.ledger.clear()
    await totals.sync()
    assert (totals.revision, (await totals.day(DAY)).row("total", "", 2)) == (0, [0, 0])


async def test_every_page_is_read_even_if_partials_are_faster() -> None:
    """A page that partials have merged meanwhile does not end the reading."""
    store = Held()
    await store.append([entry(1)])
    totals = Totals(store, "receipts", page=1)

    class Overtaken:
        """The store, but a partial arrives while its first page is on its way."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def ledger_after(self, stream: str, offsets: dict[str, int], **limits: int) -> Page[LedgerEntry]:
            page = await store.ledger_after(stream, offsets, **limits)
            if offsets == {"w": 1}:
                totals.merge("w", 2, 2, entry(2).tally or Tally())
            return page

    await totals.sync()
    await store.append([entry(seq) for seq in (2, 3, 4)])
    totals._store = Overtaken()  # type: ignore[assignment]
    await totals.sync()
    assert totals.revision == 4


async def test_a_gap_that_fills_a_page_hides_no_other_writer() -> None:
    """What lies behind it waits for the append that is under way; the others are read, and it is read afterwards."""
    store = MemoryStore()
    late, *others = (replace(entry(seq), writer="a", frame=f"a{seq}") for seq in (1, 2, 3, 4))
    for one in (*others, entry(1)):
        await store.append([one])
    totals = Totals(store, "receipts", page=2)
    await totals.sync()
    assert (totals.offsets, totals.synced) == ({"w": 1}, True)
    await store.append([late])
    await totals.sync()
    assert totals.offsets == {"a": 4, "w": 1}
