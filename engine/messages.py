"""What the engines publish: the bodies of `count`, `categories` and `metrics`. Both engines build them here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from analytics.histogram import Histogram
from analytics.tally import DayTally
from broker.exchanges import CATEGORIES, COUNT, METRICS
from broker.protocol import Message
from engine.activity import WorkerShare
from engine.recent import RecentDelays
from streams.base import Stream
from streams.money import to_json

#: The window of the rates, seconds.
RATE_WINDOW = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """How the engine itself is doing.

    Attributes:
        writers: writers whose entries were merged in the last minute.
        lag: ledger entries announced and not yet merged.
        queue_depth: frames ready in the stream's work queue; None when the broker did not say.
        dead_letters: frames among the stream's dead letters; None likewise.
        consumers: workers connected to the work queue, idle ones included; None likewise.
        workers: who counted something in the last minute, the busiest first.
    """

    writers: int
    lag: int
    queue_depth: int | None
    dead_letters: int | None = None
    consumers: int | None = None
    workers: Sequence[WorkerShare] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A moment of the totals, to be published.

    Attributes:
        day: the current business day.
        tally: its totals.
        seconds: epoch second of reception → count, system and creation delay (microseconds).
        revision: ledger entries merged so far.
        as_of: epoch seconds.
        received: local minutes `HH:MM` of this day → count, revenue, by reception.
        changed: minutes of `received` and of the receipts' own time that changed since the last view; None for all.
        recent: the delays of about the last minute.
        epoch: of the store (`store.protocol.StoreIdentity`): revisions of one epoch can be compared.
        complete: whether the ledger was read to its end; if not, these are the totals of a part of it.
    """

    day: str
    tally: DayTally
    seconds: Mapping[int, list[int]]
    revision: int
    as_of: float
    received: Mapping[str, list[int]]
    changed: frozenset[str] | None
    recent: RecentDelays = field(default_factory=RecentDelays)
    epoch: str = ""
    complete: bool = True


def messages(stream: Stream, view: View, engine: EngineState) -> Iterator[Message]:
    """The messages of one second, in the order of publishing. Every body names day, revision, asOf and epoch."""
    stamp = {"day": view.day, "revision": view.revision, "asOf": round(view.as_of, 3), "epoch": view.epoch}
    partly = {} if view.complete else {"complete": False}
    summary = stream.summary(view.day, view.tally)

    def message(exchange: str, key: str, body: Mapping[str, Any]) -> Message:
        return Message(exchange=exchange, routing_key=key, body=msgspec.json.encode({**body, **stamp}))

    def metric(name: str, body: Mapping[str, Any]) -> Message:
        return message(METRICS.name, f"{stream.name}.{name}", body)

    yield message(COUNT.name, stream.name, {"sum": summary["sum"], "count": summary["count"], **partly})
    sales = {name: row["sum"] for name, row in summary["categories"].items()}
    yield message(CATEGORIES.name, stream.name, {"categories": sales, **partly})
    yield metric("rate", _rate(view))
    recent = {**_delays(view.recent.delays), "seconds": view.recent.seconds}
    yield metric("delay", {**_delays(view.tally.delays), "recent": recent})
    yield metric("stores", {"stores": summary["stores"]})
    yield metric("payments", {"payments": summary["payments"]})
    yield metric("minutes", _minutes(view, summary["minutes"]))
    yield metric("engine", {**_engine(engine), **partly})


def _rate(view: View) -> dict[str, Any]:
    """Events received in the last 60 s, and the mean milliseconds they took to be counted."""
    now = int(view.as_of)
    rows = [row for second, row in view.seconds.items() if now - RATE_WINDOW < second <= now]
    count = sum(row[0] for row in rows)
    return {
        "averagePerMinute": count,
        "averageMsSystem": round(sum(row[1] for row in rows) / 1000 / count, 3) if count else None,
        "averageMsCreation": round(sum(row[2] for row in rows) / 1000 / count, 3) if count else None,
    }


def _delays(delays: Mapping[str, Histogram]) -> dict[str, Any]:
    return {
        "connectionDelay": _seconds(delays.get("creation", Histogram())),
        "networkDelay": _seconds(delays.get("system", Histogram())),
    }


def _seconds(histogram: Histogram) -> dict[str, float | None]:
    """A histogram of microseconds in seconds."""
    if not histogram.count:
        return {"mean": None, "max": None, "p50": None, "p99": None}
    return {
        "mean": round(histogram.mean / 1e6, 6),
        "max": round((histogram.high or 0) / 1e6, 6),
        "p50": round(histogram.quantile(0.5) / 1e6, 6),
        "p99": round(histogram.quantile(0.99) / 1e6, 6),
    }


def _minutes(view: View, own: Mapping[str, Any]) -> dict[str, Any]:
    received = {minute: {"count": count, "sum": to_json(amount)} for minute, (count, amount) in view.received.items()}
    if view.changed is None:
        return {"received": received, "own": own, "complete": True}
    return {
        "received": {minute: row for minute, row in received.items() if minute in view.changed},
        "own": {minute: row for minute, row in own.items() if minute in view.changed},
        "complete": False,
    }


def _engine(engine: EngineState) -> dict[str, Any]:
    return {
        "writers": engine.writers,
        "lag": engine.lag,
        "queueDepth": engine.queue_depth,
        "deadLetters": engine.dead_letters,
        "consumers": engine.consumers,
        "workers": [
            {"worker": one.worker, "events": one.events, "share": round(one.share, 4)} for one in engine.workers
        ],
    }
