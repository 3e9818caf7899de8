"""The Stream protocol: what a kind of event has to say about itself, so that all the rest need not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from analytics.tally import DayTally, Tally
from streams.paper import Paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, read from its line in a frame.

    Attributes:
        id: its identity as one canonical string, fit for a URL path and a document's `_id`.
        hash: content hash `<version>:<32 hexadecimal digits>` of the canonical event without the fields we stamp.
        day: business day, `YYYY-MM-DD`.
        time: the event's own time, epoch seconds.
        amount: what it comes to, in 1/10000; for people who look for it.
        categories: distinct names that people may filter by, in the order of their first appearance.
        received: when the entrypoint received it, epoch seconds.
        line: its JSON as it stands in the frame: what the sender sent, plus `receivedTime`.
        document: the same as plain Python values that encode to BSON and back to an equal event, or None when the
            line has no such form (then the line itself is what is stored).
        keys: what it can be looked up by, name → value (compared as strings).
        facts: what the stream's `fold` adds up; nobody else looks inside.
    """

    id: str
    hash: str
    day: str
    time: float
    amount: int
    categories: tuple[str, ...]
    received: float
    line: bytes
    document: Mapping[str, Any] | None
    keys: Mapping[str, str]
    facts: Any


class Stream(Protocol):
    """A kind of event: its schema, identity, event time, and what is added up. Stateless and cheap to share."""

    @property
    def name(self) -> str:
        """Name in exchanges, collections and ids; lower case letters."""

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names in `Event.keys`: what a query can filter by, besides `day`."""

    def accept(self, raw: bytes, received: float) -> bytes:
        """Check one event as sent and give its frame line: the same JSON on one line, `receivedTime` stamped.

        Raises InvalidEventError (or its branch UndecodableEventError), also for an event whose time is too far from
        its reception. A line that this returns, `parse` reads, however long it waited.
        """

    def parse(self, line: bytes) -> Event:
        """Read an event from its frame line, whatever its time.

        Raises InvalidEventError where `accept` would have for any other reason.
        """

    def fold(self, tally: Tally, event: Event, counted: float) -> None:
        """Add one event that was counted at `counted` (epoch seconds) to a tally, in place."""

    def paper(self, body: bytes) -> Paper:
        """An event as people read it, from its JSON (as in `Event.line`, `receivedTime` or not).

        Raises InvalidEventError where `accept` would have.
        """

    def received(self, day: str, tally: DayTally) -> dict[str, list[int]]:
        """Local minute `HH:MM` at which events of the day arrived → how many, and their amount in 1/10000.

        Those that arrived on another day are left out. Where clocks are set back, both minutes of a name are in it.
        """

    def summary(self, day: str, tally: DayTally) -> dict[str, Any]:
        """What `GET /totals/{day}` says of a day, but for `revision` and `asOf`; amounts as exact JSON numbers."""
