"""Keeping a rate: when the next request is due. Pure, no clock of its own.

Who falls behind catches up, but never more than a second's worth at once: after a long stop of the server a feed
goes on at its rate instead of sending all that it missed.
"""

#: Events missed for longer than this are given up.
_MOST_BEHIND_S = 1.0


class Pace:
    """A steady rate.

    Arguments:
        rate: events a second, more than 0.
        now: seconds of the clock that all other calls use too; the first request is due at once.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._due = now

    def delay(self, now: float) -> float:
        """Seconds until the next request is due, 0 if it is."""
        return max(0.0, self._due - now)

    def sent(self, events: int, now: float) -> None:
        """A request of so many events left at `now`: the next one is due when these would all have left one by one."""
        self._due = max(self._due, now - _MOST_BEHIND_S) + events / self._rate
