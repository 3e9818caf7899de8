"""Delays of about the last minute, from totals that know the whole day: what its histograms gained since then."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics.histogram import Histogram

#: How far back, seconds.
RECENT_WINDOW = 60
#: Between two copies of the day's histograms; the window is as coarse as this. Seconds.
COPY_EVERY = 5
_COPIES = RECENT_WINDOW // COPY_EVERY + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentDelays:
    """What was counted lately.

    Attributes:
        delays: name → histogram of microseconds, mean and count exact, extremes within a bucket (2 %).
        seconds: how far back that reaches, in steps of COPY_EVERY: RECENT_WINDOW, less just after a beginning, more
            after a pause.
    """

    delays: Mapping[str, Histogram] = field(default_factory=dict)
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class _Copy:
    at: float
    delays: Mapping[str, Histogram]


class DelayWindow:
    """Keeps a few copies of a day's histograms, and tells what came since the one that is about a minute old."""

    def __init__(self) -> None:
        self._begun: object = None
        self._copies: deque[_Copy] = deque(maxlen=_COPIES)

    def since_then(self, begun: object, delays: Mapping[str, Histogram], now: float) -> RecentDelays:
        """What was counted in about the last minute.

        Arguments:
            begun: whatever says that `delays` goes on from the call before; when it differs, all begins anew.
            delays: the day's histograms now; copied, if kept.
            now: epoch seconds.
        """
        if begun != self._begun or (self._copies and now < self._copies[-1].at):
            self._begun = begun
            self._copies.clear()
        # Copies are due on a grid, so that they do not drift with the moments of asking.
        if not self._copies or now // COPY_EVERY > self._copies[-1].at // COPY_EVERY:
            self._copies.append(_Copy(now, {name: histogram.copy() for name, histogram in delays.items()}))
        while len(self._copies) > 1 and self._copies[1].at <= now - RECENT_WINDOW:
            self._copies.popleft()
        oldest = self._copies[0]
        return RecentDelays(
            delays={name: histogram.since(oldest.delays.get(name)) for name, histogram in delays.items()},
            seconds=int((now - oldest.at) // COPY_EVERY) * COPY_EVERY,
        )
