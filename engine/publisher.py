"""Publishing the totals of the current business day, also when nothing changed: silence means trouble.

Not here: the bodies (`engine.messages`), and when they are published (`engine.keeper`).
"""

import time
from collections.abc import Callable
from typing import Protocol

from broker.errors import BrokerError
from broker.exchanges import Topology
from broker.protocol import Broker
from engine.activity import Activity
from engine.messages import EngineState, View, messages
from engine.queue_watch import QueueWatch
from engine.recent import DelayWindow
from engine.totals import REMEMBERED_SECONDS, Totals
from streams.base import Stream

#: All minutes of the day are published this often; in between those that changed. Seconds.
_ALL_MINUTES_S = 60.0


class LocalDays(Protocol):
    """A time zone; `streams.local_time.LocalTime` is one."""

    def day_of(self, epoch: float) -> str:
        """The business day of a moment."""


class Publisher:
    """Publishes totals, a second at a time.

    Attributes:
        activity: who counted something lately, for people.
        queues: how the stream's queues are doing.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        stream: Stream,
        local: LocalDays,
        topology: Topology,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._stream = stream
        self._local = local
        self._topology = topology
        self._clock = clock
        self._monotonic = monotonic
        self.activity = Activity()
        self.queues = QueueWatch(broker, (topology.work, topology.dead), clock=monotonic)
        self._published: dict[str, tuple[list[int], list[int]]] = {}
        self._published_day = ""
        self.begin()

    def begin(self) -> None:
        """Begin again: another process may have published meanwhile, and more than this one did."""
        self._window = DelayWindow()
        self._all_minutes_at = float("-inf")

    async def publish(self, totals: Totals, epoch: str) -> None:
        """Publish the current business day of some totals. Raises BrokerError and StoreError.

        Arguments:
            epoch: of the store.
        """
        now = self._clock()
        totals.keep_seconds(int(now) - REMEMBERED_SECONDS, int(now) + REMEMBERED_SECONDS)
        day = self._local.day_of(now)
        tally = await totals.day(day)
        # No await from here to the last message made: all of them are of the same moment.
        received = self._stream.received(day, tally)
        view = View(
            day=day,
            tally=tally,
            seconds=totals.seconds,
            revision=totals.revision,
            as_of=now,
            received=received,
            changed=self._changed_minutes(day, received, tally.tables.get("minutes", {})),
            recent=self._window.since_then((day, totals.loads), tally.delays, now),
            epoch=epoch,
            complete=totals.synced,
        )
        engine = self._engine_state(totals, now)
        try:
            for message in list(messages(self._stream, view, engine)):
                await self._broker.announce(message)
        except BrokerError:
            self._all_minutes_at = float("-inf")  # the minutes that changed may not have been received
            raise

    def _engine_state(self, totals: Totals, now: float) -> EngineState:
        self.activity.forget(now)
        work, dead = self.queues.latest(self._topology.work), self.queues.latest(self._topology.dead)
        return EngineState(
            writers=self.activity.writers(),
            lag=totals.behind,
            queue_depth=work.ready if work else None,
            dead_letters=dead.ready if dead else None,
            consumers=work.consumers if work else None,
            workers=self.activity.workers(),
        )

    def _changed_minutes(
        self, day: str, received: dict[str, list[int]], own: dict[str, list[int]]
    ) -> frozenset[str] | None:
        """Minutes that differ from those published last; None, meaning all, once a minute and on a new day."""
        current = {
            minute: (list(received.get(minute, ())), list(own.get(minute, ())))
            for minute in received.keys() | own.keys()
        }
        before, self._published = self._published, current
        now = self._monotonic()  # wall clocks are set back
        if day != self._published_day or now >= self._all_minutes_at:
            self._published_day = day
            self._all_minutes_at = now + _ALL_MINUTES_S
            return None
        return frozenset(minute for minute, rows in current.items() if before.get(minute) != rows)
