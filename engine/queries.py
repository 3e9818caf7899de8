"""Queries of the totals, answered exactly as of the request: the checkpoint plus the ledger after it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from analytics.tally import DayTally
from engine.checkpoint import DocumentGoneError
from engine.totals import Totals
from store.errors import StoreError
from store.protocol import Store
from streams.base import Stream

#: A checkpoint that another process swaps while its day is read is read again so often.
_ATTEMPTS = 5
#: Totals that were not read for so long, or that stand on an older head for so long, begin from the newest head again:
#: what lies between is forgotten, and memory does not grow. Seconds.
_BEGIN_AGAIN_S = 60.0
#: Ledger entries read between two turns of the event loop, in bytes: tens of milliseconds.
_PAGE_BYTES = 512 * 1024


class TotalsNotReadError(StoreError):
    """The totals are far behind and are being read; ask again soon. What was read meanwhile is kept."""


class TotalsReader:
    """The totals of a stream, read when somebody asks; one reading serves all who wait for it.

    It lives as long as its process: what was read once is not read again, and a reading goes on when nobody waits for
    it any more. Close it with `close`.

    Arguments:
        totals: makes the Totals that are read.
    """

    def __init__(
        self,
        store: Store,
        stream: Stream,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        totals: Callable[..., Totals] = Totals,
    ) -> None:
        self._store = store
        self._stream = stream
        self._clock = clock
        self._monotonic = monotonic
        self._make = totals
        self._totals: Totals | None = None
        self._begun_at = self._read_at = 0.0
        self._reading: asyncio.Task[Totals] | None = None
        #: number of the last reading that was begun
        self._begun = 0

    async def day(self, day: str, *, within_s: float | None = None) -> tuple[DayTally, int, float]:
        """The totals of one business day, today or long ago; a day without events is an empty tally.

        Every event whose frame was in the ledger before the call is counted.

        Arguments:
            within_s: how long to wait at most, seconds.
        Returns:
            the day's tally, which is the caller's own; the revision, ledger entries read (of all days); the moment at
            which the call was made, epoch seconds.
        Raises StoreError; TotalsNotReadError when it takes longer than `within_s`.
        """
        as_of = self._clock()
        try:
            async with asyncio.timeout(within_s):
                for attempt in range(1, _ATTEMPTS + 1):
                    totals = await self._read()
                    loads = totals.loads
                    try:
                        tally = await totals.day(day)
                    except DocumentGoneError:
                        if attempt == _ATTEMPTS:
                            raise
                        continue
                    if totals.loads == loads:  # else another reading has begun from a newer head meanwhile
                        return tally.copy(), totals.revision, as_of
        except TimeoutError:
            raise TotalsNotReadError("the totals are behind and are being read; ask again in a moment") from None
        raise TotalsNotReadError("the checkpoint moved on each time that the totals were read; ask again in a moment")

    async def summary(self, day: str, *, within_s: float | None = None) -> dict[str, Any]:
        """The totals of one business day, as `GET /totals/{day}` answers: `Stream.summary`, `revision` and `asOf`.

        As `day`, which see for its argument and errors.
        """
        tally, revision, as_of = await self.day(day, within_s=within_s)
        return {**self._stream.summary(day, tally), "revision": revision, "asOf": round(as_of, 3)}

    async def close(self) -> None:
        """End the reading that is under way, if any."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read(self) -> Totals:
        """Totals that were read to the ledger's end in a reading that began after this call."""
        ticket = self._begun + 1
        while True:
            if self._reading is None or self._reading.done():
                self._begun += 1
                self._reading = asyncio.ensure_future(self._read_on())
                self._reading.add_done_callback(_look_at)
            number = self._begun
            totals = await asyncio.shield(self._reading)
            if number >= ticket:
                return totals

    async def _read_on(self) -> Totals:
        now = self._monotonic()
        totals = self._totals
        if totals is not None:
            base = totals.head.version if totals.head else 0
            old = now - self._begun_at > _BEGIN_AGAIN_S and totals.newest > base
            if old or now - self._read_at > _BEGIN_AGAIN_S:
                totals = None
        if totals is None:
            self._begun_at = now
            totals = self._totals = self._make(self._store, self._stream.name, page_bytes=_PAGE_BYTES)
        await totals.sync()
        totals.keep_seconds(0, -1)  # the rates are not asked for
        self._read_at = self._monotonic()
        return totals


def _look_at(reading: "asyncio.Task[Totals]") -> None:
    """Whoever still waits for a reading gets its error; if nobody does, the next reading will have it again."""
    if not reading.cancelled():
        reading.exception()


async def read_day(
    store: Store, stream: Stream, day: str, *, clock: Callable[[], float] = time.time
) -> tuple[DayTally, int, float]:
    """The totals of one business day, read once; see `TotalsReader.day`. Raises StoreError."""
    reader = TotalsReader(store, stream, clock=clock)
    try:
        return await reader.day(day)
    finally:
        await reader.close()


async def read_totals(
    store: Store, stream: Stream, day: str, *, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The totals of one business day, read once; see `TotalsReader.summary`. Raises StoreError."""
    reader = TotalsReader(store, stream, clock=clock)
    try:
        return await reader.summary(day)
    finally:
        await reader.close()
