"""What the engine says, for tests that play the engine."""

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import DashboardConfig, Feed
from dashboard.feed import STALE_AFTER_SECONDS
from dashboard.formats import Formats
from dashboard.history import NOTHING_READ, Past
from dashboard.moments import Moment

DAY = "2026-11-21"
PARIS = ZoneInfo("Europe/Paris")
#: 12:40:00 in Paris on that day.
NOON = 1795261200.0


def body(revision: int = 1, *, day: str = DAY, as_of: float = 1795266000.0, **content: Any) -> bytes:
    """A message's body."""
    return json.dumps({**content, "day": day, "revision": revision, "asOf": as_of}).encode()


def count(total: float, number: int, revision: int = 1, *, day: str = DAY) -> tuple[str, str, bytes]:
    """A message on `count`: exchange, key, body."""
    return "count", "receipts", body(revision, day=day, sum=total, count=number)


def minutes(
    received: Mapping[str, int], revision: int = 1, *, day: str = DAY, complete: bool = False
) -> tuple[str, str, bytes]:
    """A message of minutes, each with its number of receipts at 1.00."""
    rows = {minute: {"count": number, "sum": float(number)} for minute, number in received.items()}
    return "metrics", "receipts.minutes", body(revision, day=day, received=rows, own={}, complete=complete)


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def feed_of(*messages: tuple[str, str, bytes], clock: Clock | None = None) -> Feed:
    """A feed that heard these."""
    feed = Feed(clock=clock or Clock())
    for message in messages:
        feed.take(*message)
    return feed


def moment_of(
    feed: Feed, silence: float = 0.0, *, past: Past = NOTHING_READ, config: DashboardConfig | None = None
) -> Moment:
    """A look at a feed some seconds after its last message, which came at noon."""
    config = config or DashboardConfig(timezone=PARIS)
    return Moment(
        config=config,
        formats=Formats(config.locale, config.currency),
        snapshot=feed.latest,
        past=past,
        silence=int(silence) if silence > STALE_AFTER_SECONDS else 0,
        epoch=NOON + silence,
    )
