"""Components in a thread of the test's process, on an embedded broker and store of its own."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

import topology.component
from broker.embedded import EmbeddedBroker
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from engine import (
    Announcer,
    FrameCheck,
    Source,
    TotalsConfig,
    TotalsKeeper,
    TotalsMetrics,
    Worker,
    WorkerConfig,
    WorkerMetrics,
)
from runtime import Backoff
from store.embedded import EmbeddedStore
from streams import ReceiptStream
from tests.integration.workers.conftest import Unreliable
from tests.unit.streams.sample import receipt
from tests.unit.topology.storm import PATIENCE_S, Storm, pipes
from topology import LedgerBolt, LedgerParts, ReceiptSpout, SpoutParts, StormConf, TotalsBolt

STREAM = ReceiptStream(ZoneInfo("UTC"))
#: 2026-11-18 12:00:00 UTC, the day of the sample receipt.
NOON = 1_795_003_200.0
T = TypeVar("T")


class Rig:
    """What the components of a test stand on, and how the test reaches it: through the component's own event loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queues = receipts_topology()
        self.broker: EmbeddedBroker
        self.store: Unreliable
        self.worker_class: type[Worker] = Worker
        self._loop: asyncio.AbstractEventLoop
        self._open = threading.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open broker and store on this loop, and close them at the end."""
        self.broker = await EmbeddedBroker.open(self.folder / "broker.db", self.queues, tap=False)
        store = await EmbeddedStore.open(str(self.folder / "store.db"))
        await store.prepare(STREAM.name, STREAM.key_names)
        self.store = Unreliable(store)
        self._loop = asyncio.get_running_loop()
        self._open.set()
        try:
            yield
        finally:
            self._open.clear()
            await self.broker.close()
            await store.close()

    def do(self, work: Awaitable[T] | Callable[[], Awaitable[T]]) -> T:
        """Have something done on the component's loop, and wait for its result."""
        assert self._open.wait(PATIENCE_S)

        async def doing() -> T:
            return await (work() if callable(work) else work)

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(PATIENCE_S)

    def frame(self, *numbers: int) -> Frame:
        """A frame with a receipt of 26.53 for each number."""
        lines = [STREAM.accept(json.dumps(receipt({"cashReceiptID": number})).encode(), NOON) for number in numbers]
        return Frame.of(STREAM.name, lines)

    def publish(self, frame: Frame, **headers: int | str) -> None:
        """Put a frame into the work queue."""
        message = Message(
            exchange=STREAM.name,
            routing_key=STREAM.name,
            body=frame.body,
            headers={**frame.headers, **headers},
            message_id=frame.id,
        )
        self.do(lambda: self.broker.publish(message))

    def ready(self) -> int:
        """How many frames wait in the work queue."""
        return self.do(lambda: self.broker.state(self.queues.work)).ready

    def entries(self) -> list[tuple[str, int, str]]:
        """The ledger: writer, seq, frame."""

        async def read() -> list[tuple[str, int, str]]:
            return sorted([(one.writer, one.seq, one.frame) async for one in self.store.scan_ledger(STREAM.name)])

        return self.do(read)


class Watched:
    """Mixed into a component: its end is noted instead of ending the test's process."""

    rig: Rig

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.statuses: list[int] = []
        self.ended = threading.Event()
        self.main_thread = threading.current_thread()

    def end_process(self, status: int) -> None:
        self.statuses.append(status)
        self.ended.set()
        if threading.current_thread().name == "component":
            raise SystemExit(status)


class Spout(Watched, ReceiptSpout):
    """A spout on the rig."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[SpoutParts]:
        async with self.rig.opened():
            yield SpoutParts(self.rig.broker, self.rig.queues.work, FrameCheck(self.rig.store, STREAM.name))


class Ledger(Watched, LedgerBolt):
    """A ledger bolt on the rig."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[LedgerParts]:
        def worker(source: Source, broker: Announcer, *, give_back_after_s: float) -> Worker:
            config = WorkerConfig(
                give_back_after_s=give_back_after_s, retry=Backoff(base_s=0.01, cap_s=0.02), stop_within_s=0.5
            )
            return self.rig.worker_class(
                config,
                source=source,
                broker=broker,
                store=self.rig.store,
                stream=STREAM,
                metrics=WorkerMetrics(CollectorRegistry()),
                clock=lambda: NOON,
            )

        async with self.rig.opened():
            yield LedgerParts(self.rig.broker, worker)


class Totals(Watched, TotalsBolt):
    """A totals bolt on the rig."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[TotalsKeeper]:
        async with self.rig.opened():
            yield TotalsKeeper(
                TotalsConfig(publish_s=0.05, sync_s=60.0, checkpoint_s=0.05, standby_s=0.05),
                broker=self.rig.broker,
                store=self.rig.store,
                stream=STREAM,
                local=STREAM.local,
                topology=self.rig.queues,
                metrics=TotalsMetrics(CollectorRegistry()),
                clock=lambda: NOON,
            )


class Running:
    """A component that runs, and Storm at its other end."""

    def __init__(self, component: Any, storm: Storm, thread: threading.Thread) -> None:
        self.component = component
        self.storm = storm
        self._thread = thread

    def end(self) -> list[int]:
        """Close stdin and wait for the end; give the statuses with which the process would have ended."""
        self.storm.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        statuses: list[int] = self.component.statuses
        return statuses


Start = Callable[..., Running]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A broker and a store, opened by the component that stands on them."""
    return Rig(tmp_path)


@pytest.fixture
def start(tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts components; ends them after the test."""
    monkeypatch.setattr(topology.component, "log_to_storm", lambda level: None)
    running: list[Running] = []
    handlers = logging.getLogger().handlers[:]

    def begin(kind: type[Watched], **conf: Any) -> Running:
        stdin, to_component, from_component, stdout = pipes()
        component: Any = kind(input_stream=stdin, output_stream=stdout, rdb_signal=None)
        component.rig = rig
        thread = threading.Thread(target=_run, args=(component,), name="component", daemon=True)
        thread.start()
        storm = Storm(to_component, from_component)
        whole = {"topology.name": "test", "pystorm.log.path": str(tmp_path), **conf}
        storm.shake_hands(tmp_path, whole, "component")
        running.append(Running(component, storm, thread))
        return running[-1]

    yield begin
    for one in running:
        one.end()
    logging.getLogger().handlers[:] = handlers


def _run(component: Any) -> None:
    with contextlib.suppress(SystemExit):
        component.run()


def forever(_: Any) -> Coroutine[Any, Any, None]:
    """A call that never returns."""
    return asyncio.sleep(3600)
