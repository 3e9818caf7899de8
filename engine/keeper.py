"""Keeping the totals: merges partials and the ledger, writes checkpoints, publishes every second. One keeper is active.

Several may run: one holds the queue of partials exclusively, the others stand by and try again every second. Should two
ever believe to be active (one was frozen and woke up), the checkpoint's compare-and-set and the revisions keep both
harmless.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from analytics.codec import NewerFormatError
from broker.errors import BrokerError, ConsumerRefusedError
from broker.exchanges import Topology
from broker.protocol import Broker, Consumer
from engine.activity import Activity
from engine.messages import EngineState, View, messages
from engine.metrics import TotalsMetrics
from engine.partials import PartialError, read_partial
from engine.queue_watch import QueueWatch
from engine.recent import DelayWindow
from engine.totals import REMEMBERED_SECONDS, Merged, Totals
from runtime import Tasks, debugging
from store.errors import StoreError
from store.protocol import Store
from streams.base import Stream
from streams.errors import TillstreamError

log = structlog.get_logger()

#: Between two runs of the same work, however often it is woken.
_PAUSE_S = 0.05


class LocalDays(Protocol):
    """What of a time zone is needed here; `streams.local_time.LocalTime` has it."""

    def day_of(self, epoch: float) -> str:
        """The business day of a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsConfig:
    """How the totals process works; all in seconds.

    Attributes:
        publish_s: between publications.
        sync_s: between readings of the ledger (a gap leads to one at once).
        checkpoint_s: between checkpoints, when something changed.
        standby_s: between a standby's attempts to become active.
        tidy_s: between rounds of dropping what nobody needs.
        keep_tallies_s: tallies of ledger entries below the checkpoint are kept so long.
        keep_days_s: day documents that the head does not name are kept so long.
        last_checkpoint_s: for the checkpoint on stop.
        prefetch: partials taken ahead.
    """

    publish_s: float = 1.0
    sync_s: float = 3.0
    checkpoint_s: float = 5.0
    standby_s: float = 1.0
    tidy_s: float = 600.0
    keep_tallies_s: float = 7 * 86_400.0
    keep_days_s: float = 600.0
    last_checkpoint_s: float = 5.0
    prefetch: int = 200


