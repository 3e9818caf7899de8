"""Tallies: mergeable aggregates. Folding events gives a tally; merging tallies gives a tally.

A tally is a commutative monoid under `merge`, with `Tally()` as its identity: the order and grouping in which frames
are counted never matter. Everything in it is an integer, so merging is exact. What its tables mean is said by the
stream that folds into them (for receipts, `streams.receipts`). Pure: no I/O, no clock.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from analytics.histogram import Histogram

K = TypeVar("K", str, int)

#: Keys of a table that are counted apart; all others are counted together under OTHERS, so that no document grows with
#: the names that clients send.
MOST_KEYS = 10_000
#: A longer key, in bytes of UTF-8, is cut and ends with a hash of the whole.
KEY_BYTES = 128
#: The key of all that are not counted apart: longer than any other.
OTHERS = "(others)".ljust(KEY_BYTES + 1)
_KEPT_CHARACTERS = 24

#: Version of the encoded form; a newer one is refused, never guessed at.
TALLY_VERSION = 1


class DayTally(msgspec.Struct, eq=True):
    """What the events of one business day add up to.

    Attributes:
        tables: table name → key → integers, merged by adding element by element (all rows of a table are as long).
        delays: name → histogram of microseconds.
    """

    tables: dict[str, dict[str, list[int]]] = {}
    delays: dict[str, Histogram] = {}

    def add(self, table: str, key: str, *amounts: int) -> None:
        """Add amounts to a row, making it if need be."""
        rows = self.tables.get(table)
        if rows is None:
            rows = self.tables[table] = {}
        if len(key) > _KEPT_CHARACTERS:
            key = bounded_key(key)
        row = rows.get(key)
        if row is None:
            rows[key] = list(amounts)
            if len(rows) > 2 * MOST_KEYS:
                bound_rows(rows)
        else:
            for index, amount in enumerate(amounts):
                row[index] += amount

    def row(self, table: str, key: str, length: int) -> list[int]:
        """A row, or `length` zeros."""
        return self.tables.get(table, {}).get(key) or [0] * length

    def merge(self, other: "DayTally") -> None:
        """Add another day tally to this one, in place; the other stays as it is.

        In memory a table may have twice MOST_KEYS keys, so that it need not be sorted each time; see `bound`.
        """
        for table, rows in other.tables.items():
            mine = self.tables.get(table)
            if mine is None:
                self.tables[table] = {key: list(row) for key, row in rows.items()}
            else:
                merge_rows(mine, rows)
                if len(mine) > 2 * MOST_KEYS:
                    bound_rows(mine)
        for name, histogram in other.delays.items():
            if name in self.delays:
                self.delays[name].merge(histogram)
            else:
                self.delays[name] = histogram.copy()

    def bound(self) -> None:
        """Count all keys beyond MOST_KEYS of a table under OTHERS.

        The keys with the smallest hashes stay. A key that is dropped anywhere has so many smaller ones before it that
        it is dropped from every merge, too, and one that stays was dropped nowhere: its sums are exact, and the result
        is the same in whatever order tallies are merged.
        """
        for rows in self.tables.values():
            if len(rows) > MOST_KEYS:
                bound_rows(rows)

    @property
    def overflowing(self) -> list[str]:
        """The tables in which some keys are counted together."""
        return [table for table, rows in self.tables.items() if OTHERS in rows]

    def copy(self) -> "DayTally":
        """An independent copy."""
        fresh = DayTally()
        fresh.merge(self)
        return fresh


class Tally(msgspec.Struct, eq=True):
    """What a set of events adds up to: per business day, and per second of reception for rates.

    Attributes:
        days: business day → its tally.
        seconds: epoch second of reception → integers (count first), for the rates of the last minute. Consumers
            forget old ones, so they are no part of a day's totals.
    """

    days: dict[str, DayTally] = {}
    seconds: dict[int, list[int]] = {}

    def day(self, day: str) -> DayTally:
        """The tally of a day, made if need be."""
        found = self.days.get(day)
        if found is None:
            found = self.days[day] = DayTally()
        return found

    def merge(self, other: "Tally") -> None:
        """Add another tally to this one, in place; the other stays as it is."""
        for day, tally in other.days.items():
            self.day(day).merge(tally)
        merge_rows(self.seconds, other.seconds)

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """The merge of any number of tallies, none included."""
        total = cls()
        for tally in tallies:
            total.merge(tally)
        return total


def merge_rows(mine: dict[K, list[int]], theirs: Mapping[K, list[int]]) -> None:
    """Add rows element by element, in place; keys that only they have are copied."""
    for key, row in theirs.items():
        own = mine.get(key)
        if own is None:
            mine[key] = list(row)
        else:
            for index, amount in enumerate(row):
                own[index] += amount


def bounded_key(key: str) -> str:
    """A key of KEY_BYTES at most: itself, or its beginning and a hash that keeps it apart from others."""
    encoded = key.encode()
    if len(encoded) <= KEY_BYTES:
        return key
    return f"{key[:_KEPT_CHARACTERS]}…{hashlib.blake2b(encoded, digest_size=8).hexdigest()}"


def bound_rows(rows: dict[str, list[int]]) -> None:
    """Keep the MOST_KEYS keys with the smallest hashes, in place, and add all others up under OTHERS."""
    others = rows.pop(OTHERS, None)
    kept = set(heapq.nsmallest(MOST_KEYS, rows, key=_rank))
    for key in [key for key in rows if key not in kept]:
        row = rows.pop(key)
        others = row if others is None else [mine + theirs for mine, theirs in zip(others, row, strict=True)]
    if others is not None:
        rows[OTHERS] = others


def _rank(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()
