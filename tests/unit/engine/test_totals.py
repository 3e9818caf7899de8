import asyncio
from typing import Any

import pytest

from analytics import Tally
from engine import Totals
from store.errors import StoreError
from store.protocol import Head, LedgerEntry
from tests.simulation.memory import MemoryStore


def entry(seq: int, amount: int = 10) -> LedgerEntry:
    """A ledger entry of one receipt."""
    tally = Tally()
    tally.day("2026-11-18").add("total", "", amount, 1)
    return LedgerEntry(frame=f"f{seq}", stream="receipts", writer="w", seq=seq, tally=tally, at=0.0)


class Held(MemoryStore):
    """A store whose head can only be swapped when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.fail = False

    async def swap_head(self, head: Head) -> bool:
        self.reached.set()
        await self.go.wait()
        if self.fail:
            raise StoreError("no head today")
        return await super().swap_head(head)


async def test_merging_goes_on_during_a_checkpoint() -> None:
    """What is merged while a checkpoint is written is in the totals, and in the next checkpoint."""
    store = Held()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    await totals.day("2026-11-18")
    checkpoint = asyncio.create_task(totals.checkpoint())
    await store.reached.wait()
    await store.append([entry(2, 5)])
    totals.merge("w", 2, 2, entry(2, 5).tally or Tally())
    store.go.set()
    assert await checkpoint
    assert (await totals.day("2026-11-18")).row("total", "", 2) == [15, 2]
    assert await totals.checkpoint()
    fresh = Totals(store, "receipts")
    await fresh.sync()
    assert (await fresh.day("2026-11-18")).row("total", "", 2) == [15, 2]
    assert fresh.revision == 2


async def test_a_day_asked_for_while_a_checkpoint_fails_is_not_made_up() -> None:
    """The totals are to be read again, and say so, rather than a part of them."""
    store = Held()
    await store.append([entry(1)])
    totals = Totals(store, "receipts")
    await totals.sync()
    checkpoint = asyncio.create_task(totals.checkpoint())
    await store.reached.wait()
    asked = asyncio.create_task(totals.day("2026-11-18"))
    store.fail = True
    store.go.set()
    with pytest.raises(StoreError, match="no head"):
        await checkpoint
    with pytest.raises(StoreError, match="again"):
        await asked
    await totals.sync()
    assert (await totals.day("2026-11-18")).row("total", "", 2) == [10, 1]


async def test_every_page_is_read_even_if_partials_are_faster() -> None:
    """A page that partials have merged meanwhile does not end the reading."""
    store = Held()
    await store.append([entry(seq) for seq in (1, 2, 3)])
    totals = Totals(store, "receipts", page=1)

    class Overtaken:
        """The store, but a partial arrives while its first page is on its way."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def ledger_after(self, stream: str, offsets: dict[str, int], *, limit: int) -> list[LedgerEntry]:
            page = await store.ledger_after(stream, offsets, limit=limit)
            if not offsets:
                totals.merge("w", 1, 1, entry(1).tally or Tally())
            return page

    totals._store = Overtaken()  # type: ignore[assignment]
    await totals.sync()
    assert totals.revision == 3
