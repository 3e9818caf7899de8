"""When to try again: a pure decision from the attempt's number; waiting, and giving up, are the caller's."""

from dataclasses import dataclass

#: 2 to this power is beyond any cap; a float of a larger power overflows.
_MAX_DOUBLINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that double from `base_s` up to `cap_s`, each shortened by a random part.

    So that many who failed together do not try again together.

    Arguments:
        base_s: the delay after the first failure, seconds; more than 0.
        cap_s: no delay is longer, seconds; at least `base_s`.
        jitter: the largest part that chance may take off a delay, 0 (none) to 1 (all of it).
    Raises ValueError for values out of these ranges.
    """

    base_s: float = 0.1
    cap_s: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s or not 0 <= self.jitter <= 1:
            raise ValueError("expected 0 < base_s <= cap_s and 0 <= jitter <= 1")

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failure number `attempt` (from 1); `chance` is a random number in [0, 1)."""
        longest = min(self.cap_s, self.base_s * 2.0 ** min(max(attempt, 1) - 1, _MAX_DOUBLINGS))
        return longest * (1.0 - self.jitter * chance)
