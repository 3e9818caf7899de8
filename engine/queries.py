"""Questions about the totals, answered exactly as of the request: the checkpoint plus the ledger after it."""

import time
from collections.abc import Callable
from typing import Any

from analytics.tally import DayTally
from engine.totals import Totals
from store.errors import StoreError, StoreUnavailableError
from store.protocol import Store
from streams.base import Stream

#: A checkpoint that another process swaps while its day is read is read again so often.
_ATTEMPTS = 5


async def read_day(
    store: Store, stream: Stream, day: str, *, clock: Callable[[], float] = time.time
) -> tuple[DayTally, int, float]:
    """What one business day adds up to, today or long ago; a day without events is an empty tally.

    Every event whose frame was in the ledger before the call is counted.

    Returns:
        the day's tally, which is the caller's own; the revision, ledger entries read (of all days); the moment at
        which the reading began, epoch seconds.
    Raises StoreError.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        as_of = clock()
        totals = Totals(store, stream.name)
        try:
            await totals.sync()
            return await totals.day(day), totals.revision, as_of
        except StoreUnavailableError:
            raise  # whoever asks has waited long enough to learn that
        except StoreError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


async def read_totals(
    store: Store, stream: Stream, day: str, *, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The totals of one business day, as `GET /totals/{day}` answers: `Stream.summary`, `revision` and `asOf`.

    Every event whose frame was in the ledger before the call is counted. Raises StoreError.
    """
    tally, revision, as_of = await read_day(store, stream, day, clock=clock)
    return {**stream.summary(day, tally), "revision": revision, "asOf": round(as_of, 3)}
