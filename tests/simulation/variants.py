"""Variants of the protocol that are wrong: each is what somebody might have built instead.

The simulation has to catch each of them: a check that no wrong variant trips over proves nothing.
"""

import asyncio
import importlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from analytics import Tally
from broker.exchanges import Topology
from broker.group_commit import GroupCommit
from broker.protocol import Delivery
from engine import Flusher, PreparedFrame, Totals, Worker
from engine.checkpoint import Attempt, DayDocuments
from engine.flush import Flushed
from engine.prepare import rejected
from engine.totals import Merged
from store.errors import StoreError, StoreRefusedError
from store.protocol import Head, LedgerEntry, Owner, Store
from streams.base import Stream
from tests.simulation.memory import Tables
from tests.simulation.store import StoreServer
from tests.simulation.system import Parts

#: `engine.rebuild` is the function of that name.
REBUILD: Any = importlib.import_module("engine.rebuild")


class AnswersBeforeTheConfirm(GroupCommit):
    """Answers 202 as soon as a request has its place in a frame."""

    def commit(self, lines: bytes, events: int) -> "asyncio.Future[str]":
        confirmed = super().commit(lines, events)
        confirmed.add_done_callback(lambda done: done.cancelled() or done.exception())
        answered: asyncio.Future[str] = self._loop.create_future()
        answered.set_result("some frame")
        return answered


class AnswersWhateverComes(GroupCommit):
    """Takes a publish of unknown outcome for one that was taken."""

    def _fail(self, batch: Any, error: BaseException) -> None:
        for request in batch:
            self._settle(request)
            if not request.confirmed.done():
                request.confirmed.set_result("some frame")


class AcknowledgesFirst(Worker):
    """Acknowledges a frame when it has been read, before the ledger has its entry."""

    async def _flush(self, batch: Any, stop: asyncio.Event) -> None:
        await self._settle([work.delivery for work in batch])
        await super()._flush(batch, stop)


class AcknowledgesWhatFailed(Worker):
    """Acknowledges what it ought to give back."""

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(deliveries)


class TakesPassingFailuresForRefusals(Worker):
    """Keeps a frame as poison whose flush failed for whatever reason."""

    async def _attempt(self, batch: Any, *, since: float | None = None) -> StoreError | None:
        failure = await super()._attempt(batch, since=since)
        return failure and StoreRefusedError(str(failure))


class AcknowledgesPoisonFirst(Worker):
    """Acknowledges a frame that is refused before it is kept."""

    async def _put_aside(self, delivery: Delivery, refusal: StoreRefusedError) -> StoreError | None:
        await self._settle([delivery])
        return await super()._put_aside(delivery, refusal)


class RejectsOnOurFailures(Flusher):
    """Puts frames among the rejected when the store fails."""

    async def flush(self, frames: Sequence[PreparedFrame]) -> Flushed:
        try:
            return await super().flush(frames)
        except StoreError as exc:
            for frame in frames:
                for event in frame.events:
                    item = rejected(
                        "receipts", "poison", str(exc), source=frame.id, body=event.line, first_seen=event.received
                    )
                    await self._store.reject([item])
            return Flushed(writer=self.writer)


class KeepsItsWriter(Flusher):
    """Goes on under the same writer id, at the seq it believes in, after an error."""

    async def flush(self, frames: Sequence[PreparedFrame]) -> Flushed:
        return await self._flush(frames)


class NeverReadsOwnersBack(Flusher):
    """Takes every identity that is there already for somebody else's."""

    async def _claim(self, frames: Sequence[PreparedFrame], counted: float) -> dict[str, Owner]:
        inserted: set[tuple[str, str]] = set()
        insert = self._store.insert_events

        async def watch(stream: str, events: Any, stored: float) -> set[int]:
            taken = await insert(stream, events, stored)
            inserted.update((event.record[1], event.id) for at, event in enumerate(events) if at not in taken)
            return taken

        self._store.insert_events = watch  # type: ignore[method-assign]
        try:
            return await super()._claim(frames, counted)
        finally:
            self._store.insert_events = insert  # type: ignore[method-assign]
            self._inserted = inserted

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for frame, owned in zip(frames, result.owned, strict=True):
            owned[:] = [event for event in owned if (frame.id, event.id) in self._inserted]
        return result


