"""Repair: counting events that are stored, claimed by a frame, and in no ledger entry.

That is what a frame leaves behind that was lost after its events were stored and before it was counted: its message was
removed from the broker by hand, or the broker lost its disk. As long as a frame can still be delivered it must not be
counted by anyone else, for it might claim more events. So this is for a system at rest only.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from broker.exchanges import Topology
from broker.protocol import Broker
from engine.audit_report import TOLD_EVERY, Progress, quiet
from engine.audit_writers import WriterSums
from engine.contents import comparable
from engine.flush import Flusher
from engine.frame_filter import FrameFilter
from engine.prepare import PreparedFrame
from engine.totals import Totals
from store.errors import StoreRefusedError
from store.protocol import Store, StoredEvent
from streams.base import Event, Stream
from streams.errors import InvalidEventError, TillstreamError

#: Events in memory at once, and their bytes, but for a frame that has more.
_EVENTS_AT_ONCE = 10_000
_BYTES_AT_ONCE = 16 * 1024**2
#: Frames found in one pass.
_FRAMES_AT_ONCE = 10_000
_GONE = (
    "entries are missing that the totals may hold already, so that counting their events again could count them twice; "
    "restore a backup"
)
_POLL_S = 0.25
#: Figures that keep changing are no rest.
_PATIENCE_S = 60.0


class NotRepairableError(TillstreamError):
    """The ledger is damaged in a way that counting again would make worse; nothing was written."""


@dataclass(slots=True, kw_only=True)
class Repaired:
    """What a repair did.

    Attributes:
        counted: frame → events that are counted now.
        left: frame → why its events were left as they are.
    """

    counted: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


async def unrest(
    broker: Broker, topology: Topology, *, stable_s: float, clock: Callable[[], float] = time.monotonic
) -> list[str]:
    """What keeps the system from being at rest, one phrase each; empty when it is.

    The broker says how many messages are ready, not how many somebody holds: as long as somebody consumes, there may be
    some. So nobody may.

    Arguments:
        stable_s: for how long the broker's answers have to be the same: longer than they lag.
    Raises BrokerError.
    """
    began = since = clock()
    last: list[str] | None = None
    while True:
        reasons = await _reasons(broker, topology)
        now = clock()
        if reasons != last:
            last, since = reasons, now
        if now - since >= stable_s:
            return reasons
        if now - began > _PATIENCE_S:
            return reasons or ["the broker's figures keep changing"]
        await asyncio.sleep(_POLL_S)


async def _reasons(broker: Broker, topology: Topology) -> list[str]:
    work, dead = await broker.state(topology.work), await broker.state(topology.dead)
    found = {
        f"{work.ready} frames wait in {topology.work.name}: let the workers count them": work.ready,
        f"{work.consumers} workers are connected to {topology.work.name}: stop them": work.consumers,
        f"{dead.ready} dead letters are in {topology.dead.name}: replay or discard them": dead.ready,
        f"{dead.consumers} others are looking at {topology.dead.name}": dead.consumers,
    }
    return [reason for reason, number in found.items() if number]


async def repair(store: Store, broker: Broker, stream: Stream, *, progress: Progress = quiet) -> Repaired:
    """Count every event whose owner has no ledger entry, by the flush's own code, under a fresh writer.

    Each frame is counted wholly or not at all, and never twice: the ledger's unique key decides. So it may be killed,
    and run again. For a system at rest only: see `unrest`. Memory is bounded: the frames that are found in one pass
    over the store are counted, until a pass finds none.

    Raises:
        NotRepairableError: entries are missing from the middle of the ledger; restore a backup.
        StoreError: run it again.
    """
    done = Repaired()
    counted_at = 0.0
    flusher = Flusher(store=store, broker=broker, stream=stream, clock=lambda: counted_at)
    while True:
        counted = FrameFilter()
        await check_ledger(store, stream, progress, [counted])
        owed = await _find_owed(store, stream, counted, done, progress)
        if not owed:
            return done
        async for frame, events in _by_frame(store, stream, owed):
            prepared = PreparedFrame(id=frame)
            for stored in events:
                read = read_stored(stream, stored)
                if isinstance(read, str):
                    done.left[frame] = read
                    break
                prepared.events.append(read)
                prepared.encoded.append(store.encode(read, frame))
            else:
                # As if it had been counted when it was stored: today's delays are not made worse by it.
                counted_at = max(stored.stored for stored in events)
                try:
                    await flusher.flush([prepared])
                except StoreRefusedError as exc:
                    done.left[frame] = f"the store refuses its entry for good: {exc}"
                else:
                    done.counted[frame] = len(events)


async def check_ledger(store: Store, stream: Stream, progress: Progress, frames: Sequence[FrameFilter]) -> None:
    """Add the frames that have an entry to filters. Raises NotRepairableError unless each writer's entries are 1..n."""
    totals = Totals(store, stream.name)
    await totals.sync()
    sums = WriterSums(totals.offsets)
    done = 0
    async for entry in store.scan_ledger(stream.name):
        for each in frames:
            each.add(entry.frame)
        offset = totals.offsets.get(entry.writer)
        if offset is not None and entry.seq > offset:
            sums.leave_out(entry)
        else:
            sums.add(entry)
        done += 1
        if done % TOLD_EVERY == 0:
            progress("ledger entries", done)
    for writer, number in sums.beyond.items():
        raise NotRepairableError(f"writer {writer} got to ledger entry {number}, and one before it is missing: {_GONE}")
    for writer, number, count in sums.incomplete():
        raise NotRepairableError(f"writer {writer} got to ledger entry {number} and has {count}: {_GONE}")
    if sums.suspects() or sums.sealed != totals.folded:
        raise NotRepairableError(f"the entries of a writer do not begin with 1, or have gaps: {_GONE}")


