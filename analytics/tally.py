"""Tallies: mergeable aggregates. Folding events gives a tally; merging tallies gives a tally.

A tally is a commutative monoid under `merge`, with `Tally()` as its identity: the order and grouping in which frames
are counted never matter. Everything in it is an integer, so merging is exact. What its tables mean is said by the
stream that folds into them (for receipts, `streams.receipts`). Pure: no I/O, no clock.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from analytics.histogram import Histogram

K = TypeVar("K", str, int)

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
        row = rows.get(key)
        if row is None:
            rows[key] = list(amounts)
        else:
            for index, amount in enumerate(amounts):
                row[index] += amount

    def row(self, table: str, key: str, length: int) -> list[int]:
        """A row, or `length` zeros."""
        return self.tables.get(table, {}).get(key) or [0] * length

    def merge(self, other: "DayTally") -> None:
        """Add another day tally to this one, in place; the other stays as it is."""
        for table, rows in other.tables.items():
            mine = self.tables.get(table)
            if mine is None:
                self.tables[table] = {key: list(row) for key, row in rows.items()}
            else:
                merge_rows(mine, rows)
        for name, histogram in other.delays.items():
            if name in self.delays:
                self.delays[name].merge(histogram)
            else:
                self.delays[name] = histogram.copy()

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
