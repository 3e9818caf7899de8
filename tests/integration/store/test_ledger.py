"""The ledger: one entry per frame, one frame per (writer, seq), and reading on from any offset."""

import asyncio
import dataclasses

import pytest

from analytics import Tally, encode_tally
from store import Head, LedgerEntry, Store, StoreDataError
from store.protocol import seal_id
from tests.integration.store.examples import STREAM, entry, frame, ledger


def places(entries: list[LedgerEntry]) -> list[tuple[str, int]]:
    """Writer and seq of each."""
    return [(one.writer, one.seq) for one in entries]


async def test_appended_entries_come_back_as_they_were(store: Store) -> None:
    """Tallies with awkward keys, and dropped ones, included."""
    entries = [entry("w", 1, count=3), dataclasses.replace(entry("w", 2), tally=None)]
    assert await store.append(entries) == 2
    assert await ledger(store) == entries
    assert await store.entry(STREAM, entries[0].frame) == entries[0]
    assert [one async for one in store.scan_ledger(STREAM)] == entries


async def test_an_entry_that_is_not_there_is_none(store: Store) -> None:
    """An unknown frame, and a frame of another stream."""
    await store.append([entry("w", 1, id=frame("x"))])
    assert await store.entry(STREAM, frame("y")) is None
    assert await store.entry("invoices", frame("x")) is None