class CountsEveryCopyInAFrame(Flusher):
    """Counts a receipt as often as its own frame holds it."""

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for frame, owned in zip(frames, result.owned, strict=True):
            owned[:] = [event for event in frame.events if owners[event.id] == Owner(frame.id, event.hash)]
        return result


class DedupesAcrossFrames(Flusher):
    """Remembers identities it has seen, and drops their further copies from later frames."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._seen: dict[str, str] = {}

    def _sort_out(self, frames: Sequence[PreparedFrame], owners: dict[str, Owner], counted: float) -> Any:
        result = super()._sort_out(frames, owners, counted)
        for frame, owned in zip(frames, result.owned, strict=True):
            owned[:] = [event for event in owned if self._seen.setdefault(event.id, frame.id) == frame.id]
            for event in frame.events:
                self._seen.setdefault(event.id, frame.id)
        return result


class SkipsFramesInTheLedger(Flusher):
    """Passes over a frame that is in the ledger already, and over what contradicts the store in it."""

    async def _flush(self, frames: Sequence[PreparedFrame]) -> Flushed:
        left = [frame for frame in frames if await self._store.entry("receipts", frame.id) is None]
        return await super()._flush(left)

    async def _reject(self, items: Any) -> None:
        """Conflicts are kept after the ledger entry, which is as good as never when that is the end."""
        self._conflicts = items

    async def _announce(self, appended: Sequence[LedgerEntry]) -> None:
        await super()._reject(self._conflicts)
        await super()._announce(appended)


class TakesUnknownOwnersForOthers(Flusher):
    """Takes an identity whose owner cannot be read back for a duplicate."""

    async def _claim(self, frames: Sequence[PreparedFrame], counted: float) -> dict[str, Owner]:
        read = self._store.owners
        hashes = {event.id: event.hash for frame in frames for event in frame.events}

        async def owners(stream: str, ids: Sequence[str]) -> dict[str, Owner]:
            return {id: Owner("some other", hashes[id]) for id in ids} | await read(stream, ids)

        self._store.owners = owners  # type: ignore[method-assign]
        try:
            return await super()._claim(frames, counted)
        finally:
            self._store.owners = read  # type: ignore[method-assign]


class AnnouncesWhatItFolded(Flusher):
    """Announces the tallies of all its frames, also of those that had their entry already."""

    async def _append(
        self, frames: Sequence[PreparedFrame], tallies: Sequence[Tally], counted: float
    ) -> list[LedgerEntry]:
        appended = await super()._append(frames, tallies, counted)
        if not appended:
            return []
        return [replace(appended[0], tally=Tally.sum(tallies)), *(replace(one, tally=Tally()) for one in appended[1:])]


class LedgerWithoutFrameKey(Tables):
    """A ledger that takes a second entry for a frame."""

    def append(self, entries: Sequence[LedgerEntry]) -> int:
        for entry in entries:
            name = entry.frame
            while name in self.ledger:
                name += "'"
            self.ledger[name] = entry
        return len(entries)


class UnorderedLedger(Tables):
    """An append that does not stop at what is refused: there are holes."""

    def append(self, entries: Sequence[LedgerEntry]) -> int:
        done = [super(UnorderedLedger, self).append([entry]) for entry in entries]
        return done.index(0) if 0 in done else len(done)


class OverwritesTheHead(Tables):
    """A checkpoint without compare-and-set: whoever comes last wins."""

    def swap(self, head: Head) -> bool:
        version = self.heads[head.stream].version if head.stream in self.heads else 0
        self.heads[head.stream] = replace(head, version=version + 1)
        return True


class MergesWhateverItReads(Totals):
    """Does not look again whether a partial has overtaken the ledger read."""

    def _merge_entry(self, entry: LedgerEntry) -> bool:
        self._add(entry.writer, entry.seq, entry.tally or Tally())
        return True


class MergesOverGaps(Totals):
    """Takes a partial that is not the next one for the next one."""

    def merge(self, writer: str, first: int, last: int, tally: Tally) -> Merged:
        return super().merge(writer, self.offsets.get(writer, 0) + 1, last, tally)


class WritesTheHeadTwice(Totals):
    """A checkpoint in two writes: first the offsets, then the days."""

    def __init__(self, store: Store, stream: str, **limits: Any) -> None:
        super().__init__(store, stream, **limits)
        self._documents = _OffsetsFirst(store, stream)


class _OffsetsFirst(DayDocuments):
    async def write(self, base: Head, before: Sequence[Attempt], attempt: Attempt) -> Head:
        await self._store.swap_head(attempt.head)
        written = await super().write(base, before, attempt)
        return replace(written, version=written.version + 1, token=f"{written.token}+")


class TrustsAnAmbiguousCheckpoint(Totals):
    """Takes a checkpoint of unknown outcome for one that was written."""

    async def checkpoint(self) -> bool:
        try:
            return await super().checkpoint()
        except StoreError:
            if self._attempts:
                self._adopt(self._attempts[-1])
            raise


class NeverAcknowledges(Worker):
    """Leaves it to the broker to forget what is done."""

    async def _settle(self, deliveries: Sequence[Delivery]) -> None:
        """Never acknowledges."""
        for delivery in deliveries:
            self._unsettled.pop(id(delivery), None)


class TidiesByAge(Tables):
    """Drops every old day document that the head does not name, also one that the next head is about to name."""

    def tidy(self, head: Head, named: AbstractSet[str], tallies_before: float) -> None:
        super().tidy(head, named, tallies_before)
        for name in self.days.keys() - named:
            del self.days[name]


class ReturnsTooEarly(StoreServer):
    """Writes return when the primary alone has them."""

    careless = True


class ReadsThePrimary(StoreServer):
    """Reads see what no majority has yet."""

    @property
    def readable(self) -> Tables:
        return self._primary


class BuildsOnAnotherCheckpoint(Totals):
    """Follows another process's checkpoint, and adds to it what it had merged itself since its own."""

    async def _settle(self) -> bool:
        settled = await super()._settle()
        if not settled:
            for attempt in reversed(self._attempts):
                self._take_back(attempt)
            self._attempts = []
            self._head = await self._store.head(self._stream)
            self.loaded = self.synced = True
        return settled


