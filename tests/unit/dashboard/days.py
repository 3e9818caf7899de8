"""Days past, for tests of what today is compared with."""

import uuid
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from analytics.tally import Tally
from dashboard.history import DayTotals, Past
from dashboard.messages import Amount
from store.protocol import LedgerEntry, Store
from streams.money import SCALE

#: Local minute `HH:MM` → revenue, receipts.
MinutesOfDay = Mapping[str, tuple[float, int]]


def past_of(days: Mapping[str, MinutesOfDay], *, failing: bool = False) -> Past:
    """Days as they would have been read."""
    return Past(days={day: _totals(day, minutes) for day, minutes in days.items()}, failing=failing)


async def keep_day(store: Store, day: str, minutes: MinutesOfDay) -> None:
    """Have a store know a day, as one frame of a worker of its own."""
    tally = Tally()
    for minute, (revenue, receipts) in minutes.items():
        amount = int(Decimal(str(revenue)) * SCALE)
        tally.day(day).add("minutes", minute, receipts, amount)
        tally.day(day).add("total", "", amount, receipts)
    frame, writer = uuid.uuid4().hex, uuid.uuid4().hex
    assert await store.append(
        [LedgerEntry(frame=frame, stream="receipts", writer=writer, seq=1, tally=tally, at=1795261200.0)]
    )


def _totals(day: str, minutes: MinutesOfDay) -> DayTotals:
    rows = {minute: Amount(Decimal(str(revenue)), receipts) for minute, (revenue, receipts) in minutes.items()}
    whole = sum((row.sum for row in rows.values()), Decimal())
    return DayTotals(
        day=day,
        sum=msgspec.Raw(str(whole).encode()),
        count=sum(row.count for row in rows.values()),
        minutes=rows,
        received=rows,  # each came in as it was rung up
    )