class TotalsKeeper:
    """Keeps and publishes the totals of one stream."""

    def __init__(
        self,
        config: TotalsConfig,
        *,
        broker: Broker,
        store: Store,
        stream: Stream,
        local: LocalDays,
        topology: Topology,
        metrics: TotalsMetrics,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._broker = broker
        self._store = store
        self._stream = stream
        self._local = local
        self._topology = topology
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._totals = Totals(store, stream.name)
        self._gap = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._activity = Activity()
        self._window = DelayWindow()
        self._queues = QueueWatch(broker, (topology.work, topology.dead), clock=monotonic)
        self._published: dict[str, tuple[list[int], list[int]]] = {}
        self._published_day = ""
        self._complete_at = 0.0
        self._active = False

    async def check(self) -> None:
        """For readiness: raises while the store or broker keeps the totals from being read or published."""
        for trouble in self._troubles.values():
            raise TillstreamError(trouble)

    def hear(self, body: bytes) -> None:
        """Take a partial that came by another way than the broker, maybe for the second time; on standby, ignore it."""
        if self._active:
            self._merge_partial(body)

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by until this process is the one, then keep the totals until `stop` is set.

        On stop a last checkpoint is written. Raises only for bugs; failures of broker and store are waited out.
        """
        while not stop.is_set():
            consumer = await self._become_active(stop)
            if consumer is not None:
                self._active = True
                self._metrics.active.set(1)
                try:
                    await self._keep(consumer, stop)
                finally:
                    self._active = False
                    self._metrics.active.set(0)
                    await consumer.close()

    async def _keep(self, consumer: Consumer, stop: asyncio.Event) -> None:
        """Keep the totals until `stop` is set, or until another process has taken the partials."""
        self._totals = Totals(self._store, self._stream.name)
        self._window = DelayWindow()
        self._complete_at = 0.0  # whoever published meanwhile may have said more than we did
        over = asyncio.Event()
        async with Tasks() as tasks:
            tasks.start("wait for the stop", _pass_on(stop, over))
            tasks.start("merge partials", self._merge_partials(consumer, over))
            for name, seconds, work, wake in (
                ("read the ledger", self._config.sync_s, self._sync, self._gap),
                ("ask for the queues", self._config.publish_s, self._queues.ask, None),
                ("publish totals", self._config.publish_s, self._publish, None),
                ("write checkpoints", self._config.checkpoint_s, self._checkpoint, None),
                ("drop what is old", self._config.tidy_s, self._tidy, None),
            ):
                tasks.start(name, self._every(name, seconds, work, wake))
            await tasks.until(over)
        if stop.is_set():
            # Bounded, and without complaint: the ledger has it all, the next start reads a little more.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(self._config.last_checkpoint_s):
                    await self._totals.checkpoint()
        self._troubles.clear()

    async def _become_active(self, stop: asyncio.Event) -> Consumer | None:
        """Hold the queue of partials, which only one can; None when stopped before."""
        standing_by = False
        while not stop.is_set():
            try:
                return await self._broker.consume(
                    self._topology.partials, prefetch=self._config.prefetch, exclusive=True
                )
            except ConsumerRefusedError:
                if not standing_by:
                    log.info("standing by: another totals process is active", queue=self._topology.partials.name)
                standing_by = True
            except BrokerError as exc:
                log.warning("cannot reach the partials yet", error=str(exc))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.standby_s):
                    await stop.wait()
        return None

    async def _every(
        self, name: str, seconds: float, work: Callable[[], Awaitable[None]], wake: asyncio.Event | None = None
    ) -> None:
        """Run something again and again, a fixed time apart (or at once when woken); failures are told, and retried."""
        wake = wake or asyncio.Event()
        while True:
            started = self._monotonic()
            wake.clear()
            try:
                await work()
            except (StoreError, BrokerError) as exc:
                if name not in self._troubles:
                    log.warning("failed, trying again", task=name, error=str(exc))
                self._troubles[name] = f"{name}: {exc}"
            else:
                self._troubles.pop(name, None)
            await asyncio.sleep(_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, started + seconds - self._monotonic())):
                    await wake.wait()

    async def _merge_partials(self, consumer: Consumer, over: asyncio.Event) -> None:
        """Merge each partial that is the next of its writer; a gap is read from the ledger at once."""
        try:
            async for delivery in consumer:
                self._merge_partial(delivery.body)
                await delivery.ack()
        except ConsumerRefusedError:
            log.warning("another totals process took over while the connection was lost; standing by")
            over.set()

    def _merge_partial(self, body: bytes) -> None:
        try:
            partial = read_partial(body)
        except (PartialError, NewerFormatError) as exc:
            log.warning("not a partial, the ledger has it", error=str(exc))
            outcome = "unreadable"
        else:
            merged = self._totals.merge(partial.writer, partial.first, partial.last, partial.tally)
            outcome = merged.value
            self._activity.hear(partial, self._clock())
            if merged is Merged.GAP:
                self._gap.set()
            if debugging():
                log.debug("partial", outcome=outcome, writer=partial.writer, first=partial.first, last=partial.last)
        self._metrics.partials.labels(outcome).inc()

    async def _sync(self) -> None:
        merged = await self._totals.sync()
        self._metrics.ledger_entries.inc(merged)
        if merged:
            log.debug("ledger read", entries=merged, revision=self._totals.revision)

    async def _checkpoint(self) -> None:
        if self._totals.synced and self._totals.changed:
            written = await self._totals.checkpoint()
            self._metrics.checkpoints.labels("written" if written else "overtaken").inc()

    async def _tidy(self) -> None:
        head = self._totals.head
        if head is not None:
            now = self._clock()
            await self._store.tidy(
                head,
                tallies_before=now - self._config.keep_tallies_s,
                days_before=now - self._config.keep_days_s,
            )

    async def _publish(self) -> None:
        """Say what the totals of the current business day are: also when nothing changed, for silence means trouble."""
        now = self._clock()
        self._totals.forget_seconds(int(now) - REMEMBERED_SECONDS)
        self._metrics.revision.set(self._totals.revision)
        self._metrics.behind.set(self._totals.behind)
        if not self._totals.synced:
            return
        day = self._local.day_of(now)
        tally = await self._totals.day(day)
        # No await from here to the last message made: all of them say the same moment.
        received = self._stream.received(day, tally)
        view = View(
            day=day,
            tally=tally,
            seconds=self._totals.seconds,
            revision=self._totals.revision,
            as_of=now,
            received=received,
            changed=self._changed_minutes(day, received, tally.tables.get("minutes", {}), now),
            recent=self._window.since_then((day, self._totals.loads), tally.delays, now),
        )
        engine = self._engine_state(now)
        try:
            for message in list(messages(self._stream, view, engine)):
                await self._broker.announce(message)
        except BrokerError:
            self._complete_at = 0.0  # the minutes that changed may have gone unheard
            raise

    def _engine_state(self, now: float) -> EngineState:
        self._activity.forget(now)
        work, dead = self._queues.latest(self._topology.work), self._queues.latest(self._topology.dead)
        return EngineState(
            writers=self._activity.writers(),
            lag=self._totals.behind,
            queue_depth=work.ready if work else None,
            dead_letters=dead.ready if dead else None,
            consumers=work.consumers if work else None,
            workers=self._activity.workers(),
        )

    def _changed_minutes(
        self, day: str, received: dict[str, list[int]], own: dict[str, list[int]], now: float
    ) -> frozenset[str] | None:
        """Minutes that differ from what was published last; None, meaning all, once a minute and on a new day."""
        current = {
            minute: (list(received.get(minute, ())), list(own.get(minute, ())))
            for minute in received.keys() | own.keys()
        }
        before, self._published = self._published, current
        if day != self._published_day or now >= self._complete_at:
            self._published_day = day
            self._complete_at = now + 60
            return None
        return frozenset(minute for minute, rows in current.items() if before.get(minute) != rows)


async def _pass_on(stop: asyncio.Event, over: asyncio.Event) -> None:
    await stop.wait()
    over.set()
