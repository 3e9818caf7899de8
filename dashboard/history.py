"""Days as the store has them: what today is compared with, and what today was before we listened."""

import asyncio
import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType

import msgspec
import structlog

from dashboard.feed import Feed
from dashboard.messages import Amount
from engine import TotalsReader
from runtime import Backoff
from store.errors import StoreError
from store.protocol import Store
from streams.base import Stream

log = structlog.get_logger("tillstream.dashboard")

#: Days before today that today is compared with: yesterday, and the same weekday a week ago.
COMPARED_DAYS = (1, 7)
#: How often days past are read again, for receipts that come late.
AGAIN_SECONDS = 300.0
#: How often it is looked whether a new day has begun.
LOOK_SECONDS = 0.2


class DayTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A day as the store has it; see `GET /totals/{day}`.

    Attributes:
        minutes: the receipts' own local minute `HH:MM` → amount.
        received: the minute of their arrival → amount.
    """

    day: str
    sum: msgspec.Raw
    count: int
    minutes: dict[str, Amount]
    received: dict[str, Amount]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The days that were read, by day. A day that was not read yet is missing; one without receipts has count 0.

    Attributes:
        failing: the store did not answer when it was last asked.
    """

    days: Mapping[str, DayTotals] = field(default_factory=dict)
    failing: bool = False

    def before(self, day: str, ago: int) -> DayTotals | None:
        """The day so many days before a business day, if it was read."""
        date_before = days_before(day, ago)
        return self.days.get(date_before) if date_before else None


#: The past before anything was read.
NOTHING_READ = Past()


class History:
    """Reads the current day at first and when messages were missed, and the days that it is compared with now and
    then. `latest` may be read anywhere."""

    def __init__(self, store: Store, stream: Stream, feed: Feed) -> None:
        self._reader = TotalsReader(store, stream)
        self._feed = feed
        self.latest = NOTHING_READ

    async def keep(self) -> None:
        """Read, and read again, until cancelled. A store that does not answer is asked again later; what was read
        before stays."""
        backoff, attempt, read_day, due, whole = Backoff(cap_s=30.0), 0, "", 0.0, False
        epoch = self._feed.latest.epoch
        while True:
            day, now = self._feed.latest.day, self._feed.clock()
            if epoch != self._feed.latest.epoch:  # another store, or the same as it was earlier
                if epoch:
                    self.latest, read_day = NOTHING_READ, ""
                epoch = self._feed.latest.epoch
            before, whole = whole, day is not None and _heard_whole(self._feed, day)
            if before and not whole:  # messages were missed: the store knows what they said
                due = now
            if day is not None and (day != read_day or now >= due):
                again, read_day = day == read_day, day
                try:
                    await self._read(day, again=again)
                    attempt, due = 0, now + AGAIN_SECONDS
                except StoreError as exc:
                    attempt += 1
                    delay = backoff.delay(attempt, random.random())
                    due = now + delay
                    self.latest = dataclasses.replace(self.latest, failing=True)
                    log.warning("days past cannot be read, trying again", error=str(exc), delay_s=round(delay, 1))
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, day: str, *, again: bool) -> None:
        """Read the day and those that it is compared with, each shown as soon as it is there. Raises StoreError."""
        wanted = [day, *(before for ago in COMPARED_DAYS if (before := days_before(day, ago)))]
        for each in wanted:
            # Once the totals said all minutes of today, they know better than what is read.
            if each == day and again and _heard_whole(self._feed, day):
                continue
            totals = await self._reader.summary(each)
            read = msgspec.json.decode(msgspec.json.encode(totals), type=DayTotals)
            days = {name: known for name, known in self.latest.days.items() if name in wanted}
            self.latest = Past(days=MappingProxyType({**days, each: read}), failing=self.latest.failing)
        self.latest = dataclasses.replace(self.latest, failing=False)


def _heard_whole(feed: Feed, day: str) -> bool:
    minutes = feed.latest.minutes
    return minutes is not None and minutes.day == day and minutes.complete


def days_before(day: str, ago: int) -> str | None:
    """The date so many days before `YYYY-MM-DD`; None for what is no date, or the first of all."""
    try:
        return (date.fromisoformat(day) - timedelta(days=ago)).isoformat()
    except (ValueError, OverflowError):
        return None
