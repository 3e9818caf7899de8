"""The totals: the merge of all ledger entries, kept as a checkpoint plus what came after it.

Used by the totals process (kept up to date by partials), by `GET /totals` and by the audit (read once): one code.
"""

import asyncio
import enum
from collections.abc import Mapping

import structlog

from analytics.tally import DayTally, Tally, merge_rows
from store.errors import StoreDataError, StoreError
from store.protocol import LEDGER_LIMIT, Head, LedgerEntry, Store

log = structlog.get_logger()

#: Seconds of reception that are remembered: the last minute, and some more for clocks that differ.
REMEMBERED_SECONDS = 180
#: Days held whole in memory: today and yesterday, and one more around midnight.
_WHOLE_DAYS = 3


class Merged(enum.Enum):
    """What became of an entry or partial."""

    MERGED = "merged"
    KNOWN = "known"
    GAP = "gap"


class Totals:
    """The totals of one stream as far as its ledger has been read.

    `merge` is synchronous and judges each entry or partial by the offset of its writer at that very moment, so a
    partial that overtakes a ledger read (or the other way round) is never merged twice. Reading and checkpointing are
    done one at a time.

    Arguments:
        page: ledger entries read at once, which bounds memory.
    """

    def __init__(self, store: Store, stream: str, *, page: int = LEDGER_LIMIT) -> None:
        self._store = store
        self._page = page
        self._stream = stream
        self._turn = asyncio.Lock()
        #: how often it began from a checkpoint; days read before the last time are not what is held now
        self.loads = 0
        self._reset(None)
        #: whether what is held here rests on the checkpoint; until then nothing can be merged
        self._loaded = False

    def _reset(self, head: Head | None) -> None:
        self._head = head
        self._loaded = True
        #: whether the ledger was read since: before that, what is held here is old
        self.synced = False
        self.offsets: dict[str, int] = dict(head.offsets) if head else {}
        self.seconds: dict[int, list[int]] = {
            second: list(row) for second, row in (head.seconds if head else {}).items()
        }
        #: merged since the head, by day; and what a checkpoint under way is writing
        self._fresh: dict[str, DayTally] = {}
        self._writing: dict[str, DayTally] = {}
        #: days that are looked at, whole
        self._whole: dict[str, DayTally] = {}
        self._highest: dict[str, int] = {}

    @property
    def revision(self) -> int:
        """Ledger entries merged so far, by all writers."""
        return sum(self.offsets.values())

    @property
    def behind(self) -> int:
        """Ledger entries that a partial spoke of and that are not merged yet."""
        return sum(max(0, last - self.offsets.get(writer, 0)) for writer, last in self._highest.items())

    @property
    def changed(self) -> bool:
        """Whether anything was merged since the last checkpoint."""
        offsets: Mapping[str, int] = self._head.offsets if self._head else {}
        return self.offsets != offsets

    @property
    def head(self) -> Head | None:
        """The checkpoint that this stands on."""
        return self._head

    def merge(self, writer: str, first: int, last: int, tally: Tally) -> Merged:
        """Merge the entries `first`..`last` of a writer if they are exactly the next ones."""
        offset = self.offsets.get(writer, 0)
        if last <= offset:
            return Merged.KNOWN
        if not self._loaded or first != offset + 1:
            self._highest[writer] = max(last, self._highest.get(writer, 0))
            return Merged.GAP
        self.offsets[writer] = last
        for day, amounts in tally.days.items():
            self._fresh.setdefault(day, DayTally()).merge(amounts)
            if day in self._whole:
                self._whole[day].merge(amounts)
        merge_rows(self.seconds, tally.seconds)
        if self._highest.get(writer, 0) <= last:
            self._highest.pop(writer, None)
        return Merged.MERGED

    def forget_seconds(self, before: int) -> None:
        """Drop the seconds of reception before an epoch second."""
        for second in [second for second in self.seconds if second < before]:
            del self.seconds[second]

    async def _load(self) -> None:
        """Start from the checkpoint in the store, forgetting everything merged since."""
        self._loaded = self.synced = False
        self._reset(await self._store.head(self._stream))
        self.loads += 1

    async def sync(self) -> int:
        """Read the ledger after the offsets, for all writers it knows; merge what is contiguous. Count those.

        The first time, and after a checkpoint that was not ours, it starts from the checkpoint in the store.
        """
        async with self._turn:
            if not self._loaded:
                await self._load()
            merged = 0
            more = True
            while more:
                before = self.revision
                entries = await self._store.ledger_after(self._stream, dict(self.offsets), limit=self._page)
                merged += self._merge_entries(entries)
                more = len(entries) >= self._page and self.revision > before
            self.synced = True
            return merged

    def _merge_entries(self, entries: list[LedgerEntry]) -> int:
        merged = 0
        for entry in entries:
            if entry.tally is None:
                if entry.seq > self.offsets.get(entry.writer, 0):
                    raise StoreDataError(f"ledger entry {entry.writer}/{entry.seq} lost its tally before a checkpoint")
            elif self.merge(entry.writer, entry.seq, entry.seq, entry.tally) is Merged.MERGED:
                merged += 1
        return merged

    async def checkpoint(self) -> bool:
        """Write what changed as new day documents, then swap the head. True if the checkpoint is ours.

        The snapshot is taken in one step; merging may go on meanwhile. If another process moved the head, or the
        outcome is unknown (StoreError), all that was merged is forgotten, and the next `sync` reads it again from what
        the store has.
        """
        async with self._turn:
            if not self._loaded or not self.changed:
                return self._loaded
            snapshot = self._snapshot()
            swapped = False
            try:
                head = await self._write_days(snapshot)
                swapped = await self._store.swap_head(head)
            finally:
                if not swapped:
                    self._loaded = self.synced = False
            if swapped:
                self._head = head
                self._writing = {}
            else:
                log.warning("another process wrote a checkpoint, reading from it", stream=self._stream)
            return swapped

    def _snapshot(self) -> Head:
        """The next head but for its new day documents; what it covers moves from `_fresh` to `_writing`."""
        self._writing, self._fresh = self._fresh, {}
        return Head(
            stream=self._stream,
            version=(self._head.version if self._head else 0) + 1,
            offsets=dict(self.offsets),
            days=dict(self._head.days) if self._head else {},
            seconds={second: tuple(row) for second, row in self.seconds.items()},
        )

    async def _write_days(self, snapshot: Head) -> Head:
        days = dict(snapshot.days)
        for day, amounts in self._writing.items():
            whole = DayTally()
            if day in days:
                whole = await self._read_day(days[day])
            whole.merge(amounts)
            days[day] = await self._store.write_day(self._stream, day, whole, snapshot.version)
        return Head(
            stream=snapshot.stream,
            version=snapshot.version,
            offsets=snapshot.offsets,
            days=days,
            seconds=snapshot.seconds,
        )

    def days(self) -> frozenset[str]:
        """The business days that anything was counted on."""
        return frozenset(self._fresh) | frozenset(self._head.days if self._head else ())

    async def day(self, day: str) -> DayTally:
        """The totals of one business day, kept up to date by merging from then on; not to be changed.

        Raises StoreError before the first `sync`, and when the checkpoint moved on meanwhile: sync, and ask again.
        """
        if day not in self._whole:
            async with self._turn:
                if not self.synced:
                    raise StoreError("the totals are being read from the checkpoint again")
                whole = DayTally()
                if self._head and day in self._head.days:
                    whole = await self._read_day(self._head.days[day])
                if day in self._fresh:
                    whole.merge(self._fresh[day])
                while len(self._whole) >= _WHOLE_DAYS:
                    del self._whole[next(iter(self._whole))]
                self._whole[day] = whole
        return self._whole[day]

    async def _read_day(self, document: str) -> DayTally:
        tally = await self._store.read_day(self._stream, document)
        if tally is None:
            self._loaded = self.synced = False
            raise StoreError(f"day document {document} is gone: another process wrote a checkpoint")
        return tally
