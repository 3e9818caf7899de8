"""Time and memory of totals that start on a long ledger, most of it below the checkpoint and some of it above."""

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry

import broker as brokers
import store as stores
from analytics import Tally, encode_tally
from bench.servers import ROOT
from broker.exchanges import COUNT, receipts_topology
from engine import TotalsConfig, TotalsKeeper, TotalsMetrics
from feeds import Generator, GeneratorOptions
from runtime import configure_logging
from store import Head
from streams import ReceiptStream

#: Receipts in each frame above the checkpoint: those of a burst, as a flush of a busy worker has them.
_RECEIPTS = 30
_WRITERS = 20
_AT_ONCE = 10_000
_INSERT = "INSERT INTO ledger (frame, stream, writer, seq, tally, at, open) VALUES (?, ?, ?, ?, ?, ?, ?)"


def restart(below: int, above: int) -> dict[str, Any]:
    """Start totals on a store with so many ledger entries below its checkpoint, and above it."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_fill(Path(folder) / "store.db", below, above))
        command = [sys.executable, "-m", "bench.restart", folder, str(below + above)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            found: dict[str, Any] = json.loads(child.stdout.read())
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, child.returncode
    return {
        "entries_below": below,
        "entries_above": above,
        "receipts_above": above * _RECEIPTS,
        **found,
        "max_mib": round(usage.ru_maxrss / 1024, 1),
    }


async def _fill(path: Path, below: int, above: int) -> None:
    """A ledger whose stubs lie below the checkpoint, and entries with their tallies above it."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    store = await stores.connect(f"sqlite:{path}")
    await store.prepare(stream.name, stream.key_names)
    offsets = {f"old-{number}": len(range(number, below, _WRITERS)) for number in range(_WRITERS)}
    assert await store.swap_head(Head(stream=stream.name, version=1, offsets=offsets, days={}, seconds={}))
    await store.close()
    tallies = _tallies(stream)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(below):
            yield (*_place(number, "old", stream.name), None, 0.0, 1 if number < _WRITERS else None)
        for number in range(above):
            text = tallies[number % len(tallies)]
            yield (*_place(number, "new", stream.name), text, time.time(), 1 if number < _WRITERS else None)

    waiting = rows()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        while some := list(islice(waiting, _AT_ONCE)):
            connection.executemany(_INSERT, some)
            connection.commit()


def _place(number: int, kind: str, stream: str) -> tuple[str, str, str, int]:
    frame = hashlib.blake2b(f"{kind} {number}".encode(), digest_size=16).hexdigest()
    return frame, stream, f"{kind}-{number % _WRITERS}", number // _WRITERS + 1


def _tallies(stream: ReceiptStream) -> list[str]:
    """Tallies of frames of made-up receipts of now, as the ledger holds them."""
    found = []
    for lines in islice(Generator(GeneratorOptions(seed=1)).requests(10**9, _RECEIPTS), 100):
        tally, now = Tally(), time.time()
        for line in lines:
            stream.fold(tally, stream.parse(stream.accept(line, now)), now)
        found.append(encode_tally(tally).decode())
    return found


async def _start(folder: Path, entries: int) -> dict[str, Any]:
    """Run the totals until they are complete and their checkpoint is written; the times of what they publish."""
    stream, topology = ReceiptStream(ZoneInfo("UTC")), receipts_topology()
    store = await stores.connect(f"sqlite:{folder / 'store.db'}")
    broker = await brokers.connect(f"sqlite:{folder / 'broker.db'}", topology)
    consumer = await broker.subscribe("bench", {COUNT.name: "#"})
    keeper = TotalsKeeper(
        TotalsConfig(),
        broker=broker,
        store=store,
        stream=stream,
        local=stream.local,
        topology=topology,
        metrics=TotalsMetrics(CollectorRegistry()),
    )
    stop, began = asyncio.Event(), time.monotonic()
    running = asyncio.create_task(keeper.run(stop))
    first, before, longest = None, began, 0.0
    async for delivery in consumer:
        now, body = time.monotonic(), json.loads(delivery.body)
        first = first or now - began
        longest, before = max(longest, now - before), now
        if body["revision"] == entries and "complete" not in body:
            break
    complete = time.monotonic() - began
    stop.set()
    await running
    head = await store.head(stream.name)
    assert head is not None
    assert sum(head.offsets.values()) + head.folded.entries == entries
    await broker.close()
    await store.close()
    return {
        "first_published_s": round(first or 0, 1),
        "complete_s": round(complete, 1),
        "longest_silence_s": round(longest, 1),
    }


if __name__ == "__main__":
    configure_logging("error")
    print(json.dumps(asyncio.run(_start(Path(sys.argv[1]), int(sys.argv[2])))))
