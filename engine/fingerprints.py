"""Fingerprints of tallies: numbers that are equal for equal tallies, and that add up when tallies are merged.

Each cell has a weight, a hash of its place; a fingerprint is the sum of the amounts times the weights, modulo 2^128. So
sums of millions of tallies can be compared without keeping them. Delays are left out: they are no function of events.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from analytics.tally import DayTally, Tally

MODULUS = 1 << 128


def day_fingerprint(day: str, amounts: DayTally) -> int:
    """The fingerprint of a day's tables."""
    total = 0
    for table, rows in amounts.tables.items():
        for key, row in rows.items():
            for index, amount in enumerate(row):
                if amount:
                    total += amount * _weight(day, table, key, index)
    return total % MODULUS


def day_fingerprints(tally: Tally, since: str | None = None) -> dict[str, int]:
    """The fingerprint of each day in a tally, or of those from `since` on."""
    return {day: day_fingerprint(day, amounts) for day, amounts in tally.days.items() if since is None or day >= since}


def fingerprint(tally: Tally, since: str | None = None) -> int:
    """The fingerprint of a tally: its days and its seconds of reception, or only its days from `since` on."""
    days = day_fingerprints(tally, since).values()
    return total_of(days) if since is not None else (total_of(days) + seconds_fingerprint(tally)) % MODULUS


def seconds_fingerprint(tally: Tally) -> int:
    """The fingerprint of how many events were received in which second."""
    return total_of(row[0] * _weight("", "seconds", str(second), 0) for second, row in tally.seconds.items())


def total_of(fingerprints: Iterable[int]) -> int:
    """The fingerprint of a merge."""
    return sum(fingerprints) % MODULUS


@lru_cache(maxsize=50_000)
def _weight(day: str, table: str, key: str, index: int) -> int:
    place = "\0".join((day, table, key, str(index)))
    return int.from_bytes(hashlib.blake2b(place.encode(), digest_size=16).digest(), "big")
