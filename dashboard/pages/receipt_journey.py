"""A receipt's way from the till into the totals: when it was where, and how long each step took. Pure.

A till's clock is not ours. It may be ahead, and then a receipt arrives before it was rung up: that is said, as a
negative delay says nothing to anybody.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from store.protocol import LedgerEntry, StoredEvent

#: What is received is stamped to the millisecond, perhaps rounded up.
_STAMP_SECONDS = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        at: local date and time; empty if it did not happen yet.
        delay: how long after the step before, or what is odd about the clocks; empty for the first.
        note: more about it.
        odd: something here needs attention.
    """

    name: str
    at: str
    delay: str = ""
    note: str = ""
    odd: bool = False


def journey(event: StoredEvent, entry: LedgerEntry | None, zone: ZoneInfo) -> list[Step]:
    """The steps of a receipt, whose frame's ledger entry is None as long as it is not counted.

    A flush stamps what it stores and its entry in the ledger with one time: these are one step, unless the flush that
    stored the receipt did not get as far as the ledger.
    """
    steps = [
        Step(name="Rung up", at=_second(event.time, zone), note="By the till's clock, to the second."),
        _received(event, zone),
        _after("Stored", event.stored, event.received, "it was received", zone),
    ]
    if entry is None:
        note = "Not yet: its frame has no entry in the ledger."
        return [*steps, Step(name="Counted", at="", note=note, odd=True)]
    note = f"Entry {entry.seq} in the ledger of writer {entry.writer}."
    if abs(entry.at - event.stored) < _STAMP_SECONDS:
        return [*steps[:-1], replace(steps[-1], name="Stored and counted", note=note)]
    return [*steps, replace(_after("Counted", entry.at, event.stored, "it was stored", zone), note=note)]


def duration(seconds: float) -> str:
    """A length of time, 0 or more, with the precision that people care for: `43 ms`, `1.2 s`, `12 min`, `3 h`."""
    if seconds < 0.0005:
        return "less than 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def _received(event: StoredEvent, zone: ZoneInfo) -> Step:
    delay = event.received - event.time
    if delay < 0:
        return Step(
            name="Received",
            at=_millisecond(event.received, zone),
            delay=f"The till's clock was {duration(-delay)} ahead of ours.",
            odd=True,
        )
    late = datetime.fromtimestamp(event.received, zone).date().isoformat() != event.day
    return Step(
        name="Received",
        at=_millisecond(event.received, zone),
        delay=f"{duration(delay)} after it was rung up",
        note=f"It came on another day, and counts on its own, {event.day}." if late else "",
        odd=late,
    )


def _after(name: str, at: float, before: float, what: str, zone: ZoneInfo) -> Step:
    delay = at - before
    if delay < -_STAMP_SECONDS:
        return Step(
            name=name,
            at=_millisecond(at, zone),
            delay=f"Our clocks differ: {duration(-delay)} before {what}, it says.",
            odd=True,
        )
    return Step(name=name, at=_millisecond(at, zone), delay=f"{duration(max(0.0, delay))} after {what}")


def _second(epoch: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")


def _millisecond(epoch: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(epoch, zone).isoformat(" ", "milliseconds")[:23]
