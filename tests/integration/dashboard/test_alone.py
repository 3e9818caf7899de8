"""`tillstream dashboard` in a process of its own: what it needs to start, and what it says of itself."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import broker as brokers
from broker import Message, receipts_topology
from tests.integration.system.harness import Process
from tests.support import eventually, free_port


class Speaker:
    """Plays the totals, on the embedded broker of a data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.speaking = True

    async def run(self, broker: brokers.Broker) -> None:
        """Publish until cancelled."""
        revision = 0
        while True:
            revision += 1
            body = {"sum": 12.5, "count": 3, "day": "2026-11-21", "revision": revision, "asOf": time.time()}
            if self.speaking:
                await broker.announce(Message(exchange="count", routing_key="receipts", body=json.dumps(body).encode()))
            await asyncio.sleep(0.2)


@pytest.fixture
async def speaker(tmp_path: Path) -> AsyncIterator[Speaker]:
    """A data folder whose broker has somebody who publishes."""
    broker = await brokers.connect(f"sqlite:{tmp_path}/broker.db", receipts_topology())
    speaker = Speaker(tmp_path)
    task = asyncio.create_task(speaker.run(broker))
    yield speaker
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await broker.close()


async def answer(url: str) -> tuple[int, Any]:
    """Status, and the body as JSON or text."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        async with session.get(url) as found:
            text = await found.text()
            return found.status, json.loads(text) if found.content_type == "application/json" else text


async def test_live_pages_come_up_without_the_store_and_the_probes_say_what_is_missing(speaker: Speaker) -> None:
    """A store that nobody answers for: the page is there, `/readyz` names the store alone; when the totals fall silent
    it names the broker, too, and no more when they are heard again."""
    probes = free_port()
    process = Process(
        ("dashboard", "--dashboard-port", "0", "--dashboard-probes-port", str(probes), "--data", str(speaker.data)),
        {"TILLSTREAM_STORE": f"mongodb://127.0.0.1:{free_port()}/nobody"},
        speaker.data / "dashboard.log",
    )
    try:
        await process.start("the day, live")
        page = next(event["url"] for event in process.events() if event.get("event") == "the day, live")
        status, text = await answer(page)
        assert status == 200
        assert "Tillstream" in text
        assert await answer(f"http://127.0.0.1:{probes}/healthz") == (200, {"status": "alive"})

        async def failing() -> set[str]:
            status, body = await answer(f"http://127.0.0.1:{probes}/readyz")
            assert status == (503 if "broker" in body["failing"] else 200)
            assert (body["showsToday"], body["answersQueries"]) == (status == 200, False)
            return set(body["failing"])

        async def only_the_store() -> bool:
            return await failing() == {"store"}

        async def both() -> bool:
            return await failing() == {"store", "broker"}

        await eventually(only_the_store, timeout=90, every=0.5)
        status, text = await answer(f"http://127.0.0.1:{probes}/metrics")
        assert status == 200
        assert 'tillstream_dashboard_messages_total{outcome="accepted"}' in text
        speaker.speaking = False
        await eventually(both, timeout=90, every=0.5)
        speaker.speaking = True
        await eventually(only_the_store, timeout=90, every=0.5)
        assert await process.stop() == 0
    finally:
        await process.discard()


def _taken(port: int) -> str:
    return f"127.0.0.1:{port}: address already in use; TILLSTREAM_DASHBOARD_PROBES_PORT=0 takes a free one"


async def test_a_port_of_the_probes_that_is_taken_is_said_at_once(speaker: Speaker) -> None:
    """Two dashboards on one machine need a port each."""
    async with asyncio.timeout(120):
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        process = Process(
            ("dashboard", "--dashboard-port", "0", "--dashboard-probes-port", str(port), "--data", str(speaker.data)),
            {"TILLSTREAM_STORE": f"mongodb://127.0.0.1:{free_port()}/nobody"},
            speaker.data / "dashboard.log",
        )
        with pytest.raises(RuntimeError, match=_taken(port)):
            await process.start("the day, live")
        server.close()
