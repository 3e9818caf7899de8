"""A small system in one loop: embedded broker and store, frames published by hand."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from broker.embedded import EmbeddedBroker
from broker.exchanges import Topology, receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from engine import TotalsConfig, TotalsKeeper, TotalsMetrics, Worker, WorkerConfig, WorkerMetrics
from runtime import Backoff
from store.embedded import EmbeddedStore
from store.errors import StoreError
from streams import ReceiptStream
from tests.unit.streams.sample import receipt
from workers import QueueSource

STREAM = ReceiptStream(ZoneInfo("UTC"))
#: 2026-11-18 12:00:00 UTC, the day of the sample receipt.
NOON = 1_795_003_200.0


class Unreliable:
    """A store whose calls of some names fail while they are told to; all others are the real store's.

    Attributes:
        failing: names of the methods that raise StoreError.
        failures: how often that happened.
        faults: what a method raises for arguments in whose text something is found: name → (text, error).
    """

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.failing: set[str] = set()
        self.failures = 0
        self.faults: dict[str, tuple[str, StoreError]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in ("encode", "scan_events", "scan_ledger", "close"):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            if name in self.failing:
                self.failures += 1
                raise StoreError(f"{name} fails, says the test")
            text, error = self.faults.get(name, ("", None))
            if error is not None and text in repr(arguments):
                self.failures += 1
                raise error
            return await found(*arguments, **named)

        return call


@dataclass
class Place:
    """Broker, store and stream, and short ways to use them."""

    broker: EmbeddedBroker
    store: Unreliable
    topology: Topology
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    now: float = NOON

    def frame(self, *numbers: int, **changes: Any) -> Frame:
        """A frame with a receipt of 26.53 for each number."""
        lines = [
            STREAM.accept(json.dumps(receipt({"cashReceiptID": number, **changes})).encode(), self.now)
            for number in numbers
        ]
        return Frame.of(STREAM.name, lines)

    async def publish(self, frame: Frame, **headers: int | str) -> None:
        """Put a frame into the work queue."""
        await self.broker.publish(
            Message(
                exchange=STREAM.name,
                routing_key=STREAM.name,
                body=frame.body,
                headers={**frame.headers, **headers},
                message_id=frame.id,
            )
        )

    def worker(self, **config: Any) -> Worker:
        """A worker that retries fast."""
        quick = {"retry": Backoff(base_s=0.01, cap_s=0.02), **config}
        return Worker(
            WorkerConfig(**quick),
            broker=self.broker,
            store=self.store,
            stream=STREAM,
            source=QueueSource(self.broker, self.topology.work),
            metrics=WorkerMetrics(CollectorRegistry()),
            clock=lambda: self.now,
        )

    def totals(self, monotonic: Callable[[], float] = time.monotonic, **config: Any) -> TotalsKeeper:
        """A totals process in a hurry."""
        quick = {"publish_s": 0.05, "sync_s": 0.05, "checkpoint_s": 0.05, "standby_s": 0.05, **config}
        return TotalsKeeper(
            TotalsConfig(**quick),
            broker=self.broker,
            store=self.store,
            stream=STREAM,
            local=STREAM.local,
            topology=self.topology,
            metrics=TotalsMetrics(CollectorRegistry()),
            clock=lambda: self.now,
            monotonic=monotonic,
        )

    @asynccontextmanager
    async def running(self, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Event]:
        """Run a role while the block lasts; then stop it, within bounds."""
        stop = asyncio.Event()
        task = asyncio.create_task(run(stop))
        try:
            yield stop
        finally:
            stop.set()
            async with asyncio.timeout(30):
                await task

    async def entries(self) -> list[tuple[str, int, str]]:
        """The ledger: writer, seq, frame."""
        return sorted([(one.writer, one.seq, one.frame) async for one in self.store.scan_ledger(STREAM.name)])


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """An open broker and store of the test's own."""
    topology = receipts_topology()
    broker = await EmbeddedBroker.open(tmp_path / "broker.db", topology, tap=False)
    store = await EmbeddedStore.open(str(tmp_path / "store.db"))
    await store.prepare(STREAM.name, STREAM.key_names)
    yield Place(broker, Unreliable(store), topology)
    await broker.close()
    await store.close()
