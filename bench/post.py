"""Posting: the entrypoint on RabbitMQ against what it cannot beat."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.load import bodies, wrk
from bench.results import Comparison
from bench.servers import ROOT, bare, entrypoint, process, rabbit_vhost
from feeds import Generator, GeneratorOptions

#: Receipts in an NDJSON request.
BATCH = 500
#: wrk's connections for NDJSON, and unconfirmed frames of the bare publisher: both keep the broker busy.
IN_FLIGHT = 8


def singles(rounds: int, seconds: float) -> Comparison:
    """Single POSTs on 64 connections, against a bare aiohttp handler that only reads the body.

    Ours validates, and answers when RabbitMQ has confirmed; a consumer empties the queue meanwhile.
    """
    result = Comparison(name="single POSTs / bare aiohttp handler", unit="requests/s", target=0.45)
    with tempfile.TemporaryDirectory() as folder, rabbit_vhost() as broker, bare() as other:
        file = bodies(Path(folder), 2000, 1)
        store = f"sqlite:{folder}/store.db"
        with entrypoint(broker, store) as (url, _), process("bench.drain", broker):
            for address in (url, other):
                wrk(address, file, seconds=2, connections=64)  # warm up
            seen = []
            for _ in range(rounds):
                result.bare.append(wrk(other, file, seconds=seconds, connections=64).rate)
                seen.append(wrk(url, file, seconds=seconds, connections=64))
                result.ours.append(seen[-1].rate)
    result.notes = {
        "p50_ms": statistics.median(load.p50_ms for load in seen),
        "p99_ms": statistics.median(load.p99_ms for load in seen),
    }
    return result


def batches(rounds: int, seconds: float) -> Comparison:
    """NDJSON of 500 receipts, against publishing the same frames, prebuilt, with confirms. Rates are receipts/s."""
    result = Comparison(name=f"NDJSON of {BATCH} / prebuilt frames", unit="receipts/s", target=0.5)
    with tempfile.TemporaryDirectory() as folder, rabbit_vhost() as broker:
        file = bodies(Path(folder), 20, BATCH)
        lines = Path(folder) / "lines"
        with lines.open("wb") as out:
            for events in Generator(GeneratorOptions(seed=1)).requests(20 * BATCH, BATCH):
                out.writelines(b'{"receivedTime":1790000000.000,%b\n' % event[1:] for event in events)
        store = f"sqlite:{folder}/store.db"
        with entrypoint(broker, store) as (url, _), process("bench.drain", broker):

            def ours(duration: float) -> float:
                load = wrk(url, file, seconds=duration, connections=IN_FLIGHT, kind="application/x-ndjson")
                return load.rate * BATCH

            def published(duration: float) -> float:
                command = [sys.executable, "-m", "bench.publish", broker, str(lines), str(duration), str(IN_FLIGHT)]
                ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                frames, took = ran.stdout.split()
                return int(frames) * BATCH / float(took)

            ours(2)
            for _ in range(rounds):
                result.bare.append(published(seconds))
                result.ours.append(ours(seconds))
    return result
