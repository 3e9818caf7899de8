"""Memory of a worker that finds many of the largest frames in its queue, against TILLSTREAM_WORKER_MEMORY."""

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import broker as brokers
from bench.servers import mongo_database, process, rabbit_vhost
from broker.exchanges import receipts_topology
from broker.frames import Frame
from engine import WORKER_MEMORY
from engine.quarantine import frame_message
from feeds import Generator, GeneratorOptions
from runtime import run
from streams import ReceiptStream
from tests.support import free_port

#: As many as a worker takes by default.
FRAMES = 64
#: Just below the largest body of a request.
FRAME_BYTES = 9_700 * 1024
_MIB = 1 << 20
_PATIENCE_S = 1800.0


def worker_memory() -> dict[str, Any]:
    """Fill the queue, let a worker empty it, and read the most memory that it had.

    The frames are of three shapes, which weigh differently once they are read: receipts as tills send them, few
    receipts with a long text, and one receipt with a long list of numbers.
    """
    stream = ReceiptStream(ZoneInfo("UTC"))
    probes = free_port()
    with rabbit_vhost() as broker, mongo_database() as store:
        run(_publish(broker, stream))
        environ = {
            "TILLSTREAM_BROKER": broker,
            "TILLSTREAM_STORE": store,
            "TILLSTREAM_WORKER_PROBES_PORT": str(probes),
        }
        began = time.monotonic()
        with process("cli.main", "worker", environ=environ, ready="started") as pid:
            while _frames(f"http://127.0.0.1:{probes}/metrics") < FRAMES:
                if time.monotonic() - began > _PATIENCE_S:
                    raise TimeoutError(f"the worker did not store {FRAMES} frames in {_PATIENCE_S:g} s")
                time.sleep(0.5)
            peak = peak_bytes(pid)
    return {
        "frames": FRAMES,
        "frame_mib": round(FRAME_BYTES / _MIB, 1),
        "seconds": round(time.monotonic() - began, 1),
        "setting_mib": WORKER_MEMORY // _MIB,
        "peak_mib": round(peak / _MIB, 1),
        "exceeded": peak > WORKER_MEMORY,
    }


async def _publish(url: str, stream: ReceiptStream) -> None:
    broker = await brokers.connect(url, receipts_topology(), publish_timeout=60)
    try:
        for frame in itertools.islice(_made(stream), FRAMES):
            await broker.publish(frame_message(stream, frame))
    finally:
        await broker.close()


def _made(stream: ReceiptStream) -> Iterator[Frame]:
    """Frames of about the same size, of one shape after the other."""
    receipts = itertools.chain.from_iterable(Generator(GeneratorOptions()).requests(10**9, 100))
    for shape in itertools.cycle(("usual", "text", "numbers", "text")):
        lines: list[bytes] = []
        size = 0
        while size < FRAME_BYTES:
            line = next(receipts)
            if shape == "text":
                line = json.dumps({**json.loads(line), "note": "x" * 97_000}).encode()
            elif shape == "numbers":
                numbers = [1] * ((FRAME_BYTES - len(line)) // 2)
                line = json.dumps({**json.loads(line), "numbers": numbers}, separators=(",", ":")).encode()
            lines.append(stream.accept(line, time.time()))
            size += len(lines[-1]) + 1
        yield Frame.of(stream.name, lines)


def _frames(metrics: str) -> int:
    with urllib.request.urlopen(metrics, timeout=60) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("tillstream_worker_frames_total "):
                return int(float(line.split()[-1]))
    return 0


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} does not tell its memory")
