"""The audit: do the stored data add up? Checks the invariants of the ledger from what the store holds, nothing else.

It may run under traffic: the totals are read first, and only the ledger entries that are in them, and those entries'
events, are looked at. A frame in the middle of its flush is given some time to get its entry. Delays are left out:
they are no function of the events.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from analytics.tally import DayTally, Tally
from engine.contents import comparable
from engine.totals import Totals
from store.protocol import Folded, Store
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
        open: frames that own events and have no ledger entry: they wait in a queue, are dead letters, or were lost.
        differences: how many places do not add up; 0 is what it should be.
        listed: the first of them, one line each.
    """

    events: int = 0
    entries: int = 0
    writers: int = 0
    days: int = 0
    dropped: int = 0
    open: int = 0
    differences: int = 0
    listed: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(text)


async def audit(store: Store, stream: Stream, *, patience_s: float = 10.0) -> AuditReport:
    """Check a stream's store.

    - every stored event still reads as the identity, content hash and day that it is stored under;
    - each writer's seqs are 1..n, and the totals are not ahead of them;
    - each ledger entry's tally is the fold of the events that its frame owns;
    - no stored event's owner lacks an entry;
    - the totals (checkpoint plus ledger) are, day by day, the fold of the stored events.

    Arguments:
        patience_s: how long a frame that owns events may lack its entry before that is a difference.
    Raises StoreError.
    """
    report = AuditReport()
    totals = Totals(store, stream.name)
    await totals.sync()
    days = {day: (await totals.day(day)).copy() for day in sorted(await totals.days())}
    offsets = {**await _folded(store, stream, totals, report), **totals.offsets}
    ledger = await _read_ledger(store, stream, offsets, report)
    folded = await _fold_events(store, stream, ledger, report)
    await _wait_for_entries(store, stream, ledger, patience_s)
    report.open = len(ledger.open)
    for frame, count in ledger.open.items():
        report.differ(f"{count} events are claimed by frame {frame}, which has no ledger entry")
    await totals.sync()
    for writer, seq in ledger.newer.values():
        if seq > totals.offsets.get(writer, 0):
            report.differ(f"entry {seq} of writer {writer} is out of reach: one before it is missing")
    _compare_totals(folded, days, report)
    return report


class _Ledger:
    """The ledger by frame.

    Attributes:
        expected: frame → fingerprint of its entry's tally, None where that was dropped; entries in the totals only.
        newer: frame → writer and seq of its entry, where the totals had not read so far.
        owned: frame → fingerprint of the fold of the events that it owns.
        open: frame without an entry → events that it owns.
    """

    def __init__(self) -> None:
        self.expected: dict[str, int | None] = {}
        self.newer: dict[str, tuple[str, int]] = {}
        self.owned: dict[str, int] = defaultdict(int)
        self.open: dict[str, int] = defaultdict(int)


async def _folded(store: Store, stream: Stream, totals: Totals, report: AuditReport) -> dict[str, int]:
    """The writers that the totals no longer name: finished by a seal, whose seq says how many entries each has."""
    folded: dict[str, int] = {}
    async for entry in store.scan_ledger(stream.name):
        if entry.is_seal and entry.writer not in totals.offsets:
            folded[entry.writer] = entry.seq
    found = Folded(len(folded), sum(folded.values()))
    if found != totals.folded:
        report.differ(f"{found} by their seals, and the totals say {totals.folded}")
    return folded


async def _read_ledger(store: Store, stream: Stream, offsets: Mapping[str, int], report: AuditReport) -> _Ledger:
    ledger = _Ledger()
    seqs: dict[str, list[int]] = defaultdict(list)
    async for entry in store.scan_ledger(stream.name):
        if entry.seq > offsets.get(entry.writer, 0):
            ledger.newer[entry.frame] = (entry.writer, entry.seq)
            continue
        report.entries += 1
        seqs[entry.writer].append(entry.seq)
        if entry.frame in ledger.expected:
            report.differ(f"frame {entry.frame} has two ledger entries")
        ledger.expected[entry.frame] = None if entry.tally is None else fingerprint(entry.tally)
        report.dropped += entry.tally is None
    report.writers = len(offsets)
    for writer, offset in offsets.items():
        if sorted(seqs[writer]) != list(range(1, offset + 1)):
            report.differ(
                f"writer {writer} is in the totals up to entry {offset}, and has {len(seqs[writer])} entries up to that"
            )
    return ledger


async def _wait_for_entries(store: Store, stream: Stream, ledger: _Ledger, patience_s: float) -> None:
    """Let frames that were in the middle of their flush finish."""
    pause_s = 0.1
    while ledger.open and patience_s > 0:
        for frame in list(ledger.open):
            if await store.entry(stream.name, frame) is not None:
                del ledger.open[frame]
        if ledger.open:
            await asyncio.sleep(pause_s)
            patience_s -= pause_s


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
            if name == "hash" and not comparable(event.hash, stored.hash):
                continue  # another release stored it; the content is in the fold below
            if getattr(event, name) != getattr(stored, name):
                report.differ(f"event {stored.id}: {name} is {getattr(stored, name)}, its content says otherwise")
        if stored.frame not in ledger.expected:
            if stored.frame not in ledger.newer:
                ledger.open[stored.frame] += 1
            continue
        own = Tally()
        stream.fold(own, event, event.received)
        ledger.owned[stored.frame] = (ledger.owned[stored.frame] + fingerprint(own)) % _MODULUS
        own.seconds.clear()
        for day in own.days.values():
            day.delays.clear()
        total.merge(own)
    for frame, expected in ledger.expected.items():
        if expected is not None and expected != ledger.owned.get(frame, 0):
            report.differ(f"the ledger entry of frame {frame} is not the fold of the events that the frame owns")
    return total


def _compare_totals(folded: Tally, totals: Mapping[str, DayTally], report: AuditReport) -> None:
    days = sorted(folded.days.keys() | totals.keys())
    report.days = len(days)
    for day in days:
        for text in _unequal(folded.days.get(day, DayTally()), totals.get(day, DayTally())):
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
