"""`tillstream watch` in a process of its own, beside the one that runs the broker."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import broker as brokers
from broker import Message, receipts_topology
from tests.support import free_port

ROOT = Path(__file__).parents[3]
BODY = {"sum": 12.5, "count": 3, "day": "2026-11-21", "revision": 1, "asOf": 1795261200.0}


@pytest.fixture
async def speaking(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder whose broker has somebody who publishes."""
    broker = await brokers.connect(f"sqlite:{tmp_path}/broker.db", receipts_topology())

    async def speak() -> None:
        while True:
            await broker.announce(Message(exchange="count", routing_key="receipts", body=json.dumps(BODY).encode()))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(speak())
    yield tmp_path
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await broker.close()


async def watch(data: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Start the command."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "watch",
        "--data",
        str(data),
        *arguments,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_watching_prints_what_is_published_until_interrupted(speaking: Path) -> None:
    """Each message comes as a line at once; Ctrl-C ends it without a traceback."""
    process = await watch(speaking, "--json")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(3):
            line = json.loads(await process.stdout.readline())
            assert line == {"exchange": "count", "key": "receipts", "body": BODY}
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors == b""


async def test_plain_lines_into_a_pipe(speaking: Path) -> None:
    """Without a terminal there are no colours and no drawing: one line that says it."""
    process = await watch(speaking)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = await process.stdout.readline()
        process.terminate()
        await process.communicate()
    assert line.startswith(b"count receipts sum=12.5 count=3 day=2026-11-21 ")


async def test_without_a_broker_it_says_so_in_one_line(tmp_path: Path) -> None:
    """Nothing runs there: exit 2, and what to start."""
    process = await watch(tmp_path)
    async with asyncio.timeout(30):
        out, errors = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert errors.startswith(b"error: no embedded broker runs on ")
    assert errors.count(b"\n") == 1


async def test_without_rabbitmq_watch_says_so_at_once(tmp_path: Path) -> None:
    """Nobody waits half a minute to read that an address is wrong."""
    process = await watch(tmp_path, "--broker", f"amqp://guest:secret@127.0.0.1:{free_port()}/")
    async with asyncio.timeout(30):
        out, errors = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert errors.startswith(b"error: connecting to 127.0.0.1:")
    assert errors.count(b"\n") == 1
    assert b"secret" not in errors
