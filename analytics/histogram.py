"""A mergeable histogram of non-negative durations with fixed, logarithmic buckets.

Bucket `i > 0` holds values `v` (whole microseconds) with `g**(i-1) < v <= g**i`, `g = 1.02`; bucket 0 holds 0 and
1. Any quantile read from it is within 1 % of a value at that rank (the bucket's middle is at most `sqrt(g) - 1` away).
The scheme is that of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019),
whose merge is adding counts, so it is exact and order does not matter.
"""

import math

import msgspec

#: Ratio of neighbouring bucket bounds: 1 % relative accuracy.
GROWTH = 1.02
_LOG_GROWTH = math.log(GROWTH)


class Histogram(msgspec.Struct, eq=True):
    """Counts by bucket, with exact count, sum and extremes.

    Attributes:
        count: number of values.
        total: their sum, microseconds.
        low, high: the smallest and the largest value, microseconds; None without values.
        buckets: bucket number → count.
    """

    count: int = 0
    total: int = 0
    low: int | None = None
    high: int | None = None
    buckets: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one duration in microseconds; a negative one (clocks differ) counts as 0 in its bucket."""
        bucket = math.ceil(math.log(value) / _LOG_GROWTH) if value > 1 else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        if self.low is None or value < self.low:
            self.low = value
        if self.high is None or value > self.high:
            self.high = value

    def merge(self, other: "Histogram") -> None:
        """Add another histogram to this one, in place."""
        self.count += other.count
        self.total += other.total
        if other.low is not None:
            self.low = other.low if self.low is None else min(self.low, other.low)
        if other.high is not None:
            self.high = other.high if self.high is None else max(self.high, other.high)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def copy(self) -> "Histogram":
        """An independent copy."""
        return Histogram(self.count, self.total, self.low, self.high, dict(self.buckets))

    def since(self, earlier: "Histogram | None") -> "Histogram":
        """The values added since an earlier copy of this histogram (none: since it was empty); a new histogram.

        Count, sum, mean and buckets are exact. The extremes are if they were extremes of the whole then; otherwise
        they are bounds of their buckets, so `low` and `high` are at most 2 % too far out.

        Raises ValueError if `earlier` is no earlier state of this one.
        """
        if earlier is None or not earlier.count:
            return self.copy()
        buckets = dict(self.buckets)
        for bucket, count in earlier.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) - count
        if any(count < 0 for count in buckets.values()):
            raise ValueError("the other histogram has values that this one never had")
        buckets = {bucket: count for bucket, count in buckets.items() if count}
        if not buckets or self.low is None or self.high is None or earlier.low is None or earlier.high is None:
            return Histogram()
        below, above = _bounds(min(buckets)), _bounds(max(buckets))
        return Histogram(
            count=self.count - earlier.count,
            total=self.total - earlier.total,
            low=self.low if self.low < earlier.low or below is None else max(self.low, below[0]),
            high=self.high if self.high > earlier.high else min(self.high, above[1] if above else 1),
            buckets=buckets,
        )

    @property
    def mean(self) -> float:
        """Arithmetic mean in microseconds, 0.0 without values."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, fraction: float) -> float:
        """The value in microseconds at a rank, `0 < fraction <= 1`, within 1 %; 0.0 without values."""
        if not self.count or self.low is None or self.high is None:
            return 0.0
        rank = max(1, math.ceil(fraction * self.count))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                middle = GROWTH ** (bucket - 0.5) if bucket else 0.0
                return min(max(middle, self.low), self.high)
        raise AssertionError("a histogram's buckets do not add up to its count")


def _bounds(bucket: int) -> tuple[int, int] | None:
    """The whole microseconds around a bucket; None for bucket 0, which has no lower bound."""
    return (math.floor(GROWTH ** (bucket - 1)), math.ceil(GROWTH**bucket)) if bucket else None
