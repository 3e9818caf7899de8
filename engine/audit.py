"""The audit: do the stored data add up? Checks the invariants of the ledger from what the store holds, nothing else.

Its memory does not grow with the ledger: ledger and events are read once, and compared by fingerprints that add up, in
buckets of frames and by day. Only where a sum differs, the frames, days and writers behind it are looked at one by one
(`engine.audit_detail`). It may run under traffic (`engine.audit_snapshot`). Delays are left out: they are no function
of the events.
"""

import time
from collections import defaultdict
from collections.abc import Callable

from analytics.tally import Tally
from engine.audit_detail import Suspects, examine
from engine.audit_loose import LooseEvents
from engine.audit_report import TOLD_EVERY, AuditReport, Progress, quiet
from engine.audit_snapshot import CLOCKS_DIFFER_S, Snapshot
from engine.audit_writers import BUCKETS, WriterSums, bucket_of
from engine.contents import comparable
from engine.fingerprints import MODULUS, day_fingerprints, fingerprint, seconds_fingerprint, total_of
from engine.frame_filter import FrameFilter
from store.protocol import LedgerEntry, Store, StoredEvent, seal_id
from streams.base import Event, Stream
from streams.errors import InvalidEventError


async def audit(
    store: Store,
    stream: Stream,
    *,
    since: str | None = None,
    patience_s: float = 10.0,
    progress: Progress = quiet,
    clock: Callable[[], float] = time.time,
) -> AuditReport:
    """Check a stream's store.

    - every stored event still reads as the identity, content hash and day that it is stored under;
    - each writer's seqs are 1..n, and the totals are not ahead of them;
    - each ledger entry's tally is the fold of the events that its frame owns;
    - no stored event's owner lacks an entry;
    - the totals (checkpoint plus ledger) are, day by day, the fold of the stored events.

    Arguments:
        since: look only at events of this business day and later ones; the numbers of entries are not looked at then.
        patience_s: how long a frame that owns events may lack its entry before that is a difference.
    Raises StoreError.
    """
    report = AuditReport(since=since or "")
    sketch = _Sketch(await Snapshot.take(store, stream.name, since=since, clock=clock), report)
    loose = LooseEvents(store, stream.name, sketch.snapshot, sketch.add_to_days)
    await _read_ledger(store, stream, sketch, progress)
    await _read_events(store, stream, sketch, loose, progress)
    await loose.wait(patience_s)
    report.open = len(loose.open)
    for frame, count in loose.open.items():
        report.differ(f"{count} events are claimed by frame {frame}, which has no ledger entry")
    if loose.others:
        report.differ(f"{loose.others} events more are claimed by frames without a ledger entry")
    if since is None:
        await _check_writers(store, stream, sketch)
    suspects = sketch.suspects()
    if suspects:
        await examine(store, stream, suspects, report, progress=progress, since=since, clock=clock)
    return report


