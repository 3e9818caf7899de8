"""Broker and store fail under traffic, or hold still while the system stops: nothing is lost or counted twice."""

import asyncio
import functools
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from feeds import Copies, Generator, GeneratorOptions, Sender, SenderOptions, send_requests
from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit
from tests.support import eventually
from tests.support_expected import Expected
from tests.unit.streams.sample import receipt

RECEIPTS = 2000


def went_on(sender: Sender, accepted: int) -> bool:
    """Whether more than so many were accepted."""
    return sender.counts.accepted > accepted


@pytest.mark.rabbit
@pytest.mark.mongo
@pytest.mark.faults
async def test_servers_that_die_and_freeze_cost_nothing(
    own_rabbit: PrivateRabbit, own_ferret: FerretServer, tmp_path: Path
) -> None:
    """Store and broker are killed and frozen while receipts come in; afterwards each of those is counted once."""
    system = System(
        {
            "TILLSTREAM_BROKER": own_rabbit.vhost(),
            "TILLSTREAM_STORE": own_ferret.database(),
            "TILLSTREAM_WORKER_PROBES_PORT": "0",
            "TILLSTREAM_TOTALS_PROBES_PORT": "0",
            "TILLSTREAM_CHECKPOINT_S": "0.5",
        },
        tmp_path,
    )
    system.add("entrypoint", "entrypoint", "--port", str(system.port))
    system.add("worker-1", "worker")
    system.add("worker-2", "worker")
    system.add("totals", "totals")
    requests = list(Generator(GeneratorOptions(seed=11, copies=Copies(duplicates=0.05))).requests(RECEIPTS, 10))
    expected = Expected()
    expected.add_all(event for request in requests for event in request)
    async with running(system):
        options = SenderOptions(url=system.url, concurrency=4, first_patience_s=90.0)
        async with Sender(options) as sender:

            async def post() -> None:
                await send_requests(sender, requests, rate=100.0)
                await sender.drain()

            posting = asyncio.create_task(post())
            for number, trouble in enumerate(
                (
                    own_ferret.kill, own_ferret.start, own_rabbit.kill, own_rabbit.start,
                    own_ferret.pause, own_ferret.resume, own_rabbit.pause, own_rabbit.resume,
                )
            ):  # fmt: skip
                if number % 2 == 0:  # some more have to come through between two failures
                    before = sender.counts.accepted
                    await eventually(functools.partial(went_on, sender, before + 100), timeout=60)
                    assert not posting.done(), "the failure came too late to prove anything"
                await asyncio.to_thread(trouble)
                await asyncio.sleep(0.5)  # long enough for a flush or a publish to run into it
            async with asyncio.timeout(120):
                await posting
        assert sender.counts.complete, sender.counts.summary()
        days = sorted(expected.days)
        await system.counted(RECEIPTS, days)
        for day in days:
            assert_day(await system.get(f"/totals/{day}"), expected.days[day])
        for process in system.processes.values():
            assert await process.stop() == 0
        code, printed = await system.run("audit")
        assert code == 0, printed


async def test_a_stop_while_the_store_takes_no_writes_ends_and_loses_nothing(tmp_path: Path) -> None:
    """Another process holds the SQLite file: the stop is bounded, and the receipt is counted after the next start."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data")}, tmp_path)
    up = system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    async with running(system):
        holder = sqlite3.connect(tmp_path / "data" / "store.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        async with aiohttp.ClientSession() as session:
            sent = session.post(f"{system.url}/receipt", json=receipt())
            async with sent as response:
                assert response.status == 202, await response.text()
        assert await up.stop(within=25.0) == 0
        holder.execute("ROLLBACK")
        holder.close()
        await system.start()
        await system.counted(1, ["2026-11-18"])
        assert await up.stop() == 0
        code, printed = await system.run("audit")
        assert code == 0, printed
