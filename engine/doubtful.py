"""Doubtful frames: a flush of them failed, so each one is tried alone until it succeeds or its time is over.

One frame that cannot be stored then keeps no other frame from being counted. Not here: what a failure means
(`engine.worker` decides that by the store's error).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from broker.protocol import Delivery
from runtime import Backoff


@dataclass(slots=True, kw_only=True)
class Doubtful:
    """A delivered frame whose flush failed. It is read again for each attempt: what was read of it takes memory.

    Attributes:
        since: when its first flush began, by the monotonic clock.
        due: when it may be tried next.
        failures: of flushes of this frame alone.
    """

    delivery: Delivery
    since: float
    due: float
    failures: int = 0


class DoubtfulFrames:
    """The doubtful frames of a worker, and when the next one may be tried.

    After each failure the next attempt waits, longer each time, until any flush succeeds: while the store is away, the
    number of attempts does not grow with the number of frames.

    Arguments:
        retry: delays by the number of failures, of one frame and of all in a row.
        monotonic: the clock.
    """

    def __init__(self, retry: Backoff, monotonic: Callable[[], float]) -> None:
        self._retry = retry
        self._monotonic = monotonic
        self._frames: list[Doubtful] = []
        self._failures = 0
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, delivery: Delivery, since: float) -> None:
        """Add a frame, due at once."""
        self._frames.append(Doubtful(delivery=delivery, since=since, due=self._monotonic()))

    def due_in(self) -> float | None:
        """Seconds until the next attempt; None when there is nothing to try."""
        if not self._frames:
            return None
        return max(0.0, max(min(one.due for one in self._frames), self._not_before) - self._monotonic())

    def take_due(self) -> Doubtful | None:
        """The frame to be tried now; None when none is due. It is no longer among these."""
        if self.due_in() != 0.0:
            return None
        frame = min(self._frames, key=lambda one: one.due)
        self._frames.remove(frame)
        return frame

    def take_older_than(self, seconds: float) -> list[Doubtful]:
        """The frames whose first flush began longer ago. They are no longer among these."""
        now = self._monotonic()
        old = [one for one in self._frames if now - one.since > seconds]
        self._frames = [one for one in self._frames if now - one.since <= seconds]
        return old

    def failed(self, frame: Doubtful) -> float:
        """Put a frame back after another failure; seconds until it is due."""
        frame.failures += 1
        self._failures += 1
        chance = random.random()
        now = self._monotonic()
        delay = self._retry.delay(frame.failures, chance)
        frame.due = now + delay
        self._not_before = now + self._retry.delay(self._failures, chance)
        self._frames.append(frame)
        return delay

    def succeeded(self) -> None:
        """A flush succeeded: the store works, so the others need not wait for it."""
        self._failures = 0
        self._not_before = 0.0
