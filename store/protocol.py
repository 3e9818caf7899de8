"""The Store protocol: keeping events, the ledger, checkpoints and what was rejected.

Two implementations: `store.mongo` (MongoDB through Motor) and `store.embedded` (SQLite). Both pass the one contract
suite in `tests/integration/store/`. The store decides who owns an identity and that a frame has one ledger entry;
what to do about it is decided in `engine`.

Every method raises StoreError when the outcome is unknown or the store cannot be reached, and then the write may or
may not have happened. A write that returned is durable (majority and journal; `synchronous=FULL`). Every read sees
every write that returned before (primary, majority).
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

from analytics.tally import DayTally, Tally
from streams.base import Event

#: Ledger entries read at once at most, and their bytes as stored: some tens of megabytes of memory once they are read.
LEDGER_LIMIT = 5000
LEDGER_BYTES = 8 * 1024**2
#: A page of events ends when the bodies in it have so many bytes, whatever its limit; one body may be larger.
PAGE_BYTES = 8 * 1024**2

T = TypeVar("T")


class Page(list[T]):
    """A page of a list; it may be shorter than its query's limit, and still not be the last.

    Attributes:
        more: whether the list goes on behind the last item of this page.
    """

    def __init__(self, items: Iterable[T] = (), *, more: bool = False) -> None:
        super().__init__(items)
        self.more = more


#: The frame id of a seal begins so; no frame's does.
_SEAL = "seal:"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIdentity:
    """Which store this is.

    Attributes:
        id: given when the store was made; a backup and its restore keep it.
        epoch: given anew by `renew`, after the store was restored: messages of before are recognised by it.
        zone: the time zone of the stream's business days, fixed by the first process that stored any.
        adopted: ids of other stores whose frames this one takes as well.
    """

    id: str
    epoch: str
    zone: str
    adopted: tuple[str, ...] = ()

    def accepts(self, id: str) -> bool:
        """Whether a frame that was accepted for the store of this id may be stored here."""
        return id == self.id or id in self.adopted


@dataclass(frozen=True, slots=True)
class Owner:
    """Who claimed an identity: the first frame that stored it, and the content hash that it stored."""

    frame: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedEvent:
    """An event made ready to be stored: all that can fail because of its content is behind it.

    Attributes:
        id: the identity, the store's unique key.
        record: the adapter's own form; nobody else looks inside.
    """

    id: str
    record: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as the store has it.

    Attributes:
        id, frame, hash, day, time, amount, categories, keys: as in `streams.base.Event` and `Owner`.
        received, stored: epoch seconds.
        body: the event as JSON, as received, with `receivedTime`; `Stream.parse` reads it to an equal event.
    """

    id: str
    frame: str
    hash: str
    day: str
    time: float
    amount: int
    categories: tuple[str, ...]
    keys: Mapping[str, str]
    received: float
    stored: float
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which stored events to list, newest first: descending by day, then the event's own time, then id.

    Every condition given must hold. There are indexes for the day and for each key, alone and together with the day;
    `category`, `at_least` and `at_most` have none: they filter what those find on the way, so one that few events
    meet should come with a day or a key.

    Attributes:
        day: business day `YYYY-MM-DD`.
        keys: key name → value, of the stream's `key_names`.
        category: one of the event's categories, exactly.
        at_least, at_most: bounds of the event's amount in 1/10000, both inclusive.
        after: id of the last event of the page before, which need not meet the conditions; the list goes on behind
            its place in the order. Behind an id that is not stored there is nothing: the page is empty.
        limit: at most so many, 1 or more; a page of large events ends earlier (PAGE_BYTES).
    """

    day: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None
    at_least: int | None = None
    at_most: int | None = None
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What one frame added: one entry per frame, never two.

    Attributes:
        frame: the frame's id, unique.
        stream: the stream's name.
        writer, seq: unique together; a writer's seqs are 1, 2, 3… without gaps.
        tally: what the events that this frame owns add up to; None once it was dropped below a checkpoint.
        at: when it was appended, epoch seconds by the writer's clock (for people, and for dropping old tallies).

    The last entry of a writer that is finished is a seal: it stands for no frame and adds nothing, and since (writer,
    seq) is unique, nothing can be appended behind it under that writer any more.
    """

    frame: str
    stream: str
    writer: str
    seq: int
    tally: Tally | None
    at: float

    @property
    def is_seal(self) -> bool:
        """Whether this ends its writer."""
        return self.frame.startswith(_SEAL)


def seal_id(writer: str) -> str:
    """The frame id of a writer's seal."""
    return f"{_SEAL}{writer}"