async def test_what_a_newer_release_added_up_is_refused_but_its_place_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Totals cannot go on without its tally; a worker has to know only that the frame was counted."""
    newer = entry("w", 1)
    with monkeypatch.context() as patched:
        patched.setattr("analytics.codec.TALLY_VERSION", 2)
        await store.append([newer])
    assert await store.entry(STREAM, newer.frame) == dataclasses.replace(newer, tally=None)
    with pytest.raises(StoreDataError, match=f"ledger entry of frame {newer.frame}.* this release knows"):
        await ledger(store)
    with pytest.raises(StoreDataError, match="this release knows"):
        _ = [one async for one in store.scan_ledger(STREAM)]


async def test_append_stops_at_a_taken_frame(store: Store) -> None:
    """What comes before it is appended, what comes after it is not."""
    await store.append([entry("old", 1, id=frame("x"))])
    entries = [entry("w", 1), entry("w", 2), entry("w", 3, id=frame("x")), entry("w", 4)]
    assert await store.append(entries) == 2
    assert places(await ledger(store)) == [("old", 1), ("w", 1), ("w", 2)]


async def test_append_stops_at_a_taken_seq(store: Store) -> None:
    """The same writer and seq with another frame."""
    await store.append([entry("w", 2)])
    assert await store.append([entry("w", 1), entry("w", 2), entry("w", 3)]) == 1
    assert places(await ledger(store)) == [("w", 1), ("w", 2)]


async def test_append_stops_at_the_first_that_is_taken_however_many_there_are(store: Store) -> None:
    """Several hundred at once, the first taken in the middle; nothing after it is appended."""
    await store.append([entry("w", 151), entry("w", 240)])
    assert await store.append([entry("w", seq) for seq in range(1, 301)]) == 150
    assert len(await ledger(store)) == 152


async def test_a_long_ledger_is_read_page_by_page(store: Store) -> None:
    """At most as many as asked for, in the order (writer, seq), each page going on where the last one ended."""
    wanted = [entry(writer, seq) for writer in ("a", "b", "c") for seq in range(1, 8)]
    for one in wanted:
        await store.append([one])
    offsets: dict[str, int] = {}
    read: list[LedgerEntry] = []
    more = True
    while more:
        page = await store.ledger_after(STREAM, offsets, limit=4)
        assert len(page) <= 4
        read += page
        offsets |= {one.writer: one.seq for one in page}
        more = page.more
    assert places(read) == places(wanted)


async def test_a_page_of_the_ledger_ends_at_its_limit_of_bytes(store: Store) -> None:
    """But for its first entry, however large that is; none is left out."""
    wanted = [entry(writer, seq, count=seq) for writer in ("a", "b") for seq in range(1, 6)]
    await store.append(wanted)
    one = len(encode_tally(wanted[0].tally or Tally()))
    for max_bytes, most in ((1, 1), (3 * one, 3), (10**6, 10)):
        offsets: dict[str, int] = {}
        read: list[LedgerEntry] = []
        more = True
        while more:
            page = await store.ledger_after(STREAM, offsets, max_bytes=max_bytes)
            assert 1 <= len(page) <= most
            read += page
            offsets |= {one.writer: one.seq for one in page}
            more = page.more
        assert read == wanted


async def test_a_closed_writer_is_not_read_any_more(store: Store) -> None:
    """Unless it is asked for by an offset; the others are read as before, and closing twice is no error."""
    await store.append([entry("old", 1), entry("old", 2), entry("new", 1), entry("old", 1, stream="invoices")])
    for _ in range(2):
        await store.close_writers(STREAM, ["old", "unknown"])
    assert places(await ledger(store)) == [("new", 1)]
    assert places(await ledger(store, {"old": 1})) == [("new", 1), ("old", 2)]
    assert places(await ledger(store, stream="invoices")) == [("old", 1)]
    assert len([one async for one in store.scan_ledger(STREAM)]) == 3
    await store.close_writers(STREAM, [])


async def test_nothing_can_be_appended_behind_a_seal(store: Store) -> None:
    """A writer that wakes up late finds its next seq taken, and no entry for its frame."""
    await store.append([entry("w", 1), entry("w", 2, id=seal_id("w"))])
    found = await ledger(store)
    assert [one.is_seal for one in found] == [False, True]
    late = entry("w", 2)
    assert await store.append([late]) == 0
    assert await store.entry(STREAM, late.frame) is None


async def test_a_seq_is_taken_within_its_stream_and_writer_only(store: Store) -> None:
    """Another writer, or another stream, counts for itself."""
    assert await store.append([entry("w", 1), entry("v", 1), entry("w", 1, stream="invoices")]) == 3
    assert places(await ledger(store)) == [("v", 1), ("w", 1)]


async def test_appending_nothing_appends_nothing(store: Store) -> None:
    """An empty call is no error."""
    assert await store.append([]) == 0


async def test_concurrent_appends_of_one_frame_leave_one_entry(store: Store, other: Store) -> None:
    """Each frame is counted by one writer, whoever is first."""
    frames = [frame() for _ in range(20)]

    async def write(where: Store, writer: str) -> int:
        return sum([await where.append([entry(writer, seq, id=one)]) for seq, one in enumerate(frames, 1)])

    done = await asyncio.gather(*(write(where, f"w{n}") for n, where in enumerate([store, other] * 2)))
    assert sum(done) == len(frames)
    assert sorted([one.frame async for one in store.scan_ledger(STREAM)]) == sorted(frames)


async def test_concurrent_appends_at_one_seq_leave_one_entry(store: Store, other: Store) -> None:
    """Two that believe to be the same writer never share a seq."""
    rivals = [entry("w", 1) for _ in range(6)]
    done = await asyncio.gather(*(where.append([one]) for where, one in zip([store, other] * 3, rivals, strict=True)))
    assert sum(done) == 1
    assert await ledger(store) == [rivals[done.index(1)]]


async def test_the_ledger_is_read_after_its_offsets(store: Store) -> None:
    """In order of writer and seq; writers that are not named from their start; offsets may be past the end."""
    await store.append([entry("b", seq) for seq in (1, 2, 3)] + [entry("a.b", seq) for seq in (1, 2)])
    await store.append([entry("c", 1)])
    after = await ledger(store, {"b": 2, "a.b": 2, "unknown": 7})
    assert places(after) == [("b", 3), ("c", 1)]
    assert await ledger(store, {"a.b": 9, "b": 3, "c": 1}) == []
    assert await ledger(store, stream="invoices") == []


async def test_the_ledger_is_read_with_its_gaps(store: Store) -> None:
    """An append under way shows as a gap; nothing behind it is hidden."""
    await store.append([entry("w", 5), entry("w", 1), entry("w", 3)])
    assert places(await ledger(store, {"w": 1})) == [("w", 3), ("w", 5)]


async def test_an_old_writer_can_append_late(store: Store) -> None:
    """There is no time window: an entry is found however long its writer was silent."""
    await store.append([entry("old", 1, at=1.0), entry("new", 1, at=2e9)])
    await store.append([entry("old", 2, at=3.0)])
    assert places(await ledger(store, {"old": 1, "new": 1})) == [("old", 2)]


async def test_the_ledger_is_read_for_many_writers(store: Store) -> None:
    """More writers than go into one query."""
    writers = [f"writer-{n:04}" for n in range(250)]
    await store.append([entry(writer, seq) for writer in writers for seq in (1, 2)])
    after = await ledger(store, dict.fromkeys(writers[:-1], 1))
    assert places(after) == [(writer, 2) for writer in writers[:-1]] + [(writers[-1], 1), (writers[-1], 2)]


async def test_a_scan_gives_every_entry_of_the_stream_once(store: Store) -> None:
    """More than one batch of them."""
    entries = [entry("w", seq) for seq in range(1, 701)]
    await store.append([*entries, entry("w", 1, stream="invoices")])
    found = [one.frame async for one in store.scan_ledger(STREAM)]
    assert sorted(found) == sorted(one.frame for one in entries)


async def test_the_ledger_is_scanned_from_a_time_on(store: Store) -> None:
    """All of it, or what was appended then and later; each entry once, of the stream alone."""
    entries = [entry("w", seq, at=1000.0 * seq) for seq in range(1, 6)]
    await store.append([*entries, entry("v", 1, stream="invoices")])
    for since, wanted in ((0.0, entries), (3000.0, entries[2:]), (9000.0, [])):
        found = [one async for one in store.scan_ledger(STREAM, since=since)]
        assert sorted(found, key=lambda one: one.seq) == wanted


async def test_the_store_says_until_when_tallies_were_dropped(store: Store) -> None:
    """By the newest entry that lost its tally; 0 while none has."""
    await store.append([entry("w", seq, at=1000.0 * seq) for seq in range(1, 6)])
    assert await store.tallies_dropped_until(STREAM) == 0.0
    now = Head(stream=STREAM, version=1, offsets={"w": 3}, days={}, seconds={})
    await store.tidy(now, named=frozenset(), tallies_before=9000.0, days_before=0)
    assert await store.tallies_dropped_until(STREAM) == 3000.0
    assert await store.tallies_dropped_until("invoices") == 0.0
