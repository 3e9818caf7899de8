import asyncio
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics import DayTally, Tally
from broker.frames import Frame
from broker.protocol import Message
from engine import (
    Flusher,
    NotRepairableError,
    Totals,
    audit,
    audit_detail,
    audit_loose,
    audit_report,
    prepare,
    repair,
)
from store.protocol import Folded, Head, LedgerEntry
from streams import ReceiptStream
from tests.simulation.memory import MemoryStore
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))


class Nobody:
    """A broker that nobody listens to."""

    async def announce(self, message: Message) -> None:
        """Nobody hears it."""


async def counted(frames: int = 3) -> MemoryStore:
    """A store with two receipts in each of some frames."""
    store = MemoryStore()
    await count(store, *(frame(number) for number in range(frames)))
    return store


async def count(store: MemoryStore, *frames: Frame, at: float | None = None) -> None:
    """Count frames, now or at another time, as one writer does."""
    flusher = Flusher(store=store, broker=Nobody(), stream=STREAM, clock=time.time if at is None else lambda: at)
    for each in frames:
        await flusher.flush([await prepare(each, STREAM, store, lambda: 2000.0)])


def frame(number: int, **changes: Any) -> Frame:
    """A frame of two receipts."""
    receipts = [receipt({"cashReceiptID": 2 * number + more, **changes}) for more in (0, 1)]
    return Frame.of(STREAM.name, [STREAM.accept(json.dumps(one).encode(), 1000.0) for one in receipts])


async def test_what_adds_up_is_found_to_add_up() -> None:
    """No differences, and the figures of what was looked at."""
    report = await audit(await counted(), STREAM)
    assert report.listed == []
    assert (report.events, report.entries, report.writers, report.days) == (6, 3, 1, 1)


def lose_an_event(store: MemoryStore) -> None:
    """An event is gone."""
    del store.stored[min(store.stored)]


def change_an_amount(store: MemoryStore) -> None:
    """An event's content is another."""
    name = min(store.stored)
    event = store.stored[name]
    store.stored[name] = dataclasses.replace(event, body=event.body.replace(b"26.53", b"26.54"))


def lose_an_entry(store: MemoryStore) -> None:
    """The last frame's ledger entry is gone."""
    last = max(store.ledger.values(), key=lambda entry: entry.seq)
    del store.ledger[last.frame]


def lose_an_entry_in_the_middle(store: MemoryStore) -> None:
    """There is a gap, and what follows it cannot be merged."""
    middle = next(entry for entry in store.ledger.values() if entry.seq == 2)
    del store.ledger[middle.frame]


def change_a_tally(store: MemoryStore) -> None:
    """An entry says a cent more."""
    entry = next(iter(store.ledger.values()))
    assert entry.tally is not None
    entry.tally.day("2026-11-18").add("total", "", 100, 0)


def steal_an_event(store: MemoryStore) -> None:
    """An event is said to be another frame's."""
    name = min(store.stored)
    store.stored[name] = dataclasses.replace(store.stored[name], frame=max(store.ledger))
    other = max(store.stored)
    store.stored[other] = dataclasses.replace(store.stored[other], frame=min(store.ledger))


def run_ahead(store: MemoryStore) -> None:
    """A checkpoint claims entries that nobody wrote."""
    writer = next(iter(store.ledger.values())).writer
    store.heads[STREAM.name] = Head(stream=STREAM.name, version=1, offsets={writer: 9}, days={}, seconds={})


@pytest.mark.parametrize(
    "damage",
    [
        lose_an_event,
        change_an_amount,
        lose_an_entry,
        lose_an_entry_in_the_middle,
        change_a_tally,
        steal_an_event,
        run_ahead,
    ],
    ids=lambda damage: damage.__name__,
)
async def test_damage_is_found(damage: Callable[[MemoryStore], None]) -> None:
    """Whatever is wrong with the store, the audit differs and says where."""
    store = await counted()
    damage(store)
    report = await audit(store, STREAM, patience_s=0.0)
    assert report.differences > 0
    assert report.listed


async def test_traffic_is_no_difference() -> None:
    """Frames that are flushed while the audit reads are left out, or waited for."""
    store = await counted()
    flusher = Flusher(store=store, broker=Nobody(), stream=STREAM)

    async def traffic() -> None:
        for number in range(3, 40):
            await flusher.flush([await prepare(frame(number), STREAM, store, lambda: 2000.0)])

    running = asyncio.create_task(traffic())
    while not running.done():
        assert (await audit(store, STREAM)).listed == []
    await running
    assert (await audit(store, STREAM)).entries == 40


async def test_an_orphan_is_found_after_a_while() -> None:
    """Events of a frame that never gets its entry are reported, once the patience is over."""
    store = await counted()
    prepared = await prepare(frame(9), STREAM, store, lambda: 2000.0)
    await store.insert_events(STREAM.name, prepared.encoded, 2000.0)
    report = await audit(store, STREAM, patience_s=0.2)
    assert report.listed == [f"2 events are claimed by frame {prepared.id}, which has no ledger entry"]


