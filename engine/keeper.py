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

import structlog

from analytics.codec import NewerFormatError
from broker.errors import BrokerError, ConsumerRefusedError
from broker.exchanges import Topology
from broker.protocol import Broker, Consumer
from engine.metrics import TotalsMetrics
from engine.partials import Partial, PartialError, read_partial
from engine.publisher import LocalDays, Publisher
from engine.totals import Merged, Totals
from runtime import Tasks, debugging
from store.errors import StoreError
from store.protocol import Store, StoreIdentity
from streams.base import Stream
from streams.errors import TillstreamError

log = structlog.get_logger()

#: Between two runs of the same work, however often it is woken.
_PAUSE_S = 0.05
#: Before work that failed and that no total depends on is tried again.
_AGAIN_S = 30.0
#: A checkpoint is followed by a pause of so many times its own length.
_CHECKPOINT_SHARE = 4
#: Workers that write to another store: reported for so long after their last partial, and no more of them.
_STRANGER_S = 60.0
_MOST_STRANGERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsConfig:
    """How the totals process works; all in seconds.

    Attributes:
        publish_s: between publications.
        sync_s: between readings of the ledger (a gap leads to one at once).
        checkpoint_s: between checkpoints, when something changed.
        standby_s: between a standby's attempts to become active.
        tidy_s: between rounds of dropping data that nobody needs.
        seal_s: between rounds of ending idle writers: one without an entry for a whole round is ended. Longer than
            WRITER_IDLE_S, after which a worker gives up an idle writer by itself.
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
    seal_s: float = 1800.0
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
        self._topology = topology
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._totals = Totals(store, stream.name)
        self._publisher = Publisher(
            broker=broker, stream=stream, local=local, topology=topology, clock=clock, monotonic=monotonic
        )
        self._identity: StoreIdentity | None = None
        self._gap = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._strangers: dict[str, float] = {}
        self._next_checkpoint = 0.0
        self._active = False

    async def check(self) -> None:
        """For readiness: raises while the store or broker keeps the totals from being read or published, and while
        workers write to another store."""
        now = self._monotonic()
        self._strangers = {worker: at for worker, at in self._strangers.items() if now - at < _STRANGER_S}
        for worker in self._strangers:
            raise TillstreamError(f"worker {worker} writes to another store than this one; see its TILLSTREAM_STORE")
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
        self._identity = None
        self._publisher.begin()
        over = asyncio.Event()
        async with Tasks() as tasks:
            tasks.start("wait for the stop", _pass_on(stop, over))
            tasks.start("merge partials", self._merge_partials(consumer, over))
            for name, seconds, work, wake in (
                ("read the ledger", self._config.sync_s, self._sync, self._gap),
                ("look at the queues", self._config.publish_s, self._publisher.queues.ask, None),
                ("publish totals", self._config.publish_s, self._publish, None),
                ("write checkpoints", self._config.checkpoint_s, self._checkpoint, None),
            ):
                tasks.start(name, self._every(name, seconds, work, wake))
            for name, seconds, work in (
                ("drop old data", self._config.tidy_s, self._tidy),
                ("end idle writers", self._config.seal_s, self._seal),
            ):
                tasks.start(name, self._now_and_then(name, seconds, work))
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
        """Run work again and again, a fixed time apart (or at once when woken); failures are reported, and retried."""
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

    async def _now_and_then(self, name: str, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Run work that no total depends on; a failure is logged and retried soon, and is no reason to be unready."""
        while True:
            pause = seconds
            try:
                await work()
            except StoreError as exc:
                log.warning("failed, trying again", task=name, error=str(exc))
                pause = min(seconds, _AGAIN_S)
            await asyncio.sleep(pause)

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
            outcome = self._take(partial)
        self._metrics.partials.labels(outcome).inc()

    def _take(self, partial: Partial) -> str:
        """Merge a partial; the outcome, for metrics."""
        identity = self._identity
        if identity is not None and partial.epoch not in (None, identity.epoch):
            if partial.store is not None and not identity.accepts(partial.store):
                if partial.by not in self._strangers and len(self._strangers) < _MOST_STRANGERS:
                    log.error("a worker writes to another store: see its TILLSTREAM_STORE", worker=partial.by)
                    self._strangers[partial.by] = self._monotonic()
                elif partial.by in self._strangers:
                    self._strangers[partial.by] = self._monotonic()
            return "stray"  # if its entries are in this store, they are read from there
        merged = self._totals.merge(partial.writer, partial.first, partial.last, partial.tally)
        self._publisher.activity.hear(partial, self._clock())
        if merged is Merged.GAP:
            self._gap.set()
        if debugging():
            log.debug("partial", outcome=merged.value, writer=partial.writer, first=partial.first, last=partial.last)
        return merged.value

    async def _sync(self) -> None:
        """Read the ledger to its end, page by page."""
        identity = await self._store.identity(self._stream.name)
        if self._identity is not None and identity != self._identity:
            log.warning("the store was restored, reading from it", stream=self._stream.name)
            self._totals.loaded = self._totals.synced = False
        self._identity = identity
        more, merged = True, 0
        while more:
            some, more = await self._totals.read_page()
            merged += some
            self._metrics.ledger_entries.inc(some)
        if merged:
            log.debug("ledger read", entries=merged, revision=self._totals.revision)

    async def _checkpoint(self) -> None:
        """Write a checkpoint if anything changed: the longer one takes, the longer the next one waits."""
        started = self._monotonic()
        if not self._totals.loaded or not self._totals.changed or started < self._next_checkpoint:
            return
        written = await self._totals.checkpoint()
        self._next_checkpoint = self._monotonic() + _CHECKPOINT_SHARE * (self._monotonic() - started)
        self._metrics.checkpoints.labels("written" if written else "overtaken").inc()
        if not written:
            self._gap.set()  # the ledger may have to be read from another head
        await self._totals.close_folded()

    async def _tidy(self) -> None:
        head = self._totals.head
        if head is not None:
            now = self._clock()
            await self._store.tidy(
                head,
                named=await self._totals.named(head),
                tallies_before=now - self._config.keep_tallies_s,
                days_before=now - self._config.keep_days_s,
            )

    async def _seal(self) -> None:
        if self._totals.synced:
            await self._totals.seal_idle(self._clock())
            self._gap.set()

    async def _publish(self) -> None:
        self._metrics.revision.set(self._totals.revision)
        self._metrics.behind.set(self._totals.behind)
        if self._totals.loaded:
            await self._publisher.publish(self._totals, self._identity.epoch if self._identity else "")


async def _pass_on(stop: asyncio.Event, over: asyncio.Event) -> None:
    await stop.wait()
    over.set()
