"""The audit's second look: the frames, days and writers behind sums that differ, one by one.

It reads ledger and events again, as of a new moment, and keeps only what belongs to some suspects at a time, so that
memory stays bounded however much differs. A difference that is not found again was traffic.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from analytics.tally import DayTally, Tally
from engine.audit_loose import LooseEvents
from engine.audit_report import MAX_LISTED, TOLD_EVERY, AuditReport, Progress
from engine.audit_snapshot import CLOCKS_DIFFER_S, Snapshot
from engine.audit_writers import bucket_of
from engine.fingerprints import MODULUS, fingerprint
from engine.frame_filter import FrameFilter
from store.protocol import LedgerEntry, Store
from streams.base import Stream
from streams.errors import InvalidEventError

T = TypeVar("T")

#: Suspects looked at in one pass: buckets hold some hundred frames or writers each, days some megabytes.
_BUCKETS_AT_ONCE = 128
_DAYS_AT_ONCE = 4


@dataclass(slots=True, kw_only=True)
class Suspects:
    """Where sums differ.

    Attributes:
        frames, writers: buckets.
        days: business days.
    """

    frames: set[int] = field(default_factory=set)
    writers: set[int] = field(default_factory=set)
    days: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.frames or self.writers or self.days)

    def some(self) -> Iterator["Suspects"]:
        """As many at a time as memory allows."""
        parts = itertools.zip_longest(
            _chunks(sorted(self.frames), _BUCKETS_AT_ONCE),
            _chunks(sorted(self.writers), _BUCKETS_AT_ONCE),
            _chunks(sorted(self.days), _DAYS_AT_ONCE),
            fillvalue=(),
        )
        for frames, writers, days in parts:
            yield Suspects(frames=set(frames), writers=set(writers), days=set(days))


async def examine(
    store: Store,
    stream: Stream,
    suspects: Suspects,
    report: AuditReport,
    *,
    progress: Progress,
    since: str | None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Look at suspects one by one and report what differs, until as much is listed as a report lists.

    Raises StoreError.
    """
    for some in suspects.some():
        if len(report.listed) >= MAX_LISTED:
            report.differences += len(some.frames) + len(some.writers) + len(some.days)
            continue
        look = _Look(some, await Snapshot.take(store, stream.name, since=since, clock=clock))
        await look.read(store, stream, progress)
        for text in look.differences():
            report.differ(text)


class _Look:
    """One pass over ledger and events for some suspects."""

    def __init__(self, suspects: Suspects, snapshot: Snapshot) -> None:
        self._suspects = suspects
        self._snapshot = snapshot
        self._frames = FrameFilter()
        #: frame → fingerprint of its entry's tally, None where that was dropped
        self._expected: dict[str, int | None] = {}
        self._owned: dict[str, int] = defaultdict(int)
        #: frames whose entries count some keys together: entry and fold of the events, whose fingerprints do not add up
        self._wide: dict[str, tuple[Tally, Tally]] = {}
        #: finished writer → its entries, their highest number, and whether a seal ends them
        self._writers: dict[str, tuple[int, int, bool]] = {}
        self._folded = Tally()
        self._totals: dict[str, DayTally] = {}

    async def read(self, store: Store, stream: Stream, progress: Progress) -> None:
        """Read everything that the suspects may differ in. Raises StoreError."""
        for day in self._suspects.days:
            self._totals[day] = (await self._snapshot.totals.day(day)).copy()
        done = 0
        async for entry in self._snapshot.ledger(store, stream.name):
            self._add_entry(entry)
            done += 1
            if done % TOLD_EVERY == 0:
                progress("ledger entries again", done)
        if self._suspects.frames or self._suspects.days:
            await self._read_events(store, stream, progress)

    def _add_entry(self, entry: LedgerEntry) -> None:
        snapshot, suspects = self._snapshot, self._suspects
        if not snapshot.has(entry):
            return
        if entry.writer not in snapshot.offsets and bucket_of(entry.writer) in suspects.writers:
            count, highest, sealed = self._writers.get(entry.writer, (0, 0, False))
            self._writers[entry.writer] = (count + 1, max(highest, entry.seq), sealed or entry.is_seal)
        if entry.at > snapshot.at:
            if entry.tally is not None:
                self._fold(entry.tally)
            return
        self._frames.add(entry.frame)
        if bucket_of(entry.frame) in suspects.frames:
            tally = entry.tally
            self._expected[entry.frame] = None if tally is None else fingerprint(tally, snapshot.since)
            if tally is not None and any(day.overflowing for day in tally.days.values()):
                self._expected[entry.frame] = None
                self._wide[entry.frame] = (tally, Tally())

    def _fold(self, tally: Tally) -> None:
        for day, amounts in tally.days.items():
            if day in self._suspects.days:
                self._folded.day(day).merge(DayTally(tables=amounts.tables))

    async def _read_events(self, store: Store, stream: Stream, progress: Progress) -> None:
        loose = LooseEvents(store, stream.name, self._snapshot, self._fold)
        done = 0
        async for stored in self._snapshot.events(store, stream.name):
            done += 1
            if done % TOLD_EVERY == 0:
                progress("events again", done)
            suspected = stored.frame in self._expected
            if not suspected and stored.day not in self._suspects.days:
                continue
            try:
                event = stream.parse(stored.body)
            except InvalidEventError:
                continue  # reported already
            tally = Tally()
            stream.fold(tally, event, event.received)
            if suspected:
                own = self._owned[stored.frame] + fingerprint(tally, self._snapshot.since)
                self._owned[stored.frame] = own % MODULUS
                if stored.frame in self._wide:
                    self._wide[stored.frame][1].merge(tally)
            if stored.stored > self._snapshot.at + CLOCKS_DIFFER_S:
                continue
            if suspected or stored.frame in self._frames:
                self._fold(tally)
            else:
                await loose.add(stored.frame, tally)
        await loose.look_up()

    def differences(self) -> Iterator[str]:
        """What differs, one line each."""
        for writer, (count, highest, sealed) in self._writers.items():
            if not sealed:
                yield f"entry {highest} of writer {writer} is out of reach: one before it is missing"
            elif count != highest:
                yield f"writer {writer} ended with entry {highest}, and has {count} entries"
        for frame, expected in self._expected.items():
            if frame in self._wide:
                differs = any(_wide_days_differ(*self._wide[frame]))
            else:
                differs = expected is not None and expected != self._owned.get(frame, 0)
            if differs:
                yield f"the ledger entry of frame {frame} is not the fold of the events that the frame owns"
        for day in sorted(self._suspects.days):
            for text in _unequal(self._folded.days.get(day, DayTally()), self._totals[day]):
                yield f"{day}: {text}"


def _wide_days_differ(entry: Tally, events: Tally) -> Iterator[str]:
    for day in entry.days.keys() | events.days.keys():
        yield from _unequal(events.day(day), entry.day(day))


def _unequal(events: DayTally, totals: DayTally) -> Iterator[str]:
    """The rows in which two tallies of a day differ; a row of zeros is as good as none."""
    events.bound()
    totals.bound()
    for table in sorted(events.tables.keys() | totals.tables.keys()):
        left, right = events.tables.get(table, {}), totals.tables.get(table, {})
        for key in sorted(left.keys() | right.keys()):
            mine, theirs = left.get(key, []), right.get(key, [])
            if mine != theirs and any(mine + theirs):
                yield f"{table}{'/' + key if key else ''}: the events add up to {mine}, the totals say {theirs}"


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
