"""The Storm engine, against the asyncio engine with one worker, and against a bare topology of the same tuples."""

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

import broker as brokers
import store as stores
from bench.results import Comparison
from bench.servers import process
from bench.storm_cluster import Probe, Processes, active, storm_cluster, submit, tuple_bytes, used
from bench.storm_components import Bare
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Broker, Consumer, Message
from engine import read_totals
from feeds import Generator, GeneratorOptions
from runtime import run
from streams import ReceiptStream
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit, open_rabbit
from tests.servers.storm import StormServer
from tests.support import eventually
from topology import TopologyConfig, storm_topology
from topology.wire import packed

#: Receipts in a frame: a till alone; 64 connections that post single receipts, of which half wait for the frame before;
#: a file or a busy feed.
SIZES = (1, 30, 500)
#: Of frames with one receipt there are fewer: each is a ledger entry, which are read now and then.
_SINGLES_PART = 5
#: What goes through the bare topology in a round, at most.
_BARE_TUPLES = 5000
_BARE_BYTES = 60_000_000
#: What goes through everything before the first round: Java compiles what it has run often enough.
_WARM_UP_FRAMES = 2000
#: Frames that are being published at once.
_PUBLISHING = 64
_NAME = "receipts"
_TIMEOUT_S = 300.0


class _Run(msgspec.Struct):
    """What is read of a partial: which entries it covers."""

    first: int
    last: int


_decode_run = msgspec.json.Decoder(_Run).decode


