"""What the engine says, for tests that play the engine."""

import json
from collections.abc import Mapping
from typing import Any

from dashboard import Feed

DAY = "2026-11-21"


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
