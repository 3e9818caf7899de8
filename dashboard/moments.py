"""One look at what is known, for all sessions of the server: so that twenty pages cost hardly more than one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from dashboard.colours import Colours
from dashboard.config import DashboardConfig
from dashboard.feed import STALE_AFTER_SECONDS, Feed
from dashboard.formats import Formats
from dashboard.history import NOTHING_READ, History, Past
from dashboard.snapshot import Snapshot

#: The engine says eight things within a few milliseconds, once a second: they are looked at together.
SETTLED_SECONDS = 0.05
#: When messages never pause, a look is due all the same.
PATIENCE_SECONDS = 1.0

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """All that pages are made of, at one moment.

    Attributes:
        snapshot: the last that was heard.
        past: days read from the store.
        silence: seconds since the totals were last heard, whole; 0 while they are live.
        epoch: the moment, epoch seconds.
        colours: of categories, the same on every page.
    """

    config: DashboardConfig
    formats: Formats
    snapshot: Snapshot
    past: Past
    silence: int
    epoch: float
    colours: Colours = field(default_factory=Colours)

    @property
    def stale(self) -> bool:
        """Whether the silence is too long for the numbers to be called live."""
        return self.silence > 0


class Moments:
    """Gives the current moment, and what is made of it, made once for all who ask. Belongs to the pages' loop.

    Arguments:
        history: none for those who only listen.
        clock: epoch seconds.
    """

    def __init__(
        self,
        config: DashboardConfig,
        feed: Feed,
        history: History | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._formats = Formats(config.locale, config.currency)
        self._feed = feed
        self._history = history
        self._clock = clock
        self._colours = Colours()
        self._made: dict[Any, Any] = {}
        self._moment = self._look()

    @property
    def current(self) -> Moment:
        """The moment. The same object as long as nothing changed that a page could show."""
        before = self._moment
        now = self._feed.clock()
        snapshot = self._feed.latest
        if snapshot is not before.snapshot:
            heard = max(snapshot.heard.values(), default=now)
            if now - heard < SETTLED_SECONDS and self._clock() - before.epoch < PATIENCE_SECONDS:
                return before
        elif self._past() is before.past and self._silence() == before.silence:
            return before
        self._moment = self._look()
        self._made.clear()
        return self._moment

    def made(self, make: Callable[[Moment], Result]) -> Result:
        """What `make` makes of the current moment: called once a moment, however many ask. `make` is hashable and the
        same each time (a function, or a frozen object), so that what is kept stays small."""
        moment = self.current
        if make not in self._made:
            self._made[make] = make(moment)
        result: Result = self._made[make]
        return result

    def _look(self) -> Moment:
        if categories := self._feed.latest.categories:
            # Those of all stores first, whichever page is opened first: so the same get the same after a restart.
            self._colours.of(categories.categories)
        return Moment(
            config=self._config,
            formats=self._formats,
            snapshot=self._feed.latest,
            past=self._past(),
            silence=self._silence(),
            epoch=self._clock(),
            colours=self._colours,
        )

    def _past(self) -> Past:
        return self._history.latest if self._history else NOTHING_READ

    def _silence(self) -> int:
        silence = self._feed.silence
        return int(silence) if silence > STALE_AFTER_SECONDS else 0
