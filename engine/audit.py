"""The audit: do the stored data add up? Checks the invariants of the ledger from what the store holds, nothing else.

Meant for rest (no request outstanding, no frame queued): under traffic, frames in the middle of their flush show up as
open claims. Delays are left out: they are no function of the events.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from analytics.tally import DayTally, Tally
from engine.totals import Totals
from store.protocol import Store
from streams.base import Stream
from streams.errors import InvalidEventError

#: Differences are listed up to this number; their count goes on.
MAX_LISTED = 20
_MODULUS = 1 << 128


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What the audit found.

    Attributes:
        events, entries, writers, days: how many were looked at.
        dropped: ledger entries whose tally was dropped below a checkpoint.
        differences: how many places do not add up; 0 is what it should be.
        listed: the first of them, one line each.
    """

    events: int = 0
    entries: int = 0
    writers: int = 0
    days: int = 0
    dropped: int = 0
    differences: int = 0
    listed: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(text)


async def audit(store: Store, stream: Stream) -> AuditReport:
    """Check a stream's store.

    - every stored event still reads as the identity, content hash and day that it is stored under;
    - each writer's seqs are 1..n, and no checkpoint is ahead of them;
    - each ledger entry's tally is the fold of the events that its frame owns;
    - no stored event's owner lacks an entry;
    - the totals (checkpoint plus ledger) are, day by day, the fold of the stored events.

    Raises StoreError.
    """
    report = AuditReport()
    ledger = await _read_ledger(store, stream, report)
    folded = await _fold_events(store, stream, ledger, report)
    await _compare_totals(store, stream, folded, report)
    return report


class _Ledger:
    """The ledger by frame: fingerprints of the tallies, and what the events of each frame add up to."""

    def __init__(self) -> None:
        self.expected: dict[str, int | None] = {}
        self.owned: dict[str, int] = defaultdict(int)
        self.open: dict[str, int] = defaultdict(int)


async def _read_ledger(store: Store, stream: Stream, report: AuditReport) -> _Ledger:
    ledger = _Ledger()
    seqs: dict[str, list[int]] = defaultdict(list)
    async for entry in store.scan_ledger(stream.name):
        report.entries += 1
        seqs[entry.writer].append(entry.seq)
        if entry.frame in ledger.expected:
            report.differ(f"frame {entry.frame} has two ledger entries")
        ledger.expected[entry.frame] = None if entry.tally is None else fingerprint(entry.tally)
        report.dropped += entry.tally is None
    report.writers = len(seqs)
    for writer, numbers in seqs.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            report.differ(f"writer {writer} has {len(numbers)} entries that are not numbered 1..{len(numbers)}")
    head = await store.head(stream.name)
    for writer, offset in (head.offsets if head else {}).items():
        if offset > len(seqs.get(writer, ())):
            report.differ(f"the checkpoint is at entry {offset} of writer {writer}, which has {len(seqs[writer])}")
    return ledger


async def _fold_events(store: Store, stream: Stream, ledger: _Ledger, report: AuditReport) -> Tally:
    total = Tally()
    async for stored in store.scan_events(stream.name):
        report.events += 1
        try:
            event = stream.parse(stored.body)
        except InvalidEventError as exc:
            report.differ(f"event {stored.id} cannot be read: {exc}")
            continue
        for name in ("id", "hash", "day"):
            if getattr(event, name) != getattr(stored, name):
                report.differ(f"event {stored.id}: {name} is {getattr(stored, name)}, its content says otherwise")
        if stored.frame not in ledger.expected:
            ledger.open[stored.frame] += 1
            continue
        own = Tally()
        stream.fold(own, event, event.received)
        ledger.owned[stored.frame] = (ledger.owned[stored.frame] + fingerprint(own)) % _MODULUS
        own.seconds.clear()
        for day in own.days.values():
            day.delays.clear()
        total.merge(own)
    for frame, count in ledger.open.items():
        report.differ(
            f"{count} events are claimed by frame {frame}, which has no ledger entry (in flight, or orphaned)"
        )
    for frame, expected in ledger.expected.items():
        if expected is not None and expected != ledger.owned.get(frame, 0):
            report.differ(f"the ledger entry of frame {frame} is not the fold of the events that the frame owns")
    return total


async def _compare_totals(store: Store, stream: Stream, folded: Tally, report: AuditReport) -> None:
    totals = Totals(store, stream.name)
    await totals.sync()
    days = sorted(folded.days.keys() | totals.days())
    report.days = len(days)
    for day in days:
        for text in _unequal(folded.days.get(day, DayTally()), await totals.day(day)):
            report.differ(f"{day}: {text}")


def _unequal(events: DayTally, totals: DayTally) -> Iterator[str]:
    """The rows in which two tallies of a day differ; a row of zeros is as good as none."""
    for table in sorted(events.tables.keys() | totals.tables.keys()):
        left, right = events.tables.get(table, {}), totals.tables.get(table, {})
        for key in sorted(left.keys() | right.keys()):
            mine, theirs = left.get(key, []), right.get(key, [])
            if mine != theirs and any(mine + theirs):
                yield f"{table}{'/' + key if key else ''}: the events add up to {mine}, the totals say {theirs}"


def fingerprint(tally: Tally) -> int:
    """A number that is equal for equal tallies, and adds up (modulo 2^128) when tallies are merged.

    Each cell has a weight, a hash of its place; the fingerprint is the sum of the amounts times the weights. So the
    tallies of a frame's events can be compared with its ledger entry without keeping them. Delays are left out.
    """
    total = 0
    for day, amounts in tally.days.items():
        for table, rows in amounts.tables.items():
            for key, row in rows.items():
                for index, amount in enumerate(row):
                    total += amount * _weight(day, table, key, index)
    for second, row in tally.seconds.items():
        total += row[0] * _weight("", "seconds", str(second), 0)
    return total % _MODULUS


@lru_cache(maxsize=100_000)
def _weight(day: str, table: str, key: str, index: int) -> int:
    place = "\0".join((day, table, key, str(index)))
    return int.from_bytes(hashlib.blake2b(place.encode(), digest_size=16).digest(), "big")
