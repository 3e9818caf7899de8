"""Where a checkpoint's totals are: one immutable document a day, and one a month that says where old days are.

A head names the documents of the days that changed lately. When those become many, the older ones are named by a
document of their month instead, so that a head does not grow with history. Not here: when a checkpoint is written and
what becomes of it (`engine.totals`).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analytics.tally import DayTally
from store.errors import StoreError
from store.protocol import Head, Store

#: Days that a head names; beyond that, all but the newest and those that just changed move to their months.
DAYS_IN_HEAD = 62
_KEPT_IN_HEAD = 31
#: Documents read or written side by side.
_AT_ONCE = 8
#: Month documents kept in memory: ten years.
_MONTHS_CACHED = 120


class DocumentGoneError(StoreError):
    """A document that a head names is not there any more, or not known: the head has moved on."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A checkpoint that is being written, or whose outcome is unknown.

    Attributes:
        head: the head to swap in.
        days: what was merged since the attempt before it, by day.
        whole: some days' totals as of this attempt, for those that were in memory.
        folding: writers that it folds.
    """

    head: Head
    days: dict[str, DayTally]
    whole: dict[str, DayTally] = field(default_factory=dict)
    folding: frozenset[str] = frozenset()


class DayDocuments:
    """The documents of one stream's days and months."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._stream = stream
        #: id of a month document → what it says; they never change
        self._months: dict[str, Mapping[str, str]] = {}

    async def read(self, head: Head, day: str) -> DayTally:
        """A day's totals as of a head; an empty tally for a day that it does not know. Raises StoreError."""
        document = await self._find(head, day)
        if document is None:
            return DayTally()
        tally = await self._store.read_day(self._stream, document)
        if tally is None:
            raise DocumentGoneError(f"day document {document} is gone: another process wrote a checkpoint")
        return tally

    async def all(self, head: Head) -> dict[str, str]:
        """Day → document, for every day that a head knows. Raises StoreError."""
        found: dict[str, str] = {}
        for document in head.months.values():
            found.update(await self._month(document))
        return {**found, **head.days}

    async def write(self, base: Head, before: Sequence[Attempt], attempt: Attempt) -> Head:
        """Write the documents of an attempt; its head, which names them.

        Arguments:
            base: the head that it follows.
            before: attempts since then of unknown outcome; what they hold is in the new documents, too.
        Raises StoreError: some may be written, and no head names them.
        """
        pending = [*(one.days for one in before), attempt.days]
        changed = sorted({day for amounts in pending for day in amounts})

        async def write(day: str) -> str:
            whole = attempt.whole.get(day)
            if whole is None:
                whole = await self.read(base, day)
                for amounts in pending:
                    if day in amounts:
                        whole.merge(amounts[day])
            return await self._store.write_day(self._stream, day, whole, attempt.head.version)

        written: dict[str, str] = {}
        for some in _chunks(changed):
            written.update(zip(some, await asyncio.gather(*map(write, some)), strict=True))
        days, months = await self._put_away(base, {**base.days, **written}, written.keys(), attempt.head.version)
        attempt.whole = {}
        return replace(attempt.head, days=days, months=months)

    async def put_away_all(self, days: Mapping[str, str], version: int) -> tuple[dict[str, str], dict[str, str]]:
        """The days and months of a head that names these documents and no others. Raises StoreError."""
        nothing = Head(stream=self._stream, version=0, offsets={}, days={}, seconds={})
        return await self._put_away(nothing, dict(days), (), version)

    async def _put_away(
        self, base: Head, days: dict[str, str], changed: Iterable[str], version: int
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The days and months of the next head: days move to their months when there are many."""
        months = dict(base.months)
        if len(days) <= DAYS_IN_HEAD:
            return days, months
        kept = {*changed, *sorted(days)[-_KEPT_IN_HEAD:]}
        moved: dict[str, dict[str, str]] = {}
        for day, document in days.items():
            if day not in kept:
                moved.setdefault(_month_of(day), {})[day] = document

        async def write(month: str) -> str:
            known = await self._month(months[month]) if month in months else {}
            return await self._store.write_month(self._stream, month, {**known, **moved[month]}, version)

        for some in _chunks(sorted(moved)):
            months.update(zip(some, await asyncio.gather(*map(write, some)), strict=True))
        return {day: document for day, document in days.items() if day in kept}, months

    async def _find(self, head: Head, day: str) -> str | None:
        if day in head.days:
            return head.days[day]
        month = head.months.get(_month_of(day))
        return None if month is None else (await self._month(month)).get(day)

    async def _month(self, document: str) -> Mapping[str, str]:
        known = self._months.get(document)
        if known is None:
            known = await self._store.read_month(self._stream, document)
            if known is None:
                raise DocumentGoneError(f"month document {document} is gone: another process wrote a checkpoint")
            while len(self._months) >= _MONTHS_CACHED:
                del self._months[next(iter(self._months))]
            self._months[document] = known
        return known


def _month_of(day: str) -> str:
    return day[:7]


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
