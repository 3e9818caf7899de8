"""A frame of a newer format meets an older worker: it is held, said, given back, and counted by a newer worker."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

import broker as brokers
from broker.exchanges import receipts_topology
from broker.frames import FRAME_SCHEMA, Frame
from broker.protocol import Message
from streams import ReceiptStream
from tests.integration.rolling.releases import NEWER
from tests.integration.system.harness import Process, System, running
from tests.servers.rabbit import Rabbit
from tests.support import eventually
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))
DAY = "2026-11-18"
TEXT = f"a frame of format {FRAME_SCHEMA + 1} needs a newer release; this one knows {FRAME_SCHEMA}"


async def put_newer(broker_url: str, *numbers: int) -> None:
    """Publish a frame of the next format, with a receipt for each number."""
    lines = [STREAM.accept(json.dumps(receipt({"cashReceiptID": number})).encode(), 1000.0) for number in numbers]
    frame = Frame.of(STREAM.name, lines)
    broker = await brokers.connect(broker_url, receipts_topology())
    await broker.publish(
        Message(
            exchange=STREAM.name,
            routing_key=STREAM.name,
            body=frame.body,
            headers={**frame.headers, "schema": FRAME_SCHEMA + 1},
            message_id=frame.id,
        )
    )
    await broker.close()


async def readiness(url: str) -> tuple[int, dict[str, Any]]:
    """What /readyz answers."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        return answer.status, await answer.json()


def probes(process: Process) -> str:
    """Where a process answers probes."""
    port = next(one["probes_port"] for one in reversed(process.events()) if one.get("event") == "started")
    return f"http://127.0.0.1:{port}"


async def holds(url: str) -> bool:
    """Whether the worker that answers there has met the frame, and says so."""
    status, said = await readiness(url)
    return status == 503 and said["failing"].get("worker") == TEXT


async def post(system: System, number: int) -> None:
    """Post a receipt; it has to be accepted."""
    body = json.dumps(receipt({"cashReceiptID": number}))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{system.url}/receipt", data=body, headers={"Content-Type": "application/json"}) as answer,
    ):
        assert answer.status == 202, await answer.text()


@pytest.mark.rabbit
@pytest.mark.mongo
async def test_on_rabbitmq_the_frame_waits_with_the_old_worker_and_a_newer_one_counts_it(
    server_system: System, rabbit: Rabbit
) -> None:
    """It is delivered once, not again and again; others go on; when the worker stops, the frame is another's."""
    system = server_system
    broker = system.environ["TILLSTREAM_BROKER"]
    old, other = system.processes["worker-1"], system.processes["worker-2"]
    system.add("newer-worker", "worker").program = NEWER
    system.add("newer-totals", "totals").program = NEWER
    async with running(system, "entrypoint", "worker-1", "totals"):
        assert (await readiness(probes(old)))[0] == 200
        await put_newer(broker, 1, 2)
        await eventually(lambda: holds(probes(old)), timeout=30, every=0.2)
        assert len([one for one in old.events() if one.get("event") == "stopped consuming"]) == 1

        await system.start("worker-2")  # what comes now is for whoever still consumes
        for number in (3, 4, 5):
            await post(system, number)
        await system.counted(3, [DAY])
        assert (await readiness(probes(other)))[0] == 200

        def held() -> bool:
            queue = rabbit.queue(broker, "receipts.work")
            assert queue.get("message_stats", {}).get("redeliver", 0) == 0, "it was handed back"
            return (queue.get("messages_unacknowledged"), queue.get("messages_ready")) == (1, 0)

        await eventually(lambda: asyncio.to_thread(held), timeout=30, every=0.5)
        assert await old.stop() == 0
        await eventually(lambda: holds(probes(other)), timeout=30, every=0.2)  # now it is its turn to hold

        # totals that meet what the newer worker writes wait, too; what is newer takes over
        await system.start("newer-worker", "newer-totals")
        assert await other.stop() == 0

        async def behind() -> bool:
            status, said = await readiness(probes(system.processes["totals"]))
            return status == 503 and "a tally of format 2 cannot be read here" in said["failing"]["totals"]

        await eventually(behind, timeout=30, every=0.2)
        assert await system.processes["totals"].stop() == 0
        await post(system, 1)  # a repetition of what the newer release stored, by its own hash
        await post(system, 6)

        async def published() -> bool:
            code, printed = await system.run("audit", "--json", program=NEWER)
            said = json.loads(printed)
            return code == 0 and int(said["events"]) == 6

        await eventually(published, timeout=60, every=1.0)
        assert (await readiness(probes(system.processes["newer-totals"])))[0] == 200

        # back to this release: it says why it cannot, and what the newer one wrote stays
        assert await system.processes["newer-totals"].stop() == 0
        await system.start("totals")

        async def refuses() -> bool:
            status, said = await readiness(probes(system.processes["totals"]))
            return status == 503 and "has format 3 and needs a newer release" in said["failing"]["totals"]

        await eventually(refuses, timeout=30, every=0.2)
        code, printed = await system.run("audit")
        assert (code, "needs a newer release" in printed) == (2, True), printed
        code, printed = await system.run("audit", program=NEWER)
        assert code == 0, printed


async def test_embedded_the_frame_waits_in_the_file_for_a_newer_release(embedded_system: System) -> None:
    """After a step back: `up` takes receipts, is not ready, says why; they are counted by the release that can."""
    system = embedded_system
    data = Path(system.environ["TILLSTREAM_DATA"])
    data.mkdir()
    await put_newer(f"sqlite:{data / 'broker.db'}", 1, 2)
    async with running(system):
        await eventually(lambda: holds(system.url), timeout=30, every=0.2)
        await post(system, 3)
        assert (await system.get(f"/totals/{DAY}"))["count"] == 0
        assert await system.processes["up"].stop() == 0
        with sqlite3.connect(data / "broker.db") as connection:
            [(waiting,)] = connection.execute('SELECT count(*) FROM "queue:receipts.work"').fetchall()
        connection.close()
        assert waiting == 2
        system.processes["up"].program = NEWER
        await system.start("up")
        await system.counted(3, [DAY])
        assert (await readiness(system.url))[0] == 200