@dataclass(slots=True)
class _Figures:
    """What was measured with frames of one size.

    Attributes:
        engines: the Storm engine (ours) and the asyncio engine.
        bare: the Storm engine (ours) and the bare topology, receipts/s.
        megabytes: of tuples, a second, through the bare topology, by round.
        cpu: engine → label → processor milliseconds a receipt, by round.
        covered: engine → receipts of a partial on average, by round.
    """

    engines: Comparison
    bare: Comparison
    megabytes: list[float] = field(default_factory=list)
    cpu: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    covered: dict[str, list[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; processor time as medians."""
        cpu = {
            engine: {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            for engine, rounds in self.cpu.items()
        }
        return {
            "engines": self.engines.as_dict(),
            "bare": self.bare.as_dict() | {"megabytes": [round(rate, 2) for rate in self.megabytes]},
            "cpu_ms_per_receipt": cpu,
            "receipts_per_partial": {
                engine: round(statistics.median(rounds), 1) for engine, rounds in self.covered.items()
            },
        }


def storm(rounds: int, receipts: int, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Rates by frame size. Both engines stand on the same RabbitMQ and FerretDB; the topology's totals serve both.

    Arguments:
        receipts: of each measurement; of frames with one receipt, a fifth.
    """
    figures = {size: _figures(size) for size in sizes}
    making = Frames()
    with _servers() as (environ, labels), storm_cluster(2) as cluster:
        topology, conf = storm_topology(TopologyConfig(module="cli.storm"))
        bare = Probe.submitted(cluster, Bare, conf)
        submit(cluster, _NAME, topology, conf, environ)
        measured = _Engines(cluster, environ, Processes(labels | _engine_labels(cluster, environ["TILLSTREAM_STORE"])))
        _warm_up(measured, bare, making)
        for number in range(rounds):
            for size in sizes:
                frames = making.make(receipts // (_SINGLES_PART if size == 1 else size), size)
                one = figures[size]
                tuples = [frame_tuple(frame) for frame in frames]
                each = sum(map(tuple_bytes, tuples)) / len(tuples)
                count = int(min(_BARE_TUPLES, _BARE_BYTES / each))
                took = bare.run(tuples, count)
                one.bare.bare.append(count * size / took)
                one.megabytes.append(count * each / took / 1e6)
                for engine in ("storm", "asyncio") if number % 2 else ("asyncio", "storm"):
                    through = measured.through_storm if engine == "storm" else measured.through_a_worker
                    seen = run(through(making.make(len(frames), size), size))
                    (one.engines.ours if engine == "storm" else one.engines.bare).append(seen.rate)
                    one.cpu.setdefault(engine, []).append(seen.cpu)
                    one.covered.setdefault(engine, []).append(seen.covered)
                one.bare.ours.append(one.engines.ours[-1])
        run(measured.check())
    return {str(size): one.as_dict() for size, one in figures.items()}


def _warm_up(measured: "_Engines", bare: Probe, making: "Frames") -> None:
    frames = making.make(_WARM_UP_FRAMES, 1)
    bare.run([frame_tuple(frame) for frame in frames], 3 * len(frames))
    run(measured.through_storm(frames, 1))
    run(measured.through_a_worker(making.make(_WARM_UP_FRAMES // 10, 1), 1))


def _figures(size: int) -> _Figures:
    unit = "receipts/s"
    return _Figures(
        engines=Comparison(name=f"Storm engine / asyncio, one worker; frames of {size}", unit=unit),
        bare=Comparison(name=f"Storm engine / bare topology; frames of {size}", unit=unit),
    )


@contextmanager
def _servers() -> Iterator[tuple[dict[str, str], dict[str, tuple[str, ...]]]]:
    """RabbitMQ and FerretDB: the environment of both engines, and how their processes are known."""
    rabbit = open_rabbit()
    try:
        node = str(rabbit.folder) if isinstance(rabbit, PrivateRabbit) else "beam.smp"
        ferret = FerretServer()
        try:
            ferret.start()
            yield (
                {
                    "TILLSTREAM_BROKER": rabbit.vhost(),
                    "TILLSTREAM_STORE": ferret.database(),
                    "TILLSTREAM_LOG_LEVEL": "info",
                },
                {"FerretDB": ("ferretdb", str(ferret.port)), "RabbitMQ": ("beam.smp", node)},
            )
        finally:
            ferret.close()
    finally:
        rabbit.close()


def _engine_labels(cluster: StormServer, store: str) -> dict[str, tuple[str, ...]]:
    """How the processes of both engines are known."""
    return {
        "spout": ("streamparse_run cli.storm.ReceiptSpout", store),
        "ledger bolts": ("streamparse_run cli.storm.LedgerBolt", store),
        "totals bolt": ("streamparse_run cli.storm.TotalsBolt", store),
        "worker JVM": ("org.apache.storm.daemon.worker.Worker", str(cluster.cluster.config.folder), f"{_NAME}-"),
        "worker": ("-m cli.main worker", store),
    }


class Frames:
    """Frames of receipts that no frame before them held, as the entrypoint makes them."""

    def __init__(self) -> None:
        self._stream = ReceiptStream(ZoneInfo("UTC"))
        self._generator = Generator(GeneratorOptions())

    def make(self, frames: int, size: int) -> list[Frame]:
        """So many frames of `size` receipts."""
        accept, name = self._stream.accept, self._stream.name
        requests = self._generator.requests(frames * size, size)
        return [Frame.of(name, [accept(event, time.time()) for event in events]) for events in requests]


def frame_tuple(frame: Frame) -> list[str]:
    """A frame as the receipt spout would emit it."""
    return [frame.id, msgspec.json.encode(dict(frame.headers)).decode(), packed(frame.body)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one measurement saw.

    Attributes:
        rate: receipts a second.
        cpu: label → processor milliseconds a receipt.
        covered: receipts of a partial on average.
    """

    rate: float
    cpu: dict[str, float]
    covered: float


class _Engines:
    """Both engines, on one broker and store; a measurement ends when the ledger has every frame.

    That is heard on the exchange `partials`, which both announce on.
    """

    def __init__(self, cluster: StormServer, environ: Mapping[str, str], processes: Processes) -> None:
        self._cluster = cluster
        self._environ = dict(environ)
        self._processes = processes
        self._published = 0

    async def through_storm(self, frames: Sequence[Frame], size: int) -> _Seen:
        """Receipts a second, and processor time, of the topology."""
        with active(self._cluster, _NAME):
            return await self._measure(frames, size)

    async def through_a_worker(self, frames: Sequence[Frame], size: int) -> _Seen:
        """Receipts a second, and processor time, of a worker."""
        with process("cli.main", "worker", environ=self._environ, ready="started"):
            return await self._measure(frames, size)

    async def _measure(self, frames: Sequence[Frame], size: int) -> _Seen:
        queues = receipts_topology()
        broker = await brokers.connect(self._environ["TILLSTREAM_BROKER"], queues)
        heard = await broker.subscribe("bench", {"partials": "receipts"}, max_length=100_000)

        async def one_consumer() -> bool:
            return (await broker.state(queues.work)).consumers == 1

        # Whoever worked before has gone, and who works now is ready.
        await eventually(one_consumer, timeout=60)
        counting = asyncio.create_task(_until_counted(heard, len(frames)))
        before, began = self._processes.seconds(), time.perf_counter()
        publishing = asyncio.create_task(_publish(broker, frames))
        async with asyncio.timeout(_TIMEOUT_S):
            ended, partials = await counting
        after = self._processes.seconds()
        await publishing
        receipts = len(frames) * size
        self._published += receipts
        await heard.close()
        await broker.close()
        return _Seen(receipts / (ended - began), used(before, after, receipts), receipts / partials)

    async def check(self) -> None:
        """Raises AssertionError unless the stored totals are what was published."""
        stream = ReceiptStream(ZoneInfo("UTC"))
        store = await stores.connect(self._environ["TILLSTREAM_STORE"])
        counted = (await read_totals(store, stream, time.strftime("%Y-%m-%d", time.gmtime())))["count"]
        await store.close()
        assert counted == self._published, f"{self._published} receipts published, {counted} counted"


async def _until_counted(heard: Consumer, frames: int) -> tuple[float, int]:
    """When the last of so many frames was announced; and how many partials did that."""
    partials = 0
    async for delivery in heard:
        partials += 1
        entries = _decode_run(delivery.body)
        frames -= entries.last - entries.first + 1
        if frames <= 0:
            break
    return time.perf_counter(), partials


async def _publish(broker: Broker, frames: Sequence[Frame]) -> None:
    waiting = iter(frames)

    async def publisher() -> None:
        for frame in waiting:
            message = Message(
                exchange="receipts",
                routing_key="receipts",
                body=frame.body,
                headers=frame.headers,
                message_id=frame.id,
            )
            await broker.publish(message)

    await asyncio.gather(*(publisher() for _ in range(_PUBLISHING)))