@dataclass(frozen=True, slots=True)
class Folded:
    """Finished writers that the head no longer names: how many, and how many entries they have, seals included."""

    writers: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a stream's checkpoint: how far the ledger has been read, and where each day's totals are.

    It names what changes; what has stopped changing is a sum (`folded`) or in a document of its own (`months`), so that
    it does not grow with history.

    Attributes:
        version: 1 at the first, one more at each exchange.
        token: random, so that a process can tell its own exchange from another's of the same version.
        generation: one more whenever writers were folded or totals were rebuilt: whoever began from a head of another
            generation has to begin again.
        offsets: writer → last seq merged, for writers that are not folded.
        folded: the sum of those that are.
        closing: folded writers that the ledger may still list as open (`Store.close_writers`); not to be read again.
        days: business day → id of its day document; goes before what its month says.
        months: `YYYY-MM` → id of the document that says the same of its other days.
        seconds: `Tally.seconds` of the recent past, so that rates survive a restart.
    """

    stream: str
    version: int
    token: str = ""
    generation: int = 0
    offsets: Mapping[str, int]
    folded: Folded = Folded()
    closing: frozenset[str] = frozenset()
    days: Mapping[str, str]
    months: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[int, Sequence[int]]


#: What an item that was rejected can be; see `Rejected.status`.
REJECTED_STATUSES = ("open", "replayed", "discarded")


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedStep:
    """Something that happened to a rejected item after it was first rejected. Never changed, at most one of a kind.

    Attributes:
        item: the item's id; unique together with `what` and `frame`.
        what: `replayed` (published again, in `frame`), `again` (rejected again, out of `frame`), or `discarded`.
        at: epoch seconds.
        frame: a frame's id; empty for `discarded`.
        note: what a person said to it.
    """

    item: str
    stream: str
    what: str
    at: float
    frame: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSummary:
    """Something that cannot be counted, without its bytes: lists hold these.

    Attributes:
        id: hash of stream, reason and bytes, so that rejecting it again changes nothing.
        reason: `undecodable`, `invalid`, `conflict`, or `poison` for a dead letter, whose bytes are a whole frame.
        detail: one line for a person.
        source: id of the frame it came in.
        size: number of its bytes.
        first_seen: epoch seconds.
        steps: what happened to it since, oldest first; given by the store.
    """

    id: str
    stream: str
    reason: str
    detail: str
    source: str
    size: int
    first_seen: float
    steps: tuple[RejectedStep, ...] = ()

    @property
    def status(self) -> str:
        """`discarded` once it was; else `replayed` while a frame that it was replayed in did not have it rejected
        again; else `open`. It follows from what the steps are, not from which was noted first."""
        if any(step.what == "discarded" for step in self.steps):
            return "discarded"
        again = {step.frame for step in self.steps if step.what == "again"}
        replayed = {step.frame for step in self.steps if step.what == "replayed"}
        return "replayed" if replayed - again else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(RejectedSummary):
    """Something that cannot be counted, whole.

    Attributes:
        body: the original bytes; `size` is their number.
    """

    body: bytes
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.body))

    def summary(self) -> RejectedSummary:
        """The same without its bytes."""
        return RejectedSummary(**{each.name: getattr(self, each.name) for each in fields(RejectedSummary)})


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedQuery:
    """Which rejected items to list, newest first: descending by `first_seen`, then id. Every condition must hold.

    There are indexes for reason and time; `status` has none: it filters what those find on the way.

    Attributes:
        reason, status: as in `Rejected`.
        since, before: bounds of `first_seen` in epoch seconds; `since` itself belongs to it, `before` does not.
        after: id of the last item of the page before; behind an id that is not there the page is empty.
        limit: at most so many, 1 or more.
    """

    reason: str | None = None
    status: str | None = None
    since: float | None = None
    before: float | None = None
    after: str | None = None
    limit: int = 100


class Store(Protocol):
    """A store, opened by `store.connect`; safe to use from many tasks of one event loop."""

    async def prepare(self, stream: str, key_names: Sequence[str]) -> None:
        """Make collections and indexes for a stream, if they are not there. Idempotent."""

    async def identify(self, stream: str, zone: str) -> StoreIdentity:
        """Which store this is; given an identity, and the stream its time zone, if it has none. The zone in the answer
        is the one that the store keeps, which may be another."""

    async def identity(self, stream: str) -> StoreIdentity | None:
        """Which store this is, without changing anything; None before `identify`."""

    async def renew(self) -> str:
        """Give the store a new epoch, after it was restored and before anything uses it; the epoch."""

    async def adopt(self, id: str) -> None:
        """Take the frames that were accepted for the store of this id, too."""

    def encode(self, event: Event, frame: str) -> EncodedEvent:
        """Make an event ready to be stored, owned by `frame`. CPU only; never fails for what `parse` returned."""

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        """Insert all whose id is not yet there (unordered); return the indexes of those that were there already.

        Where two events of one call have the same id, one of them is inserted. `stored` is stamped on each (epoch
        seconds). An error other than a taken id, or an unmet write concern, raises StoreError: some may be inserted.
        """

    async def owners(self, stream: str, ids: Sequence[str]) -> dict[str, Owner]:
        """Who owns these identities; an id that is not stored is missing from the answer."""

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        """Append ledger entries in order, stopping at the first whose frame, or whose (writer, seq), is taken.

        Returns how many were appended: `len(entries)` when all were.
        """

    async def entry(self, stream: str, frame: str) -> LedgerEntry | None:
        """The ledger entry of a frame; without its tally, if a newer release wrote that: who and where is enough to
        know that the frame was counted."""

    async def ledger_after(
        self,
        stream: str,
        offsets: Mapping[str, int],
        *,
        limit: int = LEDGER_LIMIT,
        max_bytes: int = LEDGER_BYTES,
    ) -> Page[LedgerEntry]:
        """The entries past the offsets (0 for a writer that is not named), for all writers that are not closed.

        In the order (writer, seq); a page ends before `limit` or `max_bytes` is exceeded, but for its first entry.
        There may be gaps where an append is under way; the caller stops at them. What it costs does not depend on how
        many writers are closed, where the server can use an index.
        """

    async def close_writers(self, stream: str, writers: Iterable[str]) -> None:
        """Leave writers out of `ledger_after` from now on. For writers that a head in the store has folded."""

    async def head(self, stream: str) -> Head | None:
        """The checkpoint's head, None before the first."""

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        """Write a day's totals as a new immutable document, for the head of that version; return its new id."""

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        """A day document, None when it is not there (any more: the head has moved on; read the head again)."""

    async def write_month(self, stream: str, month: str, days: Mapping[str, str], version: int) -> str:
        """Write where a month's day documents are as a new immutable document, for the head of that version; its id."""

    async def read_month(self, stream: str, document: str) -> dict[str, str] | None:
        """Where the day documents of a month are, by day; None as for `read_day`."""

    async def swap_head(self, head: Head) -> bool:
        """Replace the head whose version is `head.version - 1` (none when that is 0); False when it is not that."""

    async def tidy(self, head: Head, *, named: AbstractSet[str], tallies_before: float, days_before: float) -> None:
        """Drop what nobody needs: tallies of entries appended before `tallies_before` that are within `head.offsets`,
        or of closed writers (their stubs stay), and documents of days and months written before `days_before` for this
        head or an earlier one, but for those `named`: no later head can name them. Both are epoch seconds.

        Arguments:
            named: every document that `head` names, directly or by a month.
        """

    async def reject(self, items: Sequence[Rejected]) -> None:
        """Keep rejected items, without their steps. One that is there already stays as it is; if it comes out of
        another frame than the first time, the step `again` is noted, so that one that was replayed is open again."""

    async def note(self, steps: Sequence[RejectedStep]) -> None:
        """Note what happened to rejected items; a step that is there already stays as it is."""

    async def rejected(self, stream: str, query: RejectedQuery) -> Page[RejectedSummary]:
        """A page of rejected items, without their bytes. Raises StoreTimeoutError beyond the time limit of a query."""

    async def rejected_item(self, stream: str, id: str) -> Rejected | None:
        """One rejected item, with its bytes."""

    async def rejected_count(self, stream: str, status: str | None = None) -> dict[str, int]:
        """How many items were rejected, by reason: all, or those that are in a status now."""

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        """One stored event."""

    async def events(self, stream: str, query: EventQuery) -> Page[StoredEvent]:
        """A page of stored events. Raises StoreTimeoutError beyond the time limit of a query."""

    def scan_events(self, stream: str) -> AsyncIterator[StoredEvent]:
        """All stored events, in no order: for the audit."""

    def scan_ledger(self, stream: str, since: float = 0.0) -> AsyncIterator[LedgerEntry]:
        """All ledger entries that were appended at `since` or later (epoch seconds), in no order: for the audit."""

    async def tallies_dropped_until(self, stream: str) -> float:
        """When the newest of the entries whose tally was dropped was appended, epoch seconds; 0 if none was."""

    async def ping(self) -> None:
        """Ask the store something that it has to answer. Raises StoreError if it does not."""

    async def close(self) -> None:
        """Close the connection; calls under way raise StoreError."""