DAY_S = 86_400.0
NOON = 1795003200.0  # 2026-11-18 12:00 UTC, the day of the sample


def replace_entry(store: MemoryStore, frame: Frame, **changes: Any) -> LedgerEntry:
    """Change something about a frame's ledger entry; the entry as it was."""
    before = store.ledger[frame.id]
    store.ledger[frame.id] = dataclasses.replace(before, **changes)
    return before


async def test_differences_in_many_places_are_each_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are looked at in one pass."""
    monkeypatch.setattr(audit_detail, "_BUCKETS_AT_ONCE", 2)
    monkeypatch.setattr(audit_detail, "_DAYS_AT_ONCE", 1)
    monkeypatch.setattr(audit_detail, "MAX_LISTED", 1000)
    monkeypatch.setattr(audit_report, "MAX_LISTED", 1000)
    store = await counted(12)
    for each in store.ledger.values():
        assert each.tally is not None
        each.tally.day("2026-11-18").add("total", "", 100, 0)
    await count(store, frame(50, date="2026-11-17 10:00:00"))
    for name in [name for name in store.stored if "2026-11-17" in name]:
        del store.stored[name]
    report = await audit(store, STREAM)
    frames = [line for line in report.listed if "is not the fold" in line]
    assert len(frames) == 13
    assert {line[:10] for line in report.listed if line not in frames} == {"2026-11-17", "2026-11-18"}


async def test_a_long_list_of_differences_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty are listed; nothing that differs counts as right."""
    monkeypatch.setattr(audit_detail, "_BUCKETS_AT_ONCE", 15)
    store = await counted(60)
    for each in store.ledger.values():
        assert each.tally is not None
        each.tally.day("2026-11-18").add("total", "", 100, 0)
    report = await audit(store, STREAM)
    assert len(report.listed) == 20
    assert report.differences > 50


async def test_an_amount_that_moved_between_frames_is_found() -> None:
    """Although the totals are right."""
    store = await counted(4)
    for number, amount in ((1, 100), (2, -100)):
        tally = store.ledger[frame(number).id].tally
        assert tally is not None
        tally.day("2026-11-18").add("total", "", amount, 0)
    report = await audit(store, STREAM)
    assert len(report.listed) == report.differences == 2
    assert all("is not the fold" in line for line in report.listed)


async def test_a_frame_that_was_tried_before_and_counted_after_a_moment_is_no_difference() -> None:
    """Whether that moment is the beginning of the audit, or the one up to which tallies are dropped."""
    store = await counted(3)
    later = frame(9)
    prepared = await prepare(later, STREAM, store, lambda: 2000.0)
    await store.insert_events(STREAM.name, prepared.encoded, 1_000_000.0)
    await count(store, later, at=2_000_000.0)  # a flush that failed after it had inserted, and was tried again
    assert {event.stored for event in store.stored.values() if event.frame == later.id} == {1_000_000.0}
    assert (await audit(store, STREAM, clock=lambda: 1_500_000.0)).listed == []
    replace_entry(store, frame(0), at=1_400_000.0, tally=None)
    await checkpointed(store)
    report = await audit(store, STREAM)
    assert (report.listed, report.dropped) == ([], 1)


async def checkpointed(store: MemoryStore) -> None:
    """Put what the whole ledger adds up to below a checkpoint, tallies that are gone included."""
    total = DayTally()
    for event in store.stored.values():
        tally = Tally()
        STREAM.fold(tally, STREAM.parse(event.body), event.received)
        total.merge(tally.days["2026-11-18"])
    document = await store.write_day(STREAM.name, "2026-11-18", total, 1)
    offsets: dict[str, int] = {}
    for entry in store.ledger.values():
        offsets[entry.writer] = max(entry.seq, offsets.get(entry.writer, 0))
    days = {"2026-11-18": document}
    assert await store.swap_head(Head(stream=STREAM.name, version=1, offsets=offsets, days=days, seconds={}))


@pytest.mark.parametrize("number", range(4))
async def test_where_tallies_were_dropped_the_totals_still_have_to_be_right(number: int) -> None:
    """An event that changed is found, whether or not its frame still has its tally; so is an orphan."""
    store = MemoryStore()
    for each in range(4):
        await count(store, frame(each), at=NOON + each * DAY_S)
    for each in range(2):
        replace_entry(store, frame(each), tally=None)
    await checkpointed(store)
    assert (await audit(store, STREAM)).listed == []
    name = next(name for name, event in store.stored.items() if event.frame == frame(number).id)
    event = store.stored[name]
    store.stored[name] = dataclasses.replace(event, body=event.body.replace(b"26.53", b"26.54"))
    report = await audit(store, STREAM)
    assert any(line.startswith("2026-11-18: total: the events add up to") for line in report.listed)
    assert any("is not the fold" in line for line in report.listed) is (number >= 2)
    store.stored[name] = event
    replace_entry(store, frame(number))
    del store.ledger[frame(number).id]
    report = await audit(store, STREAM, patience_s=0.0)
    assert f"2 events are claimed by frame {frame(number).id}, which has no ledger entry" in report.listed


