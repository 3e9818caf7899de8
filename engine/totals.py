"""The totals: the merge of all ledger entries, kept as a checkpoint plus what came after it.

Used by the totals process (kept up to date by partials), by `GET /totals` and by the audit (read once): one code.
Not here: where a checkpoint's documents are (`engine.checkpoint`).
"""

import asyncio
import enum
import secrets
from collections.abc import Iterable
from dataclasses import replace

import structlog

from analytics.tally import DayTally, Tally, merge_rows
from engine.checkpoint import Attempt, DayDocuments, DocumentGoneError
from store.errors import StoreDataError
from store.protocol import LEDGER_BYTES, LEDGER_LIMIT, Folded, Head, LedgerEntry, Store, seal_id

log = structlog.get_logger()

#: Seconds of reception that are remembered: the last minute, and some more for clocks that differ.
REMEMBERED_SECONDS = 180
#: Days held whole in memory: today and yesterday, and one more around midnight.
_WHOLE_DAYS = 3
#: Writers that are remembered because a partial spoke of them; one more is read from the ledger all the same.
_MOST_ANNOUNCED = 10_000
#: Swaps of unknown outcome that are kept track of; after one more, all is read from the checkpoint again.
_MOST_ATTEMPTS = 8
#: Entries merged between two turns of the event loop.
_ENTRIES_PER_TURN = 50
#: Seals appended side by side.
_SEALS_AT_ONCE = 25
#: Beyond every seq: nothing of such a writer is read.
_ALL = 2**62
_NO_HEAD = Head(stream="", version=0, offsets={}, days={}, seconds={})


class Merged(enum.Enum):
    """The outcome of merging an entry or partial."""

    MERGED = "merged"
    KNOWN = "known"
    GAP = "gap"