class _Sketch:
    """The sums of one pass over ledger and events.

    Attributes:
        frames: the frames that are compared; the filter may take others for them, once in a long while.
    """

    def __init__(self, snapshot: Snapshot, report: AuditReport) -> None:
        self.snapshot = snapshot
        self.report = report
        self.frames = FrameFilter()
        self.writers = WriterSums(snapshot.offsets)
        #: the entries' fingerprints less those of the events of their frames
        self._buckets = [0] * BUCKETS
        #: the events' fingerprints less those of the totals, by day
        self._days: dict[str, int] = defaultdict(int, {day: -number for day, number in snapshot.days.items()})

    def add_entry(self, entry: LedgerEntry) -> None:
        """Take a ledger entry."""
        snapshot, report = self.snapshot, self.report
        if not snapshot.has(entry):
            self.writers.leave_out(entry)
            return
        self.writers.add(entry)
        report.entries += 1
        report.dropped += entry.tally is None
        if entry.at > snapshot.at:  # it is in the totals, and its events are left out
            if entry.tally is not None:
                self.add_to_days(entry.tally)
            return
        self.frames.add(entry.frame)
        if entry.tally is not None and entry.at > snapshot.tallies_from:
            self._buckets[bucket_of(entry.frame)] += fingerprint(entry.tally, snapshot.since)

    def add_event(self, stored: StoredEvent, tally: Tally) -> None:
        """Take an event of a frame that is compared, with its tally."""
        days = day_fingerprints(tally, self.snapshot.since)
        self._add(days)
        if stored.stored > self.snapshot.tallies_from:
            seconds = seconds_fingerprint(tally) if self.snapshot.since is None else 0
            self._buckets[bucket_of(stored.frame)] -= total_of(days.values()) + seconds

    def add_to_days(self, tally: Tally) -> None:
        """Take a tally that is in the totals."""
        self._add(day_fingerprints(tally, self.snapshot.since))

    def _add(self, days: dict[str, int]) -> None:
        for day, number in days.items():
            self._days[day] += number

    def suspects(self) -> Suspects:
        """Where sums differ."""
        self.report.days = len(self._days)
        return Suspects(
            frames={bucket for bucket, number in enumerate(self._buckets) if number % MODULUS},
            days={day for day, number in self._days.items() if number % MODULUS},
            writers=set() if self.snapshot.since is not None else self.writers.suspects(),
        )


async def _read_ledger(store: Store, stream: Stream, sketch: _Sketch, progress: Progress) -> None:
    done = 0
    async for entry in sketch.snapshot.ledger(store, stream.name):
        sketch.add_entry(entry)
        done += 1
        if done % TOLD_EVERY == 0:
            progress("ledger entries", done)
    progress("ledger entries", done)


async def _read_events(store: Store, stream: Stream, sketch: _Sketch, loose: LooseEvents, progress: Progress) -> None:
    report, snapshot = sketch.report, sketch.snapshot
    async for stored in snapshot.events(store, stream.name):
        report.events += 1
        if report.events % TOLD_EVERY == 0:
            progress("events", report.events)
        try:
            event = stream.parse(stored.body)
        except InvalidEventError as exc:
            report.differ(f"event {stored.id} cannot be read: {exc}")
            continue
        _check_event(stored, event, report)
        if stored.stored > snapshot.at + CLOCKS_DIFFER_S:
            continue
        tally = Tally()
        stream.fold(tally, event, event.received)
        if stored.frame in sketch.frames:
            sketch.add_event(stored, tally)
        else:
            await loose.add(stored.frame, tally)
    await loose.look_up()
    progress("events", report.events)


def _check_event(stored: StoredEvent, event: Event, report: AuditReport) -> None:
    for name in ("id", "hash", "day"):
        if name == "hash" and not comparable(event.hash, stored.hash):
            continue  # another release stored it; the content is in the sums
        if getattr(event, name) != getattr(stored, name):
            report.differ(f"event {stored.id}: {name} is {getattr(stored, name)}, its content says otherwise")


async def _is_finished(store: Store, stream: Stream, writer: str) -> bool:
    return await store.entry(stream.name, seal_id(writer)) is not None


async def _check_writers(store: Store, stream: Stream, sketch: _Sketch) -> None:
    report, writers, totals = sketch.report, sketch.writers, sketch.snapshot.totals
    report.writers = len(writers.offsets) + writers.sealed.writers
    if writers.sealed != sketch.snapshot.folded:
        sealed, folded = writers.sealed, sketch.snapshot.folded
        report.differ(
            f"{sealed.writers} writers are finished, with {sealed.entries} entries; the totals hold {folded.writers} "
            f"such writers with {folded.entries} entries"
        )
    for writer, number, count in writers.incomplete():
        report.differ(f"writer {writer} is in the totals up to entry {number}, and has {count} entries up to that")
    await totals.sync()
    for writer, number in writers.beyond.items():
        if number > totals.offsets.get(writer, 0) and not await _is_finished(store, stream, writer):
            report.differ(f"entry {number} of writer {writer} is out of reach: one before it is missing")
