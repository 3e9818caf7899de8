"""Repair: counting events that are stored, claimed by a frame, and in no ledger entry.

That is what a frame leaves behind that was lost after its events were stored and before it was counted: its message was
removed from the broker by hand, or the broker lost its disk. As long as a frame can still be delivered it must not be
counted by anyone else, for it might claim more events. So this is for a system at rest only.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from broker.exchanges import Topology
from broker.protocol import Broker
from engine.contents import comparable
from engine.flush import Flusher
from engine.prepare import PreparedFrame
from engine.totals import Totals
from store.protocol import Store, StoredEvent
from streams.base import Event, Stream
from streams.errors import InvalidEventError, TillstreamError

#: Events in memory at once, but for a frame that has more.
_EVENTS_AT_ONCE = 20_000
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


async def repair(store: Store, broker: Broker, stream: Stream) -> Repaired:
    """Count every event whose owner has no ledger entry, by the flush's own code, under a fresh writer.

    Each frame is counted wholly or not at all, and never twice: the ledger's unique key decides. So it may be killed,
    and run again. For a system at rest only: see `unrest`.

    Raises:
        NotRepairableError: entries are missing from the middle of the ledger; restore a backup.
        StoreError: run it again.
    """
    frames = await _check_ledger(store, stream)
    owed: dict[str, int] = defaultdict(int)
    async for event in store.scan_events(stream.name):
        if event.frame not in frames:
            owed[event.frame] += 1
    done = Repaired()
    counted_at = 0.0
    flusher = Flusher(store=store, broker=broker, stream=stream, clock=lambda: counted_at)
    async for frame, events in _by_frame(store, stream, owed):
        prepared = PreparedFrame(id=frame)
        for stored in events:
            read = _read(stream, stored)
            if isinstance(read, str):
                done.left[frame] = read
                break
            prepared.events.append(read)
            prepared.encoded.append(store.encode(read, frame))
        else:
            # As if it had been counted when it was stored: today's delays are not made worse by it.
            counted_at = max(stored.stored for stored in events)
            await flusher.flush([prepared])
            done.counted[frame] = len(events)
    return done


async def _check_ledger(store: Store, stream: Stream) -> set[str]:
    """The frames that have an entry. Raises NotRepairableError unless each writer's entries are 1..n."""
    totals = Totals(store, stream.name)
    await totals.sync()
    frames: set[str] = set()
    entries: dict[str, int] = defaultdict(int)
    last: dict[str, int] = defaultdict(int, totals.offsets)
    async for entry in store.scan_ledger(stream.name):
        frames.add(entry.frame)
        entries[entry.writer] += 1
        last[entry.writer] = max(last[entry.writer], entry.seq)
    for writer, seq in last.items():
        if entries[writer] != seq:
            raise NotRepairableError(
                f"writer {writer} got to ledger entry {seq} and has {entries[writer]}: entries are missing that the "
                "totals may hold already, so that counting their events again could count them twice; restore a backup"
            )
    return frames


async def _by_frame(store: Store, stream: Stream, owed: dict[str, int]) -> AsyncIterator[tuple[str, list[StoredEvent]]]:
    """The events of each of these frames, read in as many scans as memory asks for."""
    waiting = sorted(owed)
    while waiting:
        size = 0
        some: dict[str, list[StoredEvent]] = {}
        while waiting and (not some or size + owed[waiting[-1]] <= _EVENTS_AT_ONCE):
            frame = waiting.pop()
            some[frame] = []
            size += owed[frame]
        async for event in store.scan_events(stream.name):
            if event.frame in some:
                some[event.frame].append(event)
        for frame, events in some.items():
            yield frame, events


def _read(stream: Stream, stored: StoredEvent) -> Event | str:
    """A stored event, or what is wrong with it."""
    try:
        event = stream.parse(stored.body)
    except InvalidEventError as exc:
        return f"event {stored.id} cannot be read: {exc}"
    same = event.hash == stored.hash or not comparable(event.hash, stored.hash)
    if (event.id, event.day) != (stored.id, stored.day) or not same:
        return f"event {stored.id} reads as another one than it is stored as"
    return event
