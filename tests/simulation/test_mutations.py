"""Variants of the protocol that are wrong: the simulation has to catch each of them within its normal number of runs.

A check that no wrong variant trips over proves nothing; these are the proof that ours does.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from analytics import Tally
from engine import Flusher, PreparedFrame, Totals
from engine.totals import Merged
from store.protocol import Head, LedgerEntry, Owner
from tests.simulation.memory import MemoryStore
from tests.simulation.test_engine import RUNS, Story


class KeepsItsWriter(Flusher):
    """Goes on under the same writer id, at the seq it believes in, after an error."""

    async def flush(self, frames: Sequence[PreparedFrame]) -> Any:
        return await self._flush(frames)


class NeverReadsOwnersBack(Flusher):
    """Takes every identity that is there already for somebody else's."""

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for owned in result.owned:
            owned[:] = [event for event in owned if event.id in self._inserted]
        return result

    async def _claim(self, frames: Sequence[PreparedFrame], counted: float) -> dict[str, Owner]:
        before = set(self._store.stored)  # type: ignore[attr-defined]
        owners = await super()._claim(frames, counted)
        self._inserted = owners.keys() - before
        return owners


class CountsEveryCopyInAFrame(Flusher):
    """Counts a receipt as often as its own frame holds it."""

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for frame, owned in zip(frames, result.owned, strict=True):
            owned[:] = [event for event in frame.events if owners[event.id] == Owner(frame.id, event.hash)]
        return result


class DedupesAcrossFrames(Flusher):
    """Remembers identities it has seen, and drops their further copies from later frames."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._seen: dict[str, str] = {}

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for frame, owned in zip(frames, result.owned, strict=True):
            owned[:] = [event for event in owned if self._seen.setdefault(event.id, frame.id) == frame.id]
            for event in frame.events:
                self._seen.setdefault(event.id, frame.id)
        return result


class ForgetsConflicts(Flusher):
    """Passes over a frame that is in the ledger already, and over what contradicts the store in it."""

    async def _reject(self, items: Any) -> None:
        for item in items:
            if item.source not in self._store.ledger:  # type: ignore[attr-defined]
                self._store.refused.pop(item.id, None)  # type: ignore[attr-defined]


class LedgerWithoutFrameKey(MemoryStore):
    """A ledger that takes a second entry for a frame."""

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        for entry in entries:
            name = entry.frame
            while name in self.ledger:
                name += "'"
            self.ledger[name] = entry
        return len(entries)


class UnorderedLedger(MemoryStore):
    """An append that is not in order: when it stops in the middle, there are holes."""

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        shuffled = list(entries)
        self.chance.shuffle(shuffled)
        await super().append(shuffled)
        return len(entries)


class MergesWhateverItReads(Totals):
    """Does not look again whether a partial has overtaken the ledger read."""

    def _merge_entries(self, entries: list[LedgerEntry]) -> int:
        for entry in entries:
            self.offsets[entry.writer] = entry.seq - 1
            self.merge(entry.writer, entry.seq, entry.seq, entry.tally or Tally())
        return len(entries)


class MergesOverGaps(Totals):
    """Takes a partial that is not the next one for the next one."""

    def merge(self, writer: str, first: int, last: int, tally: Tally) -> Merged:
        return super().merge(writer, self.offsets.get(writer, 0) + 1, last, tally)


class OverwritesTheHead(MemoryStore):
    """A checkpoint without compare-and-set: whoever comes last wins."""

    async def swap_head(self, head: Head) -> bool:
        version = self.heads[head.stream].version if head.stream in self.heads else 0
        self.heads[head.stream] = Head(
            stream=head.stream, version=version + 1, offsets=head.offsets, days=head.days, seconds=head.seconds
        )
        return True


class WritesTheHeadTwice(Totals):
    """A checkpoint in two writes: first the offsets, then the days."""

    async def _write_days(self, snapshot: Head) -> Head:
        await self._store.swap_head(snapshot)
        written = await super()._write_days(snapshot)
        self._head = snapshot
        return Head(
            stream=written.stream,
            version=written.version + 1,
            offsets=written.offsets,
            days=written.days,
            seconds=written.seconds,
        )


@pytest.mark.simulation
@pytest.mark.parametrize(
    "variant",
    [
        {"flusher": KeepsItsWriter},
        {"flusher": NeverReadsOwnersBack},
        {"flusher": CountsEveryCopyInAFrame},
        {"flusher": DedupesAcrossFrames},
        {"flusher": ForgetsConflicts},
        {"memory": LedgerWithoutFrameKey},
        {"memory": UnorderedLedger},
        {"memory": OverwritesTheHead},
        {"totals": MergesWhateverItReads},
        {"totals": MergesOverGaps},
        {"totals": WritesTheHeadTwice},
        {"acknowledges_first": True},
    ],
    ids=lambda variant: str(next(iter(variant.values()))).removesuffix("'>").split(".")[-1],
)
async def test_a_wrong_variant_is_caught(variant: dict[str, Any]) -> None:
    """The invariants break within the normal number of runs."""
    for seed in range(RUNS):
        try:
            await Story(seed, **variant).run()
        except Exception:  # noqa: BLE001  # an invariant's assertion, or the engine's own alarm
            return
    pytest.fail(f"not caught in {RUNS} runs")
