"""Rebuild: the totals made anew from the stored events, for when day documents or the sums in them are damaged.

The totals are folded from the events day by day, whatever the ledger's tallies say, and swapped in by one exchange of
the head. The ledger says which entries they hold: all of them, since an event counts only if its frame has an entry. So
this is for a system at rest only, as `engine.repair`. Days that are done are kept under a stream name of their own; a
rebuild that was ended goes on behind them, unless anything was counted or checkpointed in between.
"""

import secrets
from dataclasses import dataclass, field, replace

from analytics.tally import DayTally, Tally
from engine.audit_report import TOLD_EVERY, Progress, quiet
from engine.checkpoint import DayDocuments
from engine.frame_filter import FrameFilter
from engine.repair import check_ledger, read_stored
from engine.totals import Totals
from store.protocol import EventQuery, Folded, Head, Page, Store, StoredEvent, seal_id
from streams.base import Stream
from streams.errors import TillstreamError

_PAGE = 500


class NotRebuiltError(TillstreamError):
    """The totals cannot be made from what is stored, or somebody else changed them meanwhile; they are as they were."""


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        events: how many were folded now.
        days: business day → id of its new document.
        resumed: days that an earlier attempt had done.
    """

    events: int = 0
    days: dict[str, str] = field(default_factory=dict)
    resumed: int = 0


async def rebuild(store: Store, stream: Stream, *, progress: Progress = quiet) -> Rebuilt:
    """Make the totals anew from the stored events and swap them in. For a system at rest only: see `unrest`.

    It may be killed, and run again: it goes on behind the last day that was done.

    Raises:
        NotRepairableError: entries are missing from the ledger.
        NotRebuiltError: an event has no ledger entry or cannot be read, or another process moved the checkpoint on.
        StoreError: run it again.
    """
    frames = (FrameFilter(), FrameFilter())
    await check_ledger(store, stream, progress, frames)
    totals = Totals(store, stream.name)
    await totals.sync()
    head = await _next_head(store, stream, totals)
    work = _Work(store, stream, head, frames, progress)
    await work.resume()
    await work.fold()
    days, months = await DayDocuments(store, stream.name).put_away_all(work.done.days, head.version)
    if not await store.swap_head(replace(head, days=days, months=months)):
        raise NotRebuiltError(
            "another process moved the checkpoint on, nothing was changed: stop the totals (or `up`), and run it again"
        )
    await work.forget()
    return work.done


async def _next_head(store: Store, stream: Stream, totals: Totals) -> Head:
    """The head to swap in, but for its days: it holds the whole ledger, and folds writers that are finished."""
    base = totals.head or Head(stream=stream.name, version=0, offsets={}, days={}, seconds={})
    offsets, folded, closing = dict(totals.offsets), totals.folded, set(base.closing)
    for writer, last in totals.offsets.items():
        seal = await store.entry(stream.name, seal_id(writer))
        if seal is not None and seal.seq == last:
            del offsets[writer]
            closing.add(writer)
            folded = Folded(folded.writers + 1, folded.entries + last)
    return replace(
        base,
        version=base.version + 1,
        token=secrets.token_hex(16),
        generation=base.generation + 1,
        offsets=offsets,
        folded=folded,
        closing=frozenset(closing),
        seconds={second: tuple(row) for second, row in totals.seconds.items()},
    )


class _Work:
    """Folds the stored events, newest day first, and keeps which days are done."""

    def __init__(
        self, store: Store, stream: Stream, head: Head, frames: tuple[FrameFilter, ...], progress: Progress
    ) -> None:
        self._store = store
        self._stream = stream
        self._head = head
        self._frames = frames
        self._progress = progress
        #: the days that are done, kept as a head of a stream of this name
        self._kept = Head(stream=f"{stream.name}:rebuild", version=0, offsets={}, days={}, seconds={})
        self.done = Rebuilt()

    async def resume(self) -> None:
        """Take what an earlier attempt did, if it was for the same ledger and the same checkpoint."""
        kept = await self._store.head(self._kept.stream)
        head = self._head
        if kept is not None and (kept.offsets, kept.folded, kept.generation) == (
            head.offsets,
            head.folded,
            head.version,
        ):
            self.done.days = dict(kept.days)
            self.done.resumed = len(kept.days)
        self._kept = kept or self._kept

    async def fold(self) -> None:
        """Fold what is not done yet and write its day documents. Raises NotRebuiltError, StoreError."""
        day, whole = "", DayTally()
        after = await self._place()
        while True:
            page = await self._events(after)
            for stored in page:
                if stored.day != day:
                    await self._finish(day, whole)
                    day, whole = stored.day, DayTally()
                whole.merge(self._tally(stored).day(day))
                self.done.events += 1
                if self.done.events % TOLD_EVERY == 0:
                    self._progress("events", self.done.events)
            if not page.more:
                break
            after = page[-1].id
        await self._finish(day, whole)
        self._progress("events", self.done.events)

    async def _place(self) -> str | None:
        """The id of the last event of the days that are done."""
        if not self.done.days:
            return None
        query = EventQuery(day=min(self.done.days), limit=_PAGE)
        after: str | None = None
        while True:
            page = await self._store.events(self._stream.name, replace(query, after=after))
            after = page[-1].id if page else after
            if not page.more:
                return after

    async def _events(self, after: str | None) -> Page[StoredEvent]:
        return await self._store.events(self._stream.name, EventQuery(after=after, limit=_PAGE))

    def _tally(self, stored: StoredEvent) -> Tally:
        if not all(stored.frame in frames for frames in self._frames):
            raise NotRebuiltError(
                f"event {stored.id} is claimed by frame {stored.frame}, which has no ledger entry: "
                "run `tillstream audit --repair` first"
            )
        event = read_stored(self._stream, stored)
        if isinstance(event, str):
            raise NotRebuiltError(f"{event}: its share of the totals cannot be made anew; restore a backup")
        tally = Tally()
        self._stream.fold(tally, event, stored.stored)
        return tally

    async def _finish(self, day: str, whole: DayTally) -> None:
        """Write a day that is done, and that it is."""
        if not day:
            return
        self.done.days[day] = await self._store.write_day(self._stream.name, day, whole, self._head.version)
        await self._keep(self.done.days)
        self._progress("days", len(self.done.days))

    async def forget(self) -> None:
        """Keep nothing of the days that were done: they are in the totals."""
        await self._keep({})

    async def _keep(self, days: dict[str, str]) -> None:
        head = self._head
        self._kept = replace(
            self._kept,
            version=self._kept.version + 1,
            generation=head.version,
            offsets=head.offsets,
            folded=head.folded,
            days=dict(days),
        )
        if not await self._store.swap_head(self._kept):
            raise NotRebuiltError("another rebuild is under way, nothing was changed")
