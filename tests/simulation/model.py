"""What ought to be true, told from what clients sent and were answered; knows nothing of how the system does it."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from analytics import DayTally
from broker.exchanges import RECEIPTS
from broker.frames import frame_id
from store.protocol import StoredEvent
from tests.simulation.memory import Tables

#: Today, by the right clocks, and the day after.
DAYS = ("2026-11-18", "2026-11-19")


#: A receipt that comes to this much is one that the store refuses for good,
REFUSED_EVENT = "777.77"
#: and one that comes to this much makes it refuse the ledger entry of the frame that claims it.
REFUSED_ENTRY = "888.88"


class Sent(NamedTuple):
    """A receipt: number and date are its identity, the rest its content."""

    number: int
    date: str
    gross: str

    def body(self) -> bytes:
        """As a client sends it: a small receipt, which is quick to read."""
        return _BODY % (self.number, self.date.encode(), self.gross.encode(), self.gross.encode(), self.gross.encode())

    @property
    def identity(self) -> tuple[int, str]:
        """Equal for the same receipt, whatever it says."""
        return self.number, self.date


_BODY = (
    b'{"cashReceiptID":%d,"storeID":7,"terminalID":1,"agentID":2,"customerID":null,"date":"%s","lines":[{'
    b'"lineNumber":1,"productCode":"1","productDescription":"Baguette","productCategoryCode":"E",'
    b'"productCategoryName":"Pain","quantity":1,"unitOfMeasure":"piece","unitPrice":1,"creditAmount":1,'
    b'"taxPercentage":5.5,"settlementAmount":%s}],"documentTotal":{"taxPayable":0,"netTotal":%s,"grossTotal":%s},'
    b'"settlements":[]}'
)


def read(line: bytes) -> Sent | None:
    """What was sent in a line of a frame; None if it is no receipt of ours."""
    try:
        found = json.loads(line, parse_float=str, parse_int=str)
        return Sent(int(found["cashReceiptID"]), found["date"], found["documentTotal"]["grossTotal"])
    except (ValueError, KeyError, TypeError):
        return None


def refused(body: bytes) -> bool:
    """Whether the store refuses the frame with this body for good."""
    return any(
        found is not None and found.gross in (REFUSED_EVENT, REFUSED_ENTRY) for found in map(read, body.split(b"\n"))
    )


def amount(event: StoredEvent) -> Decimal:
    """What a stored receipt comes to."""
    return Decimal(json.loads(event.body, parse_float=str, parse_int=str)["documentTotal"]["grossTotal"])


@dataclass
class Model:
    """What clients sent, and what they were answered.

    Attributes:
        sent: everything that any client ever tried to send.
        accepted: what was answered 202.
        published: day → the last word on it, as a page would show it.
        overshot: publications that said more than the store held at that time.
        forgiven: bodies of the frames that were taken before the store was restored the last time: what they held may
            be gone.
    """

    sent: set[Sent] = field(default_factory=set)
    accepted: set[Sent] = field(default_factory=set)
    published: dict[str, dict[str, Any]] = field(default_factory=dict)
    overshot: list[str] = field(default_factory=list)
    forgiven: set[bytes] = field(default_factory=set)

    def restored(self, taken: Iterable[bytes]) -> None:
        """The store was set back: promises of before are void, but for what is still in a queue."""
        self.accepted.clear()
        self.forgiven.update(taken)

    def set_aside(self, tables: Tables) -> set[str]:
        """The ids of the frames whose events need not be counted although they are stored.

        Those that were put aside: they count when they are replayed. And those that a backup was taken in the middle
        of, acknowledged since: the audit reports them, and its repair counts them.
        """
        poison = {item.source for item in tables.refused.values() if item.reason == "poison"}
        return poison | ({frame_id(RECEIPTS.name, body) for body in self.forgiven} - tables.ledger.keys())

    def hear(self, exchange: str, body: bytes, tables: Tables) -> None:
        """Take a publication as a page does: by day and revision, older ones do not count."""
        said = json.loads(body, parse_float=Decimal)
        shown = self.published.setdefault(said["day"], {"revision": -1, "asOf": 0, "epoch": said["epoch"]})
        older = (
            said["revision"] < shown["revision"] if said["epoch"] == shown["epoch"] else said["asOf"] < shown["asOf"]
        )
        if older:
            return
        shown.update(said)
        if exchange == "count" and said["epoch"] == tables.epochs[max(tables.epochs)]:
            stored = sum(1 for event in tables.stored.values() if event.day == said["day"])
            if said["count"] > stored or said["revision"] > len(tables.ledger):
                self.overshot.append(f"{said} were published while {stored} were stored")

    def check(self, tables: Tables, taken: Iterable[bytes]) -> None:
        """Raise AssertionError where the store, at rest, is not what it ought to be.

        Arguments:
            taken: the bodies of the frames that the broker took.
        """
        stored: dict[tuple[int, str], Sent] = {}
        for event in tables.stored.values():
            found = read(event.body)
            assert found is not None, f"{event.body!r} is stored"
            assert found.identity not in stored, f"{found.identity} is stored twice"
            stored[found.identity] = found
        invented = set(stored.values()) - self.sent
        assert not invented, f"stored, and never sent: {invented}"
        kept = {
            reason: {item.body for item in tables.refused.values() if item.reason == reason}
            for reason in {item.reason for item in tables.refused.values()}
        }
        poison = {body for body in taken if refused(body)}
        found_poison = kept.pop("poison", set())
        assert poison - self.forgiven <= found_poison <= poison, f"(iv) poison ought to be {poison}"
        set_aside = {read(line) for body in poison for line in body.split(b"\n")}
        conflicts = {read(body) for body in kept.pop("conflict", set())}
        others = {body for bodies in kept.values() for body in bodies}
        before = {line for body in self.forgiven for line in body.split(b"\n")}
        new = [body for body in taken if body not in poison and body not in self.forgiven]
        lines = {line for body in new for line in body.split(b"\n")}
        inside = {line: read(line) for line in lines}
        unreadable = {line for line, found in inside.items() if found is None}
        assert unreadable <= others <= unreadable | before, f"(iv) rejected are {others}, and ought to be {unreadable}"
        queued = {found for found in inside.values() if found is not None}
        lost = self.accepted - queued
        assert not lost, f"(i) answered 202, and never in the queue: {lost}"
        missing = {one for one in queued if one.identity not in stored}
        assert not missing, f"(i, iv) taken by the broker, and not stored: {missing}"
        expected = {one for one in queued if stored[one.identity] != one}
        known = {read(line) for line in before}
        assert expected <= conflicts <= expected | set_aside | known, (
            f"(i) rejected as conflicts are {conflicts}, and ought to be {expected}"
        )
        self._check_ledger(tables)

    def _check_ledger(self, tables: Tables) -> None:
        aside = self.set_aside(tables)
        assert not aside & tables.ledger.keys(), "(iv) a frame is counted and put aside"
        owned: dict[str, Decimal] = {}
        numbers: Counter[str] = Counter()
        for event in tables.stored.values():
            owned[event.frame] = owned.get(event.frame, Decimal(0)) + amount(event)
            numbers[event.frame] += 1
        assert owned.keys() - aside <= tables.ledger.keys(), "(ii) a stored event's owner lacks an entry"
        seqs: dict[str, list[int]] = {}
        for frame, entry in tables.ledger.items():
            seqs.setdefault(entry.writer, []).append(entry.seq)
            if entry.tally is not None:
                rows = [day.row("total", "", 2) for day in entry.tally.days.values()]
                revenue, count = sum(row[0] for row in rows), sum(row[1] for row in rows)
                assert (Decimal(revenue) / 10_000, count) == (owned.get(frame, 0), numbers[frame]), (
                    f"(ii) frame {frame}'s entry says {revenue}, {count}; it owns {owned.get(frame)}, {numbers[frame]}"
                )
        for writer, found in seqs.items():
            assert sorted(found) == list(range(1, len(found) + 1)), f"(ii) writer {writer} has entries {sorted(found)}"

    def shows(self, tables: Tables, day: str) -> str | None:
        """What of the published totals of a day is not right yet; None when they are."""
        revenue, count = self._counted(tables, day)
        shown = self.published.get(day, {})
        if shown.get("revision") != len(tables.ledger):
            return f"(iii) published at revision {shown.get('revision')} of {len(tables.ledger)}"
        if (shown.get("sum"), shown.get("count")) != (revenue, count):
            return f"(iii) published {shown}, stored {revenue}, {count}"
        if shown.get("categories", {}).get("Pain", 0) != revenue:
            return f"(iii) published {shown}, categories ought to be {revenue}"
        return None

    def differs(self, tables: Tables, day: str, read: DayTally, revision: int) -> str | None:
        """In which way totals that were read from the store are not right; None when they are."""
        revenue, count = self._counted(tables, day)
        found = read.row("total", "", 2)
        if (Decimal(found[0]) / 10_000, found[1], revision) == (revenue, count, len(tables.ledger)):
            return None
        return f"(iii) read {found} at {revision}, stored {revenue}, {count} in {len(tables.ledger)} entries"

    def _counted(self, tables: Tables, day: str) -> tuple[Decimal, int]:
        """Revenue and number of the stored receipts of a day, but for those of frames that were set aside."""
        aside = self.set_aside(tables)
        events = [event for event in tables.stored.values() if event.day == day and event.frame not in aside]
        return sum((amount(event) for event in events), Decimal(0)), len(events)