async def test_more_orphans_than_are_remembered_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, the report is right."""
    monkeypatch.setattr(audit_loose, "MAX_OPEN", 2)
    store = await counted(1)
    for number in range(5, 9):
        prepared = await prepare(frame(number), STREAM, store, lambda: 2000.0)
        await store.insert_events(STREAM.name, prepared.encoded, 2000.0)
    report = await audit(store, STREAM, patience_s=0.0)
    assert report.open == 2
    assert "4 events more are claimed by frames without a ledger entry" in report.listed


async def test_since_a_day_only_that_day_and_later_ones_are_looked_at() -> None:
    """Damage of an earlier day is not seen, damage of these days is, as without the limit."""
    store = MemoryStore()
    await count(store, *(frame(n, date=f"2026-11-{14 + n} 10:00:00") for n in range(5)), at=NOON)
    late = Frame.of(  # one frame may hold receipts of many days
        STREAM.name,
        [
            STREAM.accept(json.dumps(receipt({"cashReceiptID": n, "date": f"2026-11-{n} 11:00:00"})).encode(), 1000.0)
            for n in range(14, 19)
        ],
    )
    await count(store, late, at=NOON)
    early = frame(99, date="2026-11-20 10:00:00")  # dated ahead, by more than a clock can be wrong
    await count(store, early, at=NOON - 60 * DAY_S)
    report = await audit(store, STREAM, since="2026-11-17")
    assert (report.listed, report.since, report.days, report.events) == ([], "2026-11-17", 3, 8)

    def damage(day: str) -> None:
        name = next(name for name in store.stored if day in name)
        event = store.stored[name]
        store.stored[name] = dataclasses.replace(event, body=event.body.replace(b"26.53", b"26.54"))

    damage("2026-11-16 10")
    assert (await audit(store, STREAM, since="2026-11-17")).listed == []
    assert (await audit(store, STREAM)).differences > 0
    damage("2026-11-17 10")
    damage("2026-11-20 10")
    report = await audit(store, STREAM, since="2026-11-17")
    days = {line[:10] for line in report.listed if line.startswith("2026")}
    assert days == {"2026-11-17", "2026-11-20"}
    assert f"the ledger entry of frame {frame(3, date='2026-11-17 10:00:00').id} is not the fold" in str(report.listed)


async def with_finished_writers() -> MemoryStore:
    """Three writers of three entries each; two are finished, and the checkpoint holds them as a sum."""
    store = MemoryStore()
    for writer in range(3):
        await count(store, *(frame(10 * writer + number) for number in range(3)), at=NOON)
    totals = Totals(store, STREAM.name)
    await totals.sync()
    await totals.seal(sorted(totals.offsets)[:2], NOON + 60)
    await totals.sync()
    assert await totals.checkpoint()
    assert totals.folded == Folded(2, 8)
    await totals.close_folded()
    return store


async def test_finished_writers_add_up() -> None:
    """The totals do not name them any more; their seals say how many entries each has."""
    report = await audit(await with_finished_writers(), STREAM)
    assert (report.listed, report.entries, report.writers, report.events) == ([], 11, 3, 18)


@pytest.mark.parametrize("seq", [1, 2, 3, 4])
async def test_an_entry_of_a_finished_writer_that_is_gone_is_found(seq: int) -> None:
    """Its seal, too; and the writer is named. A repair refuses to count the events again."""
    store = await with_finished_writers()
    writer = next(entry.writer for entry in store.ledger.values() if entry.is_seal)
    gone = next(entry for entry in store.ledger.values() if (entry.writer, entry.seq) == (writer, seq))
    del store.ledger[gone.frame]
    report = await audit(store, STREAM, patience_s=0.0)
    if gone.is_seal:
        wanted = f"entry 3 of writer {writer} is out of reach: one before it is missing"
        assert any("1 writers are finished, with 4 entries; the totals hold 2" in line for line in report.listed)
    else:
        wanted = f"writer {writer} ended with entry 4, and has 3 entries"
        assert f"2 events are claimed by frame {gone.frame}, which has no ledger entry" in report.listed
    assert wanted in report.listed
    with pytest.raises(NotRepairableError, match="restore a backup"):
        await repair(store, Nobody(), STREAM)  # type: ignore[arg-type]  # as much of a broker as is needed


async def test_writers_that_finish_during_an_audit_are_no_difference() -> None:
    """Nor are those that the checkpoint folds meanwhile."""
    store = await counted()
    totals = Totals(store, STREAM.name)

    async def finish() -> None:
        for number in range(20, 60):
            await count(store, frame(number))
            await totals.sync()
            await totals.seal(list(totals.offsets), time.time())
            await totals.sync()
            await totals.checkpoint()
            await totals.close_folded()

    running = asyncio.create_task(finish())
    while not running.done():
        assert (await audit(store, STREAM)).listed == []
    await running
    assert (await audit(store, STREAM)).writers == 41