class TrustsPartialsOfUnknownWriters(Totals):
    """Merges the first partial of a writer that the ledger has not shown, also if it came before the checkpoint."""

    def __init__(self, store: Store, stream: str, **limits: Any) -> None:
        super().__init__(store, stream, **limits)
        self._early: list[tuple[str, int, int, Tally]] = []

    def merge(self, writer: str, first: int, last: int, tally: Tally) -> Merged:
        if not self.loaded:
            self._early.append((writer, first, last, tally))
        elif first == 1 and writer not in self.offsets:
            self._add(writer, last, tally)
            return Merged.MERGED
        return super().merge(writer, first, last, tally)

    async def _load(self) -> None:
        await super()._load()
        early, self._early = self._early, []
        for partial in early:
            self.merge(*partial)


class NamesNoEpoch(Flusher):
    """Announces partials that do not say of which store, and since which restore."""

    async def _announce(self, appended: Sequence[LedgerEntry]) -> None:
        self._identity = None
        await super()._announce(appended)


def keeps_partials(usual: Topology) -> Topology:
    """Partials wait in their queue while no totals are active, also across a restore of the store."""
    return replace(usual, partials=replace(usual.partials, held=None))


class FoldsWithoutASeal(Totals):
    """Takes an idle writer for a finished one: nothing keeps it from appending more."""

    async def seal(self, writers: Iterable[str], at: float) -> None:
        self._sealed |= self.offsets.keys() & set(writers)


class ForgetsClosingWriters(Totals):
    """Folds writers into a sum without noting that the store still lists them."""

    def _snapshot(self) -> Attempt:
        attempt = super()._snapshot()
        attempt.head = replace(attempt.head, closing=frozenset())
        return attempt


class IgnoresGenerations(Totals):
    """Goes on from an old checkpoint although writers that it never saw were folded since."""

    async def _overtaken(self) -> bool:
        return False


class DropsTalliesOfOpenWriters(Tables):
    """Drops old tallies of every writer that the head does not name, also of one that was not read yet."""

    def tidy(self, head: Head, named: AbstractSet[str], tallies_before: float) -> None:
        super().tidy(head, named, tallies_before)
        for frame, entry in self.ledger.items():
            if entry.writer not in head.offsets and entry.at < tallies_before:
                self.ledger[frame] = replace(entry, tally=None)