class Totals:
    """The totals of one stream as far as its ledger has been read.

    `merge` is synchronous and judges each entry or partial by the offset of its writer at that very moment, so a
    partial that overtakes a ledger read (or the other way round) is never merged twice. Before the ledger was read to
    its end, and for a writer that it has not shown, every partial is a gap: a partial alone does not prove that the
    store has its entries. Reading and checkpointing are done one at a time.

    What is held in memory is the merge of the ledger up to the offsets whatever becomes of a checkpoint; a checkpoint
    whose outcome is unknown only leaves open which head the next one follows. That is looked up before the next one.

    Arguments:
        page, page_bytes: ledger entries read at once, which bounds memory.

    Attributes:
        loads: how often it began from a checkpoint; days read before the last time are not the ones held now.
        loaded: whether memory rests on the checkpoint; until then nothing can be published.
        synced: whether the ledger was read to its end since then; until then the totals are incomplete.
        newest: version of the newest head that was seen in the store.
        strays: partials of entries that the ledger does not have.
    """

    def __init__(self, store: Store, stream: str, *, page: int = LEDGER_LIMIT, page_bytes: int = LEDGER_BYTES) -> None:
        self._store = store
        self._page = page
        self._page_bytes = page_bytes
        self._stream = stream
        self._documents = DayDocuments(store, stream)
        self._turn = asyncio.Lock()
        self.loads = 0
        self.newest = 0
        self.strays = 0
        self._reset(None)
        self.loaded = False

    def _reset(self, head: Head | None) -> None:
        base = head or _NO_HEAD
        self._head = head
        self.loaded = True
        self.synced = False
        self._folded = base.folded
        self._closing: frozenset[str] = base.closing
        #: writers of `_closing` that the store has confirmed to be closed
        self._closed: set[str] = set()
        self.offsets: dict[str, int] = dict(base.offsets)
        self.seconds: dict[int, list[int]] = {second: list(row) for second, row in base.seconds.items()}
        #: merged since the last attempt at a checkpoint, by day
        self._fresh: dict[str, DayTally] = {}
        #: swaps of unknown outcome since the head, oldest first
        self._attempts: list[Attempt] = []
        #: days that are looked at, whole
        self._whole: dict[str, DayTally] = {}
        #: seals that were merged: their writers are folded at the next checkpoint
        self._sealed: set[str] = set()
        #: writers that had an entry since `seal_idle` last ended
        self._active: set[str] = set(base.offsets)
        #: writer → highest seq that a partial spoke of and that is not merged
        self._announced: dict[str, int] = {}
        #: the same when the reading of the ledger that is under way began
        self._announced_before: dict[str, int] | None = None
        #: writers whose next entry that reading did not find, while it found later ones: an append is under way
        self._passed: set[str] = set()

    @property
    def revision(self) -> int:
        """Ledger entries merged so far, by all writers."""
        return self._folded.entries + sum(self.offsets.values())

    @property
    def folded(self) -> Folded:
        """The writers that are finished and no longer in `offsets`."""
        return self._folded

    @property
    def behind(self) -> int:
        """Ledger entries that a partial spoke of and that are not merged yet."""
        return sum(max(0, last - self.offsets.get(writer, 0)) for writer, last in self._announced.items())

    @property
    def changed(self) -> bool:
        """Whether anything was merged since the last checkpoint."""
        base = self._head or _NO_HEAD
        return self.revision != base.folded.entries + sum(base.offsets.values())

    @property
    def head(self) -> Head | None:
        """The checkpoint that this stands on."""
        return self._head

    # Merging

    def merge(self, writer: str, first: int, last: int, tally: Tally) -> Merged:
        """Merge a partial, the entries `first`..`last` of a writer, if they are exactly the next ones."""
        if writer in self._closing:
            return Merged.KNOWN
        offset = self.offsets.get(writer)
        if offset is not None and last <= offset:
            return Merged.KNOWN
        if not self.synced or offset is None or first != offset + 1:
            if writer in self._announced or len(self._announced) < _MOST_ANNOUNCED:
                self._announced[writer] = max(last, self._announced.get(writer, 0))
            return Merged.GAP
        self._add(writer, last, tally)
        return Merged.MERGED

    def _add(self, writer: str, last: int, tally: Tally) -> None:
        self.offsets[writer] = last
        self._active.add(writer)
        for day, amounts in tally.days.items():
            self._fresh.setdefault(day, DayTally()).merge(amounts)
            if day in self._whole:
                self._whole[day].merge(amounts)
        merge_rows(self.seconds, tally.seconds)
        if self._announced.get(writer, 0) <= last:
            self._announced.pop(writer, None)

    def _merge_entry(self, entry: LedgerEntry) -> bool:
        """Merge an entry that was read from the ledger, if it is the next of its writer."""
        offset = self.offsets.get(entry.writer, 0)
        if entry.seq <= offset or entry.writer in self._closing:
            return False
        if entry.seq != offset + 1 or entry.tally is None:
            return False  # an append is under way
        self._add(entry.writer, entry.seq, entry.tally)
        if entry.is_seal:
            self._sealed.add(entry.writer)
        return True

    def keep_seconds(self, first: int, last: int) -> None:
        """Drop the seconds of reception outside of these epoch seconds, both included."""
        for second in [second for second in self.seconds if not first <= second <= last]:
            del self.seconds[second]

    # Reading

    async def sync(self) -> int:
        """Read the ledger after the offsets to its end; how many entries were merged. Raises StoreError."""
        merged, more = await self.read_page()
        while more:
            some, more = await self.read_page()
            merged += some
        return merged

    async def read_page(self) -> tuple[int, bool]:
        """Read the next page of the ledger after the offsets; merge what is contiguous.

        The first time, and after a checkpoint that was not ours, it starts from the checkpoint in the store.
        Returns how many entries were merged, and whether there is more to be read. Raises StoreError.
        """
        async with self._turn:
            if not self.loaded:
                await self._load()
            if self._announced_before is None:
                self._announced_before = dict(self._announced)
            before = self.revision
            passed, self._passed = self._passed, set()  # kept as long as the reading goes on
            offsets = {**self.offsets, **dict.fromkeys((*self._closing, *passed), _ALL)}
            page = await self._store.ledger_after(self._stream, offsets, limit=self._page, max_bytes=self._page_bytes)
            merged = 0
            for number, entry in enumerate(page, start=1):
                if entry.tally is None and entry.seq > self.offsets.get(entry.writer, 0):
                    return merged, await self._dropped(entry)
                merged += self._merge_entry(entry)
                if number % _ENTRIES_PER_TURN == 0:
                    await asyncio.sleep(0)
            if page.more:
                # A page of nothing but what lies behind gaps: others may have more.
                self._passed = passed if self.revision > before else passed | {entry.writer for entry in page}
                return merged, True
            if await self._overtaken():
                self.loaded = self.synced = False
                return merged, True
            self._drop_strays()
            self.synced = True
            return merged, False

    async def _load(self) -> None:
        """Start from the checkpoint in the store, forgetting everything merged since."""
        self.loaded = self.synced = False
        head = await self._store.head(self._stream)
        self._reset(head)
        self.newest = head.version if head else 0
        self.loads += 1

    async def _dropped(self, entry: LedgerEntry) -> bool:
        """Start again from a newer head, below which an entry's tally was dropped. Raises StoreDataError if there is
        none."""
        head = await self._store.head(self._stream) or _NO_HEAD
        if head.version == (self._head or _NO_HEAD).version:
            raise StoreDataError(f"ledger entry {entry.writer}/{entry.seq} lost its tally before a checkpoint")
        self.loaded = self.synced = False
        return True

    async def _overtaken(self) -> bool:
        """Whether a head in the store makes what is held here useless.

        One of another generation has folded writers that may not be listed any more, or totals that were rebuilt. One
        of an earlier version means that the store was set back.
        """
        head = await self._store.head(self._stream) or _NO_HEAD
        base = self._head or _NO_HEAD
        self.newest = head.version
        if head.version < base.version:
            log.warning("the store was set back to an earlier checkpoint, reading from it", stream=self._stream)
            return True
        ours = [attempt.head.token for attempt in self._attempts]
        return head.generation != base.generation and head.token not in ours

    def _drop_strays(self) -> None:
        """Forget partials that spoke of entries which the ledger, read to its end since, does not have.

        A partial is published after its entries are in the ledger, so these are of another store, or of this one
        before it was restored.
        """
        for writer, last in (self._announced_before or {}).items():
            if self._announced.get(writer) == last:
                del self._announced[writer]
                self.strays += 1
                log.warning("a partial of entries that the ledger does not have", writer=writer, last=last)
        self._announced_before = None

    # Finished writers

    async def seal_idle(self, at: float) -> None:
        """End the writers without an entry since this was last done; none the first time. Raises StoreError: then they
        are looked for again from the time before."""
        idle = [writer for writer in self.offsets if writer not in self._active and writer not in self._sealed]
        active, self._active = self._active, set()
        try:
            await self.seal(idle, at)
        except BaseException:
            self._active |= active
            raise

    async def seal(self, writers: Iterable[str], at: float) -> None:
        """End writers by one last ledger entry each; one that has appended something meanwhile is left alone.

        A writer that sleeps and wakes up can append nothing behind its seal: (writer, seq) is taken. So once it is
        merged, nothing of that writer can ever come again, and the next checkpoint folds it. Raises StoreError.
        """
        seals = [
            LedgerEntry(frame=seal_id(one), stream=self._stream, writer=one, seq=seq + 1, tally=Tally(), at=at)
            for one in writers
            if (seq := self.offsets.get(one)) is not None
        ]
        for start in range(0, len(seals), _SEALS_AT_ONCE):
            await asyncio.gather(*(self._store.append([seal]) for seal in seals[start : start + _SEALS_AT_ONCE]))

    async def close_folded(self) -> None:
        """Have the store leave folded writers out of what it lists; the next checkpoint need not name them then."""
        head = self._head
        if head is not None and (left := head.closing - self._closed):
            await self._store.close_writers(self._stream, left)
            if head is self._head:
                self._closed |= left

    # Checkpoints

    async def checkpoint(self) -> bool:
        """Write what changed as new documents, then swap the head. True if the checkpoint is ours.

        The snapshot is taken in one step; merging may go on meanwhile. If another process moved the head, all that was
        merged is forgotten, and the next reading starts from what the store has. On StoreError everything that was
        merged is kept, and the next call finds out how this one ended.
        """
        async with self._turn:
            if not self.loaded or not await self._settle():
                return False
            if not self.changed:
                return True
            attempt = self._snapshot()
            try:
                with self._unless_gone():
                    attempt.head = await self._documents.write(self._head or _NO_HEAD, self._attempts, attempt)
            except BaseException:
                self._take_back(attempt)
                raise
            self._attempts.append(attempt)  # until its outcome is known
            if await self._store.swap_head(attempt.head):
                self._adopt(attempt)
                return True
            return await self._settle() and self._head is attempt.head

    async def _settle(self) -> bool:
        """Find out which of the swaps of unknown outcome was done, if any; False if another process was first.

        One that is not done yet may still happen. Then the next swap fails, and this is found out here again.
        """
        if not self._attempts:
            return True
        head = await self._store.head(self._stream) or _NO_HEAD
        for attempt in self._attempts:
            if attempt.head.token == head.token:
                self._adopt(attempt)
                return True
        base = self._head or _NO_HEAD
        if (head.version, head.token) == (base.version, base.token) and len(self._attempts) <= _MOST_ATTEMPTS:
            return True
        log.warning("another process wrote a checkpoint, reading from it", stream=self._stream)
        self.loaded = self.synced = False
        return False

    def _snapshot(self) -> Attempt:
        """The next checkpoint but for its documents; its days move out of `_fresh`."""
        fresh, self._fresh = self._fresh, {}
        base = self._head or _NO_HEAD
        folding = frozenset(self._sealed)
        head = replace(
            base,
            stream=self._stream,
            version=base.version + 1,
            token=secrets.token_hex(16),
            generation=base.generation + bool(folding),
            offsets={writer: seq for writer, seq in self.offsets.items() if writer not in folding},
            folded=Folded(
                base.folded.writers + len(folding), base.folded.entries + sum(self.offsets[one] for one in folding)
            ),
            closing=(base.closing - self._closed) | folding,
            seconds={second: tuple(row) for second, row in self.seconds.items()},
        )
        changed = fresh.keys() | {day for attempt in self._attempts for day in attempt.days}
        whole = {day: self._whole[day].copy() for day in changed if day in self._whole}
        return Attempt(head=head, days=fresh, whole=whole, folding=folding)

    def _take_back(self, attempt: Attempt) -> None:
        """Hold as merged and not written what an attempt held that was never swapped."""
        fresh, self._fresh = self._fresh, attempt.days
        for day, amounts in fresh.items():
            self._fresh.setdefault(day, DayTally()).merge(amounts)

    def _adopt(self, attempt: Attempt) -> None:
        """Stand on the head of an attempt that was swapped; what later attempts held is merged and not written."""
        later = self._attempts[self._attempts.index(attempt) + 1 :]
        self._attempts = []
        for one in reversed(later):
            self._take_back(one)
        self._head = attempt.head
        self.newest = max(self.newest, attempt.head.version)
        self._folded = attempt.head.folded
        self._closing = attempt.head.closing
        self._closed &= self._closing
        self._sealed -= attempt.folding
        for writer in attempt.folding:
            self.offsets.pop(writer, None)

    # Days

    async def days(self) -> frozenset[str]:
        """The business days that anything was counted on. Raises StoreError."""
        async with self._turn:
            merged = {*self._fresh, *(day for attempt in self._attempts for day in attempt.days)}
            with self._unless_gone():
                return frozenset(merged | (await self._documents.all(self._head or _NO_HEAD)).keys())

    async def named(self, head: Head) -> frozenset[str]:
        """Every document that a head names, directly or by a month. Raises StoreError."""
        async with self._turn:
            with self._unless_gone():
                return frozenset({*(await self._documents.all(head)).values(), *head.months.values()})

    async def day(self, day: str) -> DayTally:
        """The totals of one business day, kept up to date by merging from then on; not to be changed.

        Raises StoreError: DocumentGoneError before the checkpoint was read, and when it moved on meanwhile; read again,
        and ask again.
        """
        if day not in self._whole:
            async with self._turn:
                if not self.loaded:
                    raise DocumentGoneError("the totals are being read from the checkpoint again")
                with self._unless_gone():
                    whole = await self._documents.read(self._head or _NO_HEAD, day)
                for amounts in (*(attempt.days for attempt in self._attempts), self._fresh):
                    if day in amounts:
                        whole.merge(amounts[day])
                while len(self._whole) >= _WHOLE_DAYS:
                    del self._whole[next(iter(self._whole))]
                self._whole[day] = whole
        whole = self._whole[day]
        whole.bound()  # else a key that was counted among the others would be shown apart, with a part of its sums
        return whole

    def _unless_gone(self) -> "_Reload":
        return _Reload(self)


class _Reload:
    """Has the totals start from the checkpoint again when a document that it names is gone."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, DocumentGoneError):
            self._totals.loaded = self._totals.synced = False
