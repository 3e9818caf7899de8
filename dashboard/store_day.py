"""A store's own day, added up from its stored events: the totals know only what all stores sold of a category."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

from analytics.tally import DayTally, Tally
from dashboard.reading import Reading, rest
from dashboard.stored import Stored
from store.errors import StoreUnavailableError
from store.protocol import EventQuery, Page, Store, StoredEvent
from streams.base import Stream
from streams.errors import InvalidEventError

#: The same store's day is read again at most so often.
EVERY_SECONDS = 1.0
#: Events asked for at once.
PAGE = 500
#: Events of a store's day that are read, the newest: a bakery has a thousand; this is some seconds' work.
MOST_EVENTS = 20_000
#: The newest of them that are kept as they are.
NEWEST = 10
#: Stores whose day is kept, the last that were looked at; more only while they wait to be read.
MOST_STORES = 200
#: A page waits no longer than this for the days of other stores to be read: then it says so, and tries again.
TURN_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoreDay:
    """What was read of a store's day.

    Attributes:
        tally: what its events add up to.
        count: how many were read.
        newest: the newest of them, newest first.
        before: of a day without events: the store's last event before it or after it; None if it has none at all.
        complete: these are all its events; otherwise the newest MOST_EVENTS.
        at: when the reading began, epoch seconds.
    """

    day: str
    store: str
    tally: DayTally
    count: int
    newest: tuple[StoredEvent, ...]
    before: StoredEvent | None
    complete: bool
    at: float


class StoreDays:
    """Readings of stores' days, shared by all sessions.

    The first reading of a store's day begins at once. It is read again when its number of events has changed, at most
    every EVERY_SECONDS, and all readings together take about 20 % of the time, if each store was read once.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self._stored = stored
        self._clock = clock
        self._epoch = epoch
        self._readings: OrderedDict[tuple[str, str], Reading[StoreDay]] = OrderedDict()
        self._known: dict[tuple[str, str], Hashable] = {}
        self._turn = asyncio.Lock()
        self._rest_until = clock()

    def look(self, day: str, store: str, known: Hashable) -> Reading[StoreDay]:
        """The reading of a store's day, which somebody looks at right now.

        Arguments:
            known: what the totals say of it, say the number of its events; it is read again when that changes.
        """
        key = (day, store)
        reading = self._readings.get(key)
        if reading is None:
            read = partial(self._read, day, store)
            reading = Reading(f"day of store {store!r}", read, every_seconds=EVERY_SECONDS, clock=self._clock)
            self._readings[key] = reading
        self._readings.move_to_end(key)
        first = reading.latest is None
        changed = self._known.get(key) != known or bool(reading.error)
        if (first or (changed and self._clock() >= self._rest_until)) and reading.look():
            self._known[key] = known
        self._forget()
        return reading

    async def close(self) -> None:
        """Stop reading."""
        await asyncio.gather(*(reading.close() for reading in self._readings.values()))

    async def _read(self, day: str, store: str) -> StoreDay:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailableError("it is busy with the days of other stores") from None
        begun, failed = self._clock(), True
        try:
            found = await read_store_day(self._stored, day, store, epoch=self._epoch)
            failed = False
        finally:
            ended = self._clock()
            self._rest_until = ended + rest(ended - begun, failed=failed)
            self._turn.release()
        return found

    def _forget(self) -> None:
        many = len(self._readings) - MOST_STORES
        if many > 0:
            for key in [key for key, reading in self._readings.items() if not reading.reading][:many]:
                del self._readings[key]
                self._known.pop(key, None)


async def read_store_day(
    stored: Stored, day: str, store: str, *, epoch: Callable[[], float] = time.time, most: int = MOST_EVENTS
) -> StoreDay:
    """Read the events of a store's day, newest first, page by page. Raises StoreError."""
    at, tally, count, after = epoch(), DayTally(), 0, None
    newest: tuple[StoredEvent, ...] = ()
    while True:
        query = EventQuery(day=day, keys={"store": store}, after=after, limit=PAGE)
        page = await stored.ask(partial(_events, stored.stream.name, query))
        # In a thread, since parsing takes time that the pages' loop has better uses for.
        tally.merge(await asyncio.to_thread(fold, stored.stream, page))
        count += len(page)
        newest += tuple(page[: NEWEST - len(newest)])
        if not page.more or count >= most:
            break
        after = page[-1].id
    before = Page[StoredEvent]()
    if not count:
        query = EventQuery(keys={"store": store}, limit=1)
        before = await stored.ask(partial(_events, stored.stream.name, query))
    return StoreDay(
        day=day,
        store=store,
        tally=tally,
        count=count,
        newest=newest,
        before=before[0] if before else None,
        complete=not page.more,
        at=at,
    )


def fold(stream: Stream, events: Sequence[StoredEvent]) -> DayTally:
    """What stored events of one day add up to."""
    tally = Tally()
    for event in events:
        try:
            stream.fold(tally, stream.parse(event.body), event.stored)
        except InvalidEventError:  # it was read in another time zone, in which its date exists
            continue
    total = DayTally()
    for each in tally.days.values():
        total.merge(each)
    return total


async def _events(stream: str, query: EventQuery, store: Store) -> Page[StoredEvent]:
    return await store.events(stream, query)
