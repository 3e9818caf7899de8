"""Checkpoints: one head per stream that only one can move on, days that never change, and what may be dropped."""

import asyncio
import dataclasses

import pytest

from store import Folded, Head, Store, StoreDataError
from store.codec import head_from_text
from store.protocol import seal_id
from tests.integration.store.examples import DAY, STREAM, day_tally, entry, ledger, tally

FUTURE = 9e9


def head(version: int, *, stream: str = STREAM, **fields: object) -> Head:
    """A head of a version."""
    return Head(stream=stream, version=version, **{"offsets": {}, "days": {}, "seconds": {}, **fields})  # type: ignore[arg-type]


async def test_the_head_comes_back_as_it_was(store: Store) -> None:
    """Writers and days with awkward names included."""
    first = head(
        1,
        token="t",
        generation=3,
        offsets={"a.b$": 2**40, "é": 1},
        folded=Folded(7, 2**40),
        closing=frozenset({"a.b$", "c"}),
        days={DAY: f"{STREAM}:{DAY}:x"},
        months={"2026-10": "m"},
        seconds={1763722800: [1, -2]},
    )
    assert await store.head(STREAM) is None
    assert await store.swap_head(first)
    assert await store.head(STREAM) == first


async def test_a_head_and_a_day_of_a_newer_release_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that says what they need."""
    with monkeypatch.context() as patched:
        patched.setattr("analytics.codec.TALLY_VERSION", 2)
        patched.setattr("store.codec.HEAD_VERSION", 3)
        document = await store.write_day(STREAM, DAY, day_tally(), 1)
        assert await store.swap_head(head(1, days={DAY: document}))
    with pytest.raises(StoreDataError, match=f"checkpoint 1 of {STREAM} has format 3 and needs a newer release"):
        await store.head(STREAM)
    with pytest.raises(StoreDataError, match=f"day document {document} cannot be read.* this release knows"):
        await store.read_day(STREAM, document)


def test_a_head_without_a_version_is_of_the_first_release() -> None:
    """Which wrote none."""
    first = '{"offsets":{"w":1},"days":{},"seconds":{}}'
    assert head_from_text(STREAM, 3, first) == head(3, offsets={"w": 1})


async def test_the_head_moves_on_by_one_version_only(store: Store) -> None:
    """Anything but the next version is refused and changes nothing."""
    assert not await store.swap_head(head(2))
    assert await store.swap_head(head(1, offsets={"w": 1}))
    for wrong in (1, 3):
        assert not await store.swap_head(head(wrong, offsets={"w": 9}))
    assert await store.head(STREAM) == head(1, offsets={"w": 1})
    assert await store.swap_head(head(2, offsets={"w": 2}))
    assert await store.head(STREAM) == head(2, offsets={"w": 2})


async def test_a_long_history_of_heads_is_no_burden(store: Store) -> None:
    """After many versions, none of the old ones can come back."""
    for version in range(1, 31):
        assert await store.swap_head(head(version))
    for version in range(1, 31):
        assert not await store.swap_head(head(version))
    await store.tidy(head(30), named=frozenset(), tallies_before=0, days_before=FUTURE)
    assert not await store.swap_head(head(1))
    assert await store.head(STREAM) == head(30)
    assert await store.swap_head(head(31))


async def test_of_concurrent_swaps_one_wins(store: Store, other: Store) -> None:
    """At the first version and at later ones; the head is the winner's."""
    for version in range(1, 8):
        rivals = [head(version, offsets={"rival": n}) for n in range(6)]
        won = await asyncio.gather(
            *(where.swap_head(rival) for where, rival in zip([store, other] * 3, rivals, strict=True))
        )
        assert sum(won) == 1
        assert await store.head(STREAM) == rivals[won.index(True)]
        assert await other.head(STREAM) == rivals[won.index(True)]


async def test_each_stream_has_a_head_of_its_own(store: Store) -> None:
    """Versions are counted by stream."""
    await store.swap_head(head(1))
    assert await store.swap_head(head(1, stream="invoices"))
    assert await store.swap_head(head(2, stream="invoices"))
    assert await store.head(STREAM) == head(1)


async def test_a_day_document_comes_back_as_it_was(store: Store) -> None:
    """Under an id of its own at each write, also for the same day."""
    first = await store.write_day(STREAM, DAY, day_tally(1), 1)
    second = await store.write_day(STREAM, DAY, day_tally(2), 1)
    assert first != second
    assert await store.read_day(STREAM, first) == day_tally(1)
    assert await store.read_day(STREAM, second) == day_tally(2)
    assert await store.read_day(STREAM, "nothing") is None
    assert await store.read_day("invoices", first) is None