@dataclass(slots=True)
class _Owed:
    """What of a frame without an entry is stored."""

    events: int = 0
    size: int = 0


async def _find_owed(
    store: Store, stream: Stream, counted: FrameFilter, done: Repaired, progress: Progress
) -> dict[str, _Owed]:
    """Frames that own events and have no entry; those that were dealt with are left out."""
    owed: dict[str, _Owed] = defaultdict(_Owed)
    seen = 0
    async for event in store.scan_events(stream.name):
        seen += 1
        if seen % TOLD_EVERY == 0:
            progress("events", seen)
        frame = event.frame
        if frame in counted or frame in done.left or frame in done.counted:
            continue
        if frame in owed or len(owed) < _FRAMES_AT_ONCE:
            owed[frame].events += 1
            owed[frame].size += len(event.body)
    return owed


async def _by_frame(
    store: Store, stream: Stream, owed: dict[str, _Owed]
) -> AsyncIterator[tuple[str, list[StoredEvent]]]:
    """The events of each of these frames, read in as many scans as memory asks for."""
    waiting = sorted(owed)
    while waiting:
        events = size = 0
        some: dict[str, list[StoredEvent]] = {}
        while waiting:
            more = owed[waiting[-1]]
            if some and (events + more.events > _EVENTS_AT_ONCE or size + more.size > _BYTES_AT_ONCE):
                break
            some[waiting.pop()] = []
            events, size = events + more.events, size + more.size
        async for event in store.scan_events(stream.name):
            if event.frame in some:
                some[event.frame].append(event)
        for frame, found in some.items():
            yield frame, found


def read_stored(stream: Stream, stored: StoredEvent) -> Event | str:
    """A stored event, or what is wrong with it."""
    try:
        event = stream.parse(stored.body)
    except InvalidEventError as exc:
        return f"event {stored.id} cannot be read: {exc}"
    same = event.hash == stored.hash or not comparable(event.hash, stored.hash)
    if (event.id, event.day) != (stored.id, stored.day) or not same:
        return f"event {stored.id} reads as another one than it is stored as"
    return event
