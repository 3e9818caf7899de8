"""Memory and rate of `tillstream audit` over a long ledger, against its container's limit in docker-compose.yml."""

import asyncio
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import store as stores
from analytics import DayTally, Tally, encode_tally
from bench.servers import ROOT
from feeds import Generator, GeneratorOptions
from store import Head
from streams import ReceiptStream

_DAYS = 10
_WRITERS = 20
_AT_ONCE = 5_000
_COLUMNS = "id, frame, hash, day, time, amount, categories, received, stored, body, {keys}"


def audit_memory(entries: int) -> dict[str, Any]:
    """Audit a store of so many ledger entries of one receipt each, as `tillstream audit` does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        asyncio.run(_fill(path, entries))
        began = time.perf_counter()
        command = [sys.executable, "-m", "cli.main", "audit", "--json", "--store", f"sqlite:{path}"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            report = json.loads(child.stdout.read())
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - began
    assert (child.returncode, report["differences"], report["entries"]) == (0, 0, entries), report
    return {
        "entries": entries,
        "events": report["events"],
        "seconds": round(took, 1),
        "events_per_second": round(report["events"] / took),
        "max_mib": round(usage.ru_maxrss / 1024, 1),
        "limit_mib": container_limit_mib("tillstream"),
    }


def container_limit_mib(service: str) -> float:
    """The memory limit of a service in docker-compose.yml; `tillstream` runs commands."""
    limit = re.search(
        rf"\n  {service}:.*?\n    mem_limit: (\d+)([mg])\n", (ROOT / "docker-compose.yml").read_text(), re.DOTALL
    )
    assert limit is not None
    return int(limit[1]) * (1024 if limit[2] == "g" else 1)


async def _fill(path: Path, entries: int) -> None:
    """Make a store with a checkpoint over its whole ledger; receipts of a day differ in their number only."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    store = await stores.connect(f"sqlite:{path}")
    await store.prepare(stream.name, stream.key_names)
    days: dict[str, str] = {}
    share = [entries // _DAYS + (number < entries % _DAYS) for number in range(_DAYS)]
    made = 0
    for number, count in enumerate(share):
        day = (date(2026, 11, 1) + timedelta(days=number)).isoformat()
        tally = await asyncio.to_thread(_fill_day, path, stream, day, made, count)
        whole = DayTally()
        for table, rows in tally.days[day].tables.items():
            for key, row in rows.items():
                whole.add(table, key, *(amount * count for amount in row))
        days[day] = await store.write_day(stream.name, day, whole, 1)
        made += count
    offsets = {f"writer-{number}": len(range(number, entries, _WRITERS)) for number in range(_WRITERS)}
    assert await store.swap_head(Head(stream=stream.name, version=1, offsets=offsets, days=days, seconds={}))
    await store.close()


def _fill_day(path: Path, stream: ReceiptStream, day: str, first: int, count: int) -> Tally:
    """Insert receipts and entries, the cheap way; the tally of one of them."""
    [[line]] = islice(Generator(GeneratorOptions(seed=1)).requests(1, 1), 1)
    receipt = {**json.loads(line), "cashReceiptID": 987654321, "date": f"{day} 11:00:00"}
    line = stream.accept(json.dumps(receipt).encode(), 1_793_000_000.0)
    tally = Tally()
    stream.fold(tally, stream.parse(line), 1_793_000_000.0)
    text = encode_tally(tally).decode()
    rows = _rows(stream, line, first, count)
    with sqlite3.connect(path) as connection:
        keys = ", ".join(f"key_{name}" for name in stream.key_names)
        columns = _COLUMNS.format(keys=keys)
        marks = ", ".join("?" * len(columns.split(",")))
        while some := list(islice(rows, _AT_ONCE)):
            connection.executemany(f"INSERT INTO events_{stream.name} ({columns}) VALUES ({marks})", some)
        ledger = (
            (_frame(n), stream.name, f"writer-{n % _WRITERS}", n // _WRITERS + 1, text, 1_793_000_001.0)
            for n in range(first, first + count)
        )
        connection.executemany(
            "INSERT INTO ledger (frame, stream, writer, seq, tally, at) VALUES (?, ?, ?, ?, ?, ?)", ledger
        )
    connection.close()
    return tally


def _rows(stream: ReceiptStream, line: bytes, first: int, count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(first, first + count):
        body = line.replace(b"987654321", b"%d" % (100_000_000 + number))
        event = stream.parse(body)
        keys = (event.keys.get(name) for name in stream.key_names)
        amounts = (event.day, event.time, event.amount, "", event.received, 1_793_000_001.0)
        yield (event.id, _frame(number), event.hash, *amounts, body, *keys)


def _frame(number: int) -> str:
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()
