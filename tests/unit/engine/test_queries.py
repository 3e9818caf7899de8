from zoneinfo import ZoneInfo

import pytest

from analytics import DayTally, Tally
from engine import Totals, read_day, read_totals
from store.errors import StoreError
from store.protocol import LedgerEntry
from streams import ReceiptStream
from tests.simulation.memory import MemoryStore

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
    """A store that fails once is asked again; one that always fails is an error."""
    store = await two_days()
    real = store.head
    failures = iter([True, False])

    async def head(stream: str) -> object:
        if next(failures, True):
            raise StoreError("not now")
        return await real(stream)

    store.head = head  # type: ignore[assignment, method-assign]
    assert (await read_day(store, STREAM, TODAY))[1] == 3
    with pytest.raises(StoreError, match="not now"):
        await read_day(store, STREAM, TODAY)
