"""Composing the roles: settings in, running parts out. `cli.commands.serve` says which parts a process has."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry

import broker as brokers
import store as stores
from broker.exchanges import Topology, receipts_topology
from broker.protocol import Broker
from cli.identity import identify, identity_of
from cli.maintenance import make_data_folder
from cli.settings import Settings
from engine import (
    GIVE_BACK_AFTER_S,
    Announcer,
    HeldBytes,
    Source,
    TotalsConfig,
    TotalsKeeper,
    TotalsMetrics,
    TotalsReader,
    Worker,
    WorkerConfig,
    WorkerMetrics,
)
from entrypoint import Bound, EntrypointConfig, serve
from runtime import Backoff
from store.errors import StoreError
from store.protocol import Store
from streams import ConfigurationError, DateWindow, ReceiptStream, TillstreamError
from workers import QueueSource

log = structlog.get_logger()

Result = TypeVar("Result")

#: How long a starting process waits for a broker and a store that are starting, too.
START_PATIENCE_S = 60.0
#: `GET /totals` is answered within this time, or by 503: reading goes on meanwhile. Seconds.
TOTALS_WITHIN_S = 1.0
_RETRY = Backoff(base_s=0.2, cap_s=3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every role stands on, open."""

    settings: Settings
    stream: ReceiptStream
    topology: Topology
    broker: Broker
    store: Store
    registry: CollectorRegistry


def stream_of(settings: Settings) -> ReceiptStream:
    """The stream that this system carries."""
    window = DateWindow(past_days=settings.past_days, future_days=settings.future_days)
    return ReceiptStream(settings.timezone, window)


def shared_broker_needed(settings: Settings, command: str) -> None:
    """Refuse to run one role alone on the embedded broker, which serves one process."""
    if settings.broker.startswith("sqlite:"):
        raise ConfigurationError(
            f"`tillstream {command}` needs a broker that processes can share: set TILLSTREAM_BROKER to amqp://…, "
            "or run everything in one process with `tillstream up`"
        )


class StoppedError(TillstreamError):
    """The process was asked to stop before it had begun."""


@asynccontextmanager
async def opened(
    settings: Settings, stop: asyncio.Event, role: str | None = None, *, prepare: bool = True
) -> AsyncIterator[Parts]:
    """Open broker and store, wait until both answer, and close them at the end, broker first.

    Arguments:
        role: as in `broker.connect`.
        prepare: wait for the store and make its indexes. Without it, a server that does not answer is no reason not to
            begin: each call connects, or fails, for itself. A file has to be there in any case.

    Raises BrokerError or StoreError when they do not answer within START_PATIENCE_S, StoppedError when `stop` is set
    before.
    """
    make_data_folder(settings)
    stream = stream_of(settings)
    store = await stores.connect(settings.store, [stream])
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        if prepare:
            await _unless(stop, _until_it_answers(lambda: store.prepare(stream.name, stream.key_names)))
            await _unless(stop, _until_it_answers(lambda: identify(store, stream)))
        broker, topology = await stack.enter_async_context(broker_opened(settings, stop, role))
        yield Parts(
            settings=settings,
            stream=stream,
            topology=topology,
            broker=broker,
            store=store,
            registry=CollectorRegistry(),
        )


@asynccontextmanager
async def broker_opened(
    settings: Settings, stop: asyncio.Event, role: str | None = None
) -> AsyncIterator[tuple[Broker, Topology]]:
    """Open the broker alone, with its queues; as `opened` does, with its errors."""
    topology = receipts_topology(work_max_bytes=settings.work_max_bytes, delivery_limit=settings.delivery_limit)
    connecting = brokers.connect(
        settings.broker, topology, publish_timeout=settings.publish_timeout_s, wait=START_PATIENCE_S, role=role
    )
    broker = await _unless(stop, connecting)
    try:
        yield broker, topology
    finally:
        await broker.close()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, unless `stop` is set before: then it is cancelled, and StoppedError raised."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if task.cancelled():
        raise StoppedError("stopped before broker and store answered")
    return task.result()


async def _until_it_answers(ask: Callable[[], Awaitable[Result]]) -> Result:
    began = time.monotonic()
    attempt = 0
    while True:
        try:
            return await ask()
        except StoreError as exc:
            attempt += 1
            if time.monotonic() - began > START_PATIENCE_S:
                raise
            delay = _RETRY.delay(attempt, random.random())
            log.warning("the store does not answer yet", error=str(exc), delay_s=round(delay, 2))
            await asyncio.sleep(delay)


def worker_of(
    parts: Parts,
    *,
    source: Source | None = None,
    broker: Announcer | None = None,
    give_back_after_s: float = GIVE_BACK_AFTER_S,
) -> Worker:
    """A worker, ready to run; by default one that takes its frames from the work queue, and announces on the broker."""
    settings = parts.settings
    return Worker(
        WorkerConfig(
            prefetch=settings.prefetch,
            held=HeldBytes.within(settings.worker_memory),
            flush_events=settings.flush_events,
            flush_wait_s=settings.flush_wait_ms / 1000,
            give_back_after_s=give_back_after_s,
        ),
        source=source or QueueSource(parts.broker, parts.topology.work),
        broker=broker or parts.broker,
        store=parts.store,
        stream=parts.stream,
        metrics=WorkerMetrics(parts.registry),
    )


def totals_of(parts: Parts) -> TotalsKeeper:
    """A totals process's keeper, ready to run."""
    settings = parts.settings
    return TotalsKeeper(
        TotalsConfig(
            sync_s=settings.sync_s,
            checkpoint_s=settings.checkpoint_s,
            keep_tallies_s=settings.keep_tallies_days * 86_400,
        ),
        broker=parts.broker,
        store=parts.store,
        stream=parts.stream,
        local=parts.stream.local,
        topology=parts.topology,
        metrics=TotalsMetrics(parts.registry),
    )


def entrypoint_config(settings: Settings) -> EntrypointConfig:
    """The entrypoint's share of the settings."""
    return EntrypointConfig(
        host=settings.host,
        port=settings.port,
        processes=settings.processes,
        tokens_file=settings.tokens_file,
        host_names=settings.host_names,
        cors_origins=settings.cors_origins,
        open=settings.open,
        connections_max=settings.connections,
        body_max_bytes=settings.body_limit,
        frames_in_flight=settings.frames_in_flight,
        frame_max_bytes=settings.frame_bytes,
        pending_max_events=settings.events_in_flight,
    )


async def run_entrypoint(
    parts: Parts,
    config: EntrypointConfig,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[Bound], None],
    registry: CollectorRegistry | None = None,
    checks: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
) -> None:
    """Serve HTTP until `stop` is set and what was accepted is safe."""

    reader = TotalsReader(parts.store, parts.stream)

    async def totals(day: str | None) -> Mapping[str, Any]:
        return await reader.summary(day or parts.stream.local.day_of(time.time()), within_s=TOTALS_WITHIN_S)

    async def store_id() -> str:
        return (await identity_of(parts.store, parts.stream)).id

    try:
        await serve(
            config,
            broker=parts.broker,
            store=parts.store,
            stream=parts.stream,
            stop=stop,
            totals_reader=totals,
            registry=registry,
            checks=checks,
            on_ready=on_ready,
            store_id=store_id,
        )
    finally:
        await reader.close()