async def test_a_month_comes_back_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under an id of its own at each write; one of a newer release is refused."""
    first = await store.write_month(STREAM, "2026-11", {DAY: "a.$b"}, 1)
    second = await store.write_month(STREAM, "2026-11", {}, 1)
    assert await store.read_month(STREAM, first) == {DAY: "a.$b"}
    assert await store.read_month(STREAM, second) == {}
    assert await store.read_month(STREAM, "nothing") is None
    assert await store.read_month("invoices", first) is None
    with monkeypatch.context() as patched:
        patched.setattr("store.codec.MONTH_VERSION", 2)
        newer = await store.write_month(STREAM, "2026-11", {}, 1)
    with pytest.raises(StoreDataError, match=f"month document {newer} has format 2 and needs a newer release"):
        await store.read_month(STREAM, newer)


async def test_a_large_day_is_stored(store: Store) -> None:
    """A thousand stores and every minute of the day."""
    day = day_tally()
    for number in range(1_000):
        day.add("store", str(number), number, 1)
    for minute in range(1_440):
        day.add("minutes", str(minute), minute, 1)
    assert await store.read_day(STREAM, await store.write_day(STREAM, DAY, day, 1)) == day


async def test_tidy_drops_old_tallies_within_the_offsets_and_keeps_their_stubs(store: Store) -> None:
    """Not those past the offset, of an unknown writer, recent ones, or of another stream."""
    dropped = [entry("w.1", 1, at=10), entry("w.1", 2, at=20), entry("v", 1, at=10)]
    kept = [
        entry("w.1", 3, at=1000),  # recent
        entry("w.1", 4, at=10),  # past the offset
        entry("unknown", 1, at=10),
    ]
    elsewhere = entry("w.1", 1, at=10, stream="invoices")
    await store.append([*dropped, *kept, elsewhere])
    now = head(1, offsets={"w.1": 3, "v": 7})
    for _ in range(2):
        await store.tidy(now, named=frozenset(), tallies_before=100, days_before=0)
    stubs = [dataclasses.replace(one, tally=None) for one in dropped]
    wanted = sorted(stubs + kept, key=lambda one: (one.writer, one.seq))
    assert await ledger(store) == wanted
    assert await ledger(store, stream="invoices") == [elsewhere]


async def test_tidy_drops_the_tallies_of_closed_writers(store: Store) -> None:
    """Which no head names any more; a writer that is sealed and not closed may not be merged yet."""
    for writer in ("closed", "sealed"):
        await store.append([entry(writer, 1, at=10), entry(writer, 2, id=seal_id(writer), at=10)])
    await store.close_writers(STREAM, ["closed"])
    await store.tidy(head(1), named=frozenset(), tallies_before=100, days_before=0)
    dropped = [one.tally is None async for one in store.scan_ledger(STREAM) if one.writer == "closed"]
    kept = [one.tally is None async for one in store.scan_ledger(STREAM) if one.writer == "sealed"]
    assert (dropped, kept) == ([True, True], [False, False])


async def test_a_stub_still_keeps_its_frame_and_seq(store: Store) -> None:
    """What was counted once is never counted again."""
    old = entry("w", 1, at=10)
    await store.append([old])
    await store.tidy(head(1, offsets={"w": 1}), named=frozenset(), tallies_before=100, days_before=0)
    assert await store.append([entry("v", 1, id=old.frame)]) == 0
    assert await store.append([entry("w", 1)]) == 0
    found = await store.entry(STREAM, old.frame)
    assert found is not None
    assert found.tally is None


async def test_tidy_drops_many_tallies(store: Store) -> None:
    """More than one batch, of several writers."""
    await store.append([entry(f"w{n % 3}", n // 3 + 1, at=10) for n in range(600)])
    await store.tidy(
        head(1, offsets={"w0": 200, "w1": 200, "w2": 199}), named=frozenset(), tallies_before=100, days_before=0
    )
    left = [one for one in await ledger(store) if one.tally is not None]
    assert [(one.writer, one.seq, one.tally) for one in left] == [("w2", 200, tally())]


async def test_tidy_keeps_the_days_of_the_head_and_recent_ones(store: Store) -> None:
    """Only old documents that neither the head nor a later one can name are dropped, and only the stream's own."""
    named, old = [await store.write_day(STREAM, DAY, day_tally(n), 1) for n in (1, 2)]
    later = await store.write_day(STREAM, DAY, day_tally(4), 2)
    elsewhere = await store.write_day("invoices", DAY, day_tally(3), 1)
    month, old_month = [await store.write_month(STREAM, DAY[:7], {DAY: named}, 1) for _ in range(2)]
    now, kept = head(1, months={DAY[:7]: month}), frozenset({named, month})
    await store.tidy(now, named=kept, tallies_before=0, days_before=1)
    assert await store.read_day(STREAM, old) == day_tally(2)
    await store.tidy(now, named=kept, tallies_before=0, days_before=FUTURE)
    assert await store.read_month(STREAM, month) == {DAY: named}
    assert await store.read_month(STREAM, old_month) is None
    assert await store.read_day(STREAM, old) is None
    assert await store.read_day(STREAM, named) == day_tally(1)
    assert await store.read_day(STREAM, later) == day_tally(4)
    assert await store.read_day("invoices", elsewhere) == day_tally(3)
