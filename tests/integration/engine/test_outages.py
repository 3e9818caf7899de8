"""Broker and store fail under traffic, or hold still while the system stops: nothing is lost or counted twice."""

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day
from tests.integration.system.traffic import flowing
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit
from tests.unit.streams.sample import receipt


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
    async with running(system):
        async with flowing(system.url, seed=11, rate=100.0) as traffic:
            for broken, mended, felt in (
                (own_ferret.kill, own_ferret.start, traffic.more),  # receipts are taken, and run into it at the worker
                (own_rabbit.kill, own_rabbit.start, traffic.stuck),
                (own_ferret.pause, own_ferret.resume, traffic.more),
                (own_rabbit.pause, own_rabbit.resume, traffic.stuck),
            ):
                await traffic.more()
                await asyncio.to_thread(broken)
                await felt()
                await asyncio.to_thread(mended)
            await traffic.more()
        expected = traffic.expected
        days = sorted(expected.days)
        await system.counted(len(expected.first), days)
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
