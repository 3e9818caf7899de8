"""The flush: from delivered frames to claimed events and one ledger entry per frame. Both engines run this very code.

The steps and their order are the protocol of the design, which was checked with a randomised model; each comment names
the step. No locks, leases or transactions: the store's two unique keys (identity; frame) decide everything, and a flush
may stop anywhere and be run again, by anyone.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from analytics.tally import Tally
from engine.announcing import Announcer, announce
from engine.contents import owners_now
from engine.partials import Partial, partial_message, worker_name
from engine.prepare import PreparedFrame, rejected
from engine.rejecting import keep_rejected
from store.errors import StoreError
from store.protocol import LedgerEntry, Owner, Rejected, Store, StoreIdentity
from streams.base import Event, Stream

log = structlog.get_logger()

#: A writer that has appended nothing for so long is given up for a new one: totals end idle writers (`Totals.seal`),
#: after a longer time than this.
WRITER_IDLE_S = 600.0


def new_writer() -> str:
    """A writer id that nobody ever had."""
    return uuid.uuid4().hex


@dataclass(slots=True, kw_only=True)
class Flushed:
    """What a flush did, for metrics.

    Attributes:
        frames: frames that got their ledger entry now.
        counted, duplicates, conflicts, unreadable: events.
        flagged: events that counted although something about them is odd (the tallies' table `flags`).
        writer, first, last: the run of ledger entries; `last` is `first - 1` when there is none.
    """

    writer: str
    first: int = 0
    last: int = 0
    frames: int = 0
    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    unreadable: int = 0
    flagged: int = 0


@dataclass(slots=True)
class _Sorted:
    """Step b's result: what each frame owns, and what contradicts the store."""

    owned: list[list[Event]] = field(default_factory=list)
    conflicts: list[Rejected] = field(default_factory=list)
    duplicates: int = 0


class Flusher:
    """Flushes frames of one stream under one writer id, one flush at a time.

    Attributes:
        writer: the id under which the next ledger entries are written.

    After any error the writer id is given up, for whatever it may have written is unknown; the next flush has a new
    one and starts again at seq 1. So is one that was not used for WRITER_IDLE_S. Retrying, and settling the frames, is
    the caller's.
    """

    def __init__(
        self, *, store: Store, broker: Announcer, stream: Stream, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._broker = broker
        self._stream = stream
        self._clock = clock
        self._identity: StoreIdentity | None = None
        self._begin()

    def _begin(self) -> None:
        """Go on under a new writer id."""
        self.writer = new_writer()
        self._seq = 0
        self._used = self._clock()
        self._known = False

    async def flush(self, frames: Sequence[PreparedFrame]) -> Flushed:
        """Claim the frames' events, append a ledger entry for each frame, announce the partial.

        When it returns, every frame may be acknowledged. When it raises (StoreError, or cancelled), any part of it may
        have happened, and flushing the same frames again is right.
        """
        if abs(self._clock() - self._used) > WRITER_IDLE_S:
            self._begin()
        try:
            if not self._known:
                self._identity = await self._store.identity(self._stream.name)
                self._known = True
            flushed = await self._flush(frames)
        except BaseException:
            self._begin()
            raise
        self._used = self._clock()
        return flushed

    async def _flush(self, frames: Sequence[PreparedFrame]) -> Flushed:
        counted = self._clock()
        known = await self._claim(frames, counted)  # a, and b's reading back
        sorted_out = self._sort_out(frames, known, counted)  # b
        tallies = [self._fold(events, counted) for events in sorted_out.owned]  # c
        unreadable = [item for frame in frames for item in frame.rejected]
        await self._reject(unreadable + sorted_out.conflicts)
        appended = await self._append(frames, tallies, counted)  # d
        await self._announce(appended)  # e
        owned = {frame.id: len(events) for frame, events in zip(frames, sorted_out.owned, strict=True)}
        return Flushed(
            writer=self.writer,
            first=self._seq - len(appended) + 1,
            last=self._seq,
            frames=len(appended),
            counted=sum(owned[entry.frame] for entry in appended),
            duplicates=sorted_out.duplicates,
            conflicts=len(sorted_out.conflicts),
            unreadable=len(unreadable),
            flagged=sum(_flags(entry.tally) for entry in appended if entry.tally is not None),
        )

    async def _claim(self, frames: Sequence[PreparedFrame], counted: float) -> dict[str, Owner]:
        """Insert the first copy of each identity of each frame; give the owners of those that need a second look.

        Of an identity that two frames hold, both copies are sent: which one claims it, the store decides.
        An identity whose copies were all inserted by their own first try is left out: each frame owns what it sent.
        """
        encoded = []
        origins: list[tuple[str, Event]] = []
        for frame in frames:
            seen: set[str] = set()
            for event, record in zip(frame.events, frame.encoded, strict=True):
                if event.id not in seen:
                    seen.add(event.id)
                    encoded.append(record)
                    origins.append((frame.id, event))
        taken = await self._store.insert_events(self._stream.name, encoded, counted) if encoded else set()
        claimed = {
            event.id: Owner(frame, event.hash) for index, (frame, event) in enumerate(origins) if index not in taken
        }
        unknown = sorted({origins[index][1].id for index in taken} - claimed.keys())
        if unknown:
            owners = await self._store.owners(self._stream.name, unknown)
            missing = set(unknown) - owners.keys()
            if missing:
                raise StoreError(f"an identity is taken and has no owner: {min(missing)}")
            sent = {event.id: event for _, event in origins}
            claimed.update(await owners_now(self._store, self._stream, owners, sent))
        return claimed

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> _Sorted:
        """Tell for every copy whether it counts, repeats another, or contradicts it."""
        result = _Sorted()
        for frame in frames:
            owned: list[Event] = []
            seen: set[str] = set()
            for event in frame.events:
                owner = owners[event.id]
                first = event.id not in seen
                seen.add(event.id)
                if owner.hash != event.hash:
                    detail = f"{event.id} is stored with other content, by frame {owner.frame}"
                    result.conflicts.append(
                        rejected(
                            self._stream.name,
                            "conflict",
                            detail,
                            source=frame.id,
                            body=event.line,
                            first_seen=counted,
                        )
                    )
                elif owner.frame == frame.id and first:
                    owned.append(event)  # claimed now, or by an earlier attempt of this very frame
                else:
                    result.duplicates += 1
            result.owned.append(owned)
        return result

    def _fold(self, events: Sequence[Event], counted: float) -> Tally:
        tally = Tally()
        fold = self._stream.fold
        for event in events:
            fold(tally, event, counted)
        return tally

    async def _reject(self, items: Sequence[Rejected]) -> None:
        """Keep events that cannot count, then announce them."""
        if not items:
            return
        await keep_rejected(self._store, self._broker, items)
        first = items[0]
        frames = sorted({item.source for item in items})
        log.warning("events rejected", events=len(items), reason=first.reason, detail=first.detail, frames=frames)

    async def _append(
        self, frames: Sequence[PreparedFrame], tallies: Sequence[Tally], counted: float
    ) -> list[LedgerEntry]:
        """One ledger entry per frame, in order; a frame that has one already is passed over, its seq is the next's."""
        appended: list[LedgerEntry] = []
        waiting = list(zip(frames, tallies, strict=True))
        while waiting:
            entries = [
                LedgerEntry(
                    frame=frame.id,
                    stream=self._stream.name,
                    writer=self.writer,
                    seq=seq,
                    tally=tally,
                    at=counted,
                )
                for seq, (frame, tally) in enumerate(waiting, start=self._seq + 1)
            ]
            done = await self._store.append(entries)
            if done < len(entries):
                refused = entries[done]
                found = await self._store.entry(self._stream.name, refused.frame)
                if found is None:
                    raise StoreError(f"ledger entry {refused.writer}/{refused.seq} was refused, and is not there")
                # ours at this very seq: a write that the driver repeated
                waiting = waiting[done + 1 :]
                if (found.writer, found.seq) == (refused.writer, refused.seq):
                    done += 1
            else:
                waiting = []
            appended += entries[:done]
            self._seq += done
        return appended

    async def _announce(self, appended: Sequence[LedgerEntry]) -> None:
        if not appended:
            return
        tallies = [entry.tally for entry in appended if entry.tally is not None]
        partial = Partial(
            writer=self.writer,
            first=appended[0].seq,
            last=appended[-1].seq,
            tally=tallies[0] if len(tallies) == 1 else Tally.sum(tallies),
            worker=worker_name(),
            store=self._identity.id if self._identity else None,
            epoch=self._identity.epoch if self._identity else None,
        )
        await announce(self._broker, partial_message(self._stream.name, partial))


def _flags(tally: Tally) -> int:
    return sum(row[0] for day in tally.days.values() for row in day.tables.get("flags", {}).values())
