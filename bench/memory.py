"""Memory: entrypoint and worker while many receipts pass through them."""

import asyncio
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.servers import entrypoint, mongo_database, process, rabbit_vhost
from feeds import Generator, GeneratorOptions, Sender, SenderOptions, send_requests
from runtime import run
from tests.support import free_port

BATCH = 500
_MIB = 1024 * 1024


@dataclass(slots=True)
class Memory:
    """Resident memory of a process over time.

    Attributes:
        pid: the process.
        samples: pairs of (receipts that it is done with, MiB).
    """

    pid: int
    samples: list[tuple[int, float]] = field(default_factory=list)

    def sample(self, receipts: int) -> None:
        """Note the present."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.samples.append((receipts, pages * 4096 / _MIB))

    def figures(self, total: int) -> dict[str, float]:
        """The largest, and the growth from after the first tenth of the receipts to the end."""
        early = [size for receipts, size in self.samples if total * 0.1 <= receipts <= total * 0.3]
        late = [size for receipts, size in self.samples if receipts >= total * 0.8]
        return {
            "max_mib": round(max(size for _, size in self.samples), 1),
            "growth": round(sum(late) / len(late) / (sum(early) / len(early)) - 1, 3),
        }


def memory(receipts: int) -> dict[str, Any]:
    """Send receipts as NDJSON, let a worker store them, and watch both processes."""
    with rabbit_vhost() as broker, mongo_database() as store:
        probes = free_port()
        environ = {
            "TILLSTREAM_BROKER": broker,
            "TILLSTREAM_STORE": store,
            "TILLSTREAM_WORKER_PROBES_PORT": str(probes),
        }
        with (
            entrypoint(broker, store) as (url, entrypoint_pid),
            process("cli.main", "worker", environ=environ, ready="started") as worker_pid,
        ):
            watched = {"entrypoint": Memory(entrypoint_pid), "worker": Memory(worker_pid)}
            took = run(_pass(url, f"http://127.0.0.1:{probes}/metrics", receipts, watched))
    return {
        "receipts": receipts,
        "seconds": round(took, 1),
        **{name: one.figures(receipts) for name, one in watched.items()},
    }


async def _pass(url: str, metrics: str, receipts: int, watched: dict[str, Memory]) -> float:
    began = time.perf_counter()
    requests = Generator(GeneratorOptions()).requests(receipts, BATCH)
    async with Sender(SenderOptions(url=url, concurrency=4, first_patience_s=30, patience_s=None)) as sender:
        sending = asyncio.create_task(send_requests(sender, requests))
        stored = 0
        while stored < receipts:
            await asyncio.sleep(0.5)
            if sending.done():
                await sending
            stored = await asyncio.to_thread(_counted, metrics)
            watched["entrypoint"].sample(sender.counts.accepted)
            watched["worker"].sample(stored)
        await sender.drain()
        assert sender.counts.complete, sender.counts.summary()
    return time.perf_counter() - began


def _counted(metrics: str) -> int:
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('tillstream_worker_events_total{outcome="counted"}'):
                return int(float(line.split()[-1]))
    return 0