async def rebuild_from_the_ledger(store: Store, stream: Stream) -> None:
    """Makes totals anew from the ledger's tallies, some of which were dropped."""
    totals = Totals(store, stream.name)
    await totals.sync()
    head = await REBUILD._next_head(store, stream, totals)
    whole = Tally()
    async for entry in store.scan_ledger(stream.name):
        whole.merge(entry.tally or Tally())
    days = {day: await store.write_day(stream.name, day, tally, head.version) for day, tally in whole.days.items()}
    assert await store.swap_head(replace(head, days=days))


async def rebuild_at_the_checkpoints_offsets(store: Store, stream: Stream) -> None:
    """Makes totals anew from all events, and reads the ledger above the checkpoint once more on top of them."""
    right = REBUILD._next_head

    async def wrong(store: Store, stream: Stream, totals: Totals) -> Head:
        base = totals.head
        head: Head = await right(store, stream, totals)
        return replace(head, offsets=base.offsets if base else {}, folded=base.folded if base else head.folded)

    with patch.object(REBUILD, "_next_head", wrong):
        await REBUILD.rebuild(store, stream)


#: Every wrong variant by its name.
VARIANTS = {
    "a 202 before the confirm": Parts(commit=AnswersBeforeTheConfirm),
    "a 202 for an unknown outcome": Parts(commit=AnswersWhateverComes),
    "acknowledging before the ledger": Parts(worker=AcknowledgesFirst),
    "acknowledging what failed": Parts(worker=AcknowledgesWhatFailed),
    "never acknowledging": Parts(worker=NeverAcknowledges),
    "a passing failure taken for a refusal": Parts(worker=TakesPassingFailuresForRefusals),
    "acknowledging poison before it is kept": Parts(worker=AcknowledgesPoisonFirst),
    "rejecting on our own failures": Parts(flusher=RejectsOnOurFailures),
    "keeping the writer id after an error": Parts(flusher=KeepsItsWriter),
    "owners never read back": Parts(flusher=NeverReadsOwnersBack),
    "an unknown owner taken for another": Parts(flusher=TakesUnknownOwnersForOthers),
    "announcing more than was appended": Parts(flusher=AnnouncesWhatItFolded),
    "duplicates within a frame counted": Parts(flusher=CountsEveryCopyInAFrame),
    "deduping across frames in memory": Parts(flusher=DedupesAcrossFrames),
    "skipping b for a frame in the ledger": Parts(flusher=SkipsFramesInTheLedger),
    "no unique frame id": Parts(tables=LedgerWithoutFrameKey),
    "unordered append": Parts(tables=UnorderedLedger),
    "w 1": Parts(store=ReturnsTooEarly),
    "reads that are not of the majority": Parts(store=ReadsThePrimary),
    "tidying by age alone": Parts(tables=TidiesByAge),
    "a checkpoint without compare-and-set": Parts(tables=OverwritesTheHead),
    "a checkpoint in two writes": Parts(totals=WritesTheHeadTwice),
    "trusting an ambiguous checkpoint": Parts(totals=TrustsAnAmbiguousCheckpoint),
    "building on another's checkpoint": Parts(totals=BuildsOnAnotherCheckpoint),
    "merging a read that a partial overtook": Parts(totals=MergesWhateverItReads),
    "merging over gaps": Parts(totals=MergesOverGaps),
    "trusting partials of before a restore": Parts(
        totals=TrustsPartialsOfUnknownWriters, flusher=NamesNoEpoch, topology=keeps_partials
    ),
    "folding writers without a seal": Parts(totals=FoldsWithoutASeal),
    "forgetting which writers are closing": Parts(totals=ForgetsClosingWriters),
    "ignoring generations": Parts(totals=IgnoresGenerations),
    "dropping tallies of open writers": Parts(tables=DropsTalliesOfOpenWriters),
    "rebuilding from the ledger": Parts(rebuild=rebuild_from_the_ledger),
    "rebuilding at the checkpoint's offsets": Parts(rebuild=rebuild_at_the_checkpoints_offsets),
}
