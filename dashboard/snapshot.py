"""What the feed knows at one moment: immutable, so that any thread may read it while the next one is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dashboard.messages import Amount, Categories, Count, Delay, Engine, Minutes, Part, Payments, Rate, Stores

#: Parts that the page shows: silence of any of them is trouble.
SHOWN = ("count", "categories", "rate", "minutes")
#: The engine says once a second which minutes changed: from two of its messages so far apart one was missed.
MISSED_AFTER_SECONDS = 1.9


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteTables:
    """The day's minutes as far as they were heard of.

    Attributes:
        received, own: `HH:MM` → amount; see `dashboard.messages.Minutes`.
        complete: a full set was heard, and no message after it was missed as far as we know; the engine repeats the
            full set once a minute, so this becomes true within a minute of subscribing, or of a lost connection.
        as_of: of the last message, epoch seconds.
    """

    day: str
    as_of: float = 0.0
    received: Mapping[str, Amount] = field(default_factory=dict)
    own: Mapping[str, Amount] = field(default_factory=dict)
    complete: bool = False

    def then(self, news: Minutes) -> "MinuteTables":
        """These tables after a message of the same or a later day."""
        if news.complete or news.day != self.day:
            received, own = dict(news.received), dict(news.own)
        else:
            received, own = {**self.received, **news.received}, {**self.own, **news.own}
        missed = news.as_of - self.as_of > MISSED_AFTER_SECONDS
        return MinuteTables(
            day=news.day,
            as_of=news.as_of,
            received=MappingProxyType(received),
            own=MappingProxyType(own),
            # A new day starts with nothing, so its first changes are all there is.
            complete=news.complete or (self.complete and not missed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The last values of each part (None before its first message), and when they came.

    Attributes:
        minutes: changes merged into tables; see `MinuteTables`.
        heard: part → time of its last accepted message, on the feed's clock.
        epoch: of the store that all of it is from; empty if the engine does not say.
        started: when the feed began to listen, on the same clock.
        rejected: reason → how many were heard of since the feed began: what the store keeps may be more.
        accepted, ignored, malformed: messages so far; ignored ones were older than what was known.
    """

    count: Count | None = None
    categories: Categories | None = None
    rate: Rate | None = None
    delay: Delay | None = None
    stores: Stores | None = None
    payments: Payments | None = None
    minutes: MinuteTables | None = None
    engine: Engine | None = None
    heard: Mapping[str, float] = field(default_factory=dict)
    epoch: str = ""
    started: float
    rejected: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    ignored: int = 0
    malformed: int = 0

    @property
    def day(self) -> str | None:
        """The business day that is shown: the one of the count."""
        return self.count.day if self.count else None

    def of_epoch(self, epoch: str) -> "Snapshot":
        """The snapshot before the first message of another epoch: nothing is known, and what was counted stays."""
        return Snapshot(
            epoch=epoch,
            started=self.started,
            rejected=self.rejected,
            accepted=self.accepted,
            ignored=self.ignored,
            malformed=self.malformed,
        )

    def silence(self, now: float) -> float:
        """Seconds since the shown part that is silent longest was heard; since the start, if none ever was."""
        heard = [self.heard[name] for name in SHOWN if name in self.heard]
        return now - min(heard, default=self.started)


def value_of(part: Part, before: Snapshot) -> Part | MinuteTables:
    """What the snapshot keeps of a message."""
    if isinstance(part, Minutes):
        return (before.minutes or MinuteTables(day=part.day)).then(part)
    return part
