"""A store that looks as if the system had run for days: receipts of then, stored then, by the clock of then.

Receipts sent now would all have been received now, and the day's chart would be one bar. The flush takes a clock, so
days can be told to it as they would have been, as fast as it writes.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import store as stores
from broker.frames import Frame
from broker.protocol import Broker
from engine import Flusher, prepare
from feeds import Generator, GeneratorOptions
from feeds.copies import Copies
from streams import ReceiptStream

#: How many come in each hour of a day, relative to one another: people buy bread in the morning, lunch, and for supper.
HOURS = (0, 0, 0, 0, 0, 1, 5, 9, 11, 9, 7, 8, 13, 12, 7, 6, 8, 10, 11, 7, 2, 0, 0, 0)
#: What a broken program put among receipts, and a line that was cut off: neither can be counted.
BROKEN = (b'{"receivedTime":1.0,"cashReceiptID":7,"storeID":"<b>12</b>","lines":[]}', b'{"receivedTime":1.0,"cashRe')
#: Seconds of receipts that are flushed together, as if all came at the end of them: few today, of which more is shown.
_TODAY_SECONDS, _BEFORE_SECONDS = 10, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What a store is filled with.

    Attributes:
        zone: of the tills and the business.
        now: epoch seconds; there are no receipts after it.
        receipts: of a whole day like today, all stores together.
        shares: days ago → receipts, relative to a day like today.
        conflicts: share of receipts that another one contradicts.
    """

    zone: ZoneInfo
    now: float
    stores: int = 40
    receipts: int = 6000
    shares: tuple[tuple[int, float], ...] = ((7, 0.93), (1, 0.96), (0, 1.0))
    conflicts: float = 0.001
    seed: int = 4


def pace(filling: Filling) -> float:
    """Receipts a second that a day like today has at its hour of now: what should go on coming in."""
    weight = HOURS[datetime.fromtimestamp(filling.now, filling.zone).hour]
    return filling.receipts * weight / sum(HOURS) / 3600


class _Deaf:
    """A broker that nobody listens to: what is announced is in the store, too."""

    async def announce(self, _message: object) -> None:
        """Let it go."""


async def fill(url: str, filling: Filling) -> int:
    """Fill the store of a URL that nobody else writes to; how many receipts were sent, contradictions included."""
    stream, rand, clock = ReceiptStream(filling.zone), random.Random(filling.seed), [0.0]
    generator = Generator(
        GeneratorOptions(
            seed=filling.seed, stores=filling.stores, timezone=filling.zone, returns=0.004,
            copies=Copies(conflicts=filling.conflicts),
        ),
        clock=lambda: clock[0],
    ).requests()  # fmt: skip
    sent = 0
    store = await stores.connect(url)
    try:
        await store.prepare(stream.name, stream.key_names)
        flusher = Flusher(store=store, broker=cast("Broker", _Deaf()), stream=stream, clock=lambda: clock[0])
        for ago, share in filling.shares:
            together = _BEFORE_SECONDS if ago else _TODAY_SECONDS
            for moments in _groups(_moments(filling, ago, share, rand), together):
                lines = []
                stored = moments[-1]
                for _ in moments:
                    # Stored 20 ms or more after they came; the way to us took most of a second, sometimes more.
                    received = stored - 0.02 - rand.expovariate(30)
                    clock[0] = received - 0.25 - rand.expovariate(2.5)
                    lines.append(stream.accept(next(generator)[0], received))
                clock[0] = stored
                frame = Frame.of(stream.name, lines)
                await flusher.flush([await prepare(frame, stream, store, lambda: clock[0])])
                sent += len(lines)
        frame = Frame.of(stream.name, list(BROKEN))
        await flusher.flush([await prepare(frame, stream, store, lambda: clock[0])])
    finally:
        await store.close()
    return sent


def _moments(filling: Filling, ago: int, share: float, rand: random.Random) -> list[float]:
    """When the receipts of a day are printed, in order, epoch seconds."""
    today = datetime.fromtimestamp(filling.now, filling.zone).date()
    midnight = datetime.combine(today - timedelta(days=ago), time(), filling.zone).timestamp()
    hours = rand.choices(range(24), weights=HOURS, k=round(filling.receipts * share))
    moments = sorted(midnight + (hour + rand.random()) * 3600 for hour in hours)
    return [moment for moment in moments if moment < filling.now - 5]


def _groups(moments: list[float], together: float) -> Iterator[list[float]]:
    """Moments that fall into the same stretch of so many seconds."""
    group: list[float] = []
    for moment in moments:
        if group and moment // together != group[0] // together:
            yield group
            group = []
        group.append(moment)
    if group:
        yield group
