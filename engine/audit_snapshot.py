"""What an audit compares: the totals of one moment, and which ledger entries and events belong to them.

The audit may run under traffic. Entries that were counted after it began, by the clock of who counted them, are taken
out of the totals again; so what is compared is what was counted until then, on both sides.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from engine.fingerprints import day_fingerprint
from engine.totals import Totals
from store.protocol import EventQuery, Folded, LedgerEntry, Store, StoredEvent

#: Clocks of workers may differ by so much; only matters for frames that were flushed by two of them.
CLOCKS_DIFFER_S = 5.0
#: Tallies of so many seconds behind those that were dropped are not compared: meanwhile they may be dropped, too.
_DROPPED_SOON_S = 6 * 3600.0
#: A receipt may be dated so many days ahead, and be of another day elsewhere.
_DATED_AHEAD_DAYS = 4
_PAGE = 1000


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """The totals of one moment.

    Attributes:
        at: the moment, epoch seconds: later events and entries are left out.
        since: the first day that is looked at, or None for all.
        totals: what they were read with.
        offsets: writer → number of its last entry that is in them, for writers that are not finished.
        folded: how many writers are finished, and how many entries they have.
        days: day → fingerprint of its totals.
        entries_from: entries of before were appended too early to hold events of these days.
        tallies_from: from here on, every entry has its tally.
    """

    at: float
    since: str | None
    totals: Totals
    offsets: dict[str, int] = field(default_factory=dict)
    folded: Folded = field(default_factory=Folded)
    days: dict[str, int] = field(default_factory=dict)
    entries_from: float = 0.0
    tallies_from: float = 0.0

    @classmethod
    async def take(
        cls, store: Store, stream: str, *, since: str | None = None, clock: Callable[[], float] = time.time
    ) -> "Snapshot":
        """Read the totals. Raises StoreError."""
        taken = cls(at=clock(), since=since, totals=Totals(store, stream))
        dropped_until = await store.tallies_dropped_until(stream)
        await taken.totals.sync()
        taken.offsets, taken.folded = dict(taken.totals.offsets), taken.totals.folded
        for day in sorted(await taken.totals.days()):
            if since is None or day >= since:
                taken.days[day] = day_fingerprint(day, await taken.totals.day(day))
        if since is not None:
            first = date.fromisoformat(since) - timedelta(days=_DATED_AHEAD_DAYS)
            taken.entries_from = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()
        taken.tallies_from = dropped_until + _DROPPED_SOON_S if dropped_until else 0.0
        return taken

    def ledger(self, store: Store, stream: str) -> AsyncIterator[LedgerEntry]:
        """The ledger entries that may hold events of the days that are looked at."""
        return store.scan_ledger(stream, since=self.entries_from)

    async def events(self, store: Store, stream: str) -> AsyncIterator[StoredEvent]:
        """The stored events of the days that are looked at. Raises StoreError."""
        if self.since is None:
            async for event in store.scan_events(stream):
                yield event
            return
        after: str | None = None
        while True:
            page = await store.events(stream, EventQuery(after=after, limit=_PAGE))
            for event in page:
                if event.day < self.since:
                    return
                yield event
            if not page.more:
                return
            after = page[-1].id

    def has(self, entry: LedgerEntry) -> bool:
        """Whether an entry is in the totals. Writers that they do not name are finished, or began later."""
        offset = self.offsets.get(entry.writer)
        if offset is not None:
            return entry.seq <= offset
        return entry.at <= self.at + (CLOCKS_DIFFER_S if entry.is_seal else 0.0)

    def compares(self, entry: LedgerEntry) -> bool:
        """Whether an entry and the events of its frame are looked at."""
        return entry.at <= self.at and self.has(entry)
