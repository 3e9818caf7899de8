"""More than can be counted, or stored, or taken at once: 503 and not one receipt lost, in bounded memory.

Whatever was answered 202 is in the totals in the end, to the cent, by a sum that is made of the bytes that were sent.
"""

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from feeds import Generator, GeneratorOptions
from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day
from tests.servers.cut import CutProxy, Mode
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import Rabbit
from tests.support import eventually
from tests.support_expected import Expected

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
#: The smallest limit there is: some 700 receipts wait, then requests are refused.
WORK_MAX_BYTES = 1 << 20
#: Of any process at its peak, in MB: an idle one has some 100; a queue without a bound would take gigabytes.
PEAK_MB = 400
REFUSALS = {"broker-full", "overloaded", "broker-unconfirmed", "broker-blocked"}


@dataclass
class Outcome:
    """What became of requests.

    Attributes:
        taken, refused: the requests that were answered 202 and 503.
        reasons: problem types of the 503s.
    """

    taken: list[list[bytes]] = field(default_factory=list)
    refused: list[list[bytes]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


async def post_all(system: System, requests: Iterable[list[bytes]], *, tasks: int, connections: int) -> Outcome:
    """Send each request once, `tasks` of them at a time; anything but 202 and a proper 503 fails."""
    outcome = Outcome()
    limit = asyncio.Semaphore(tasks)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=100)) as session:

        async def post(request: list[bytes]) -> None:
            headers = JSON if len(request) == 1 else NDJSON
            async with (
                limit,
                session.post(f"{system.url}/receipts", data=b"\n".join(request), headers=headers) as answer,
            ):
                said = await answer.json(content_type=None)
                assert answer.status in {202, 503}, (answer.status, said)
                if answer.status == 202:
                    assert said["accepted"] == len(request)
                    outcome.taken.append(request)
                else:
                    assert int(answer.headers["Retry-After"]) >= 1
                    outcome.reasons[said["type"].removeprefix("/docs#problem-")] += 1
                    outcome.refused.append(request)

        await asyncio.gather(*(post(request) for request in requests))
    assert REFUSALS.issuperset(outcome.reasons), outcome.reasons
    return outcome


async def until_taken(system: System, requests: list[list[bytes]]) -> None:
    """Send what was refused again, until all of it is taken."""
    left = requests

    async def all_taken() -> bool:
        nonlocal left
        left = (await post_all(system, left, tasks=8, connections=8)).refused
        return not left

    await eventually(all_taken, timeout=150, every=0.5)


async def assert_counted(system: System, requests: Iterable[list[bytes]]) -> None:
    """The totals are those of these receipts and no others, to the cent; every process stayed small."""
    expected = Expected()
    for request in requests:
        expected.add_all(request)
    days = sorted(expected.days)
    await system.counted(len(expected.first), days, within=120)
    for day in days:
        assert_day(await system.get(f"/totals/{day}"), expected.days[day])
    assert_small(system)


def assert_small(system: System) -> None:
    """No process ever held more than it may."""
    if sys.platform != "linux":
        return
    for name, process in system.processes.items():
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        print(f"{name}: {peak:.0f} MB at its peak")
        assert peak < PEAK_MB, name


def receipts(seed: int, number: int, together: int) -> list[list[bytes]]:
    """Requests of receipts that are all different."""
    return list(Generator(GeneratorOptions(seed=seed)).requests(number, together))


async def serves_and_is_alive(system: System) -> None:
    """Overload is no illness."""
    assert (await system.get("/healthz"))["status"] == "alive"
    assert (await system.get("/readyz"))["status"] == "ready"


@pytest.fixture
def environ(rabbit: Rabbit) -> dict[str, str]:
    """Settings of a system on a vhost of its own, with a small work queue."""
    return {
        "TILLSTREAM_BROKER": rabbit.vhost(),
        "TILLSTREAM_WORK_MAX_BYTES": str(WORK_MAX_BYTES),
        "TILLSTREAM_WORKER_PROBES_PORT": "0",
        "TILLSTREAM_TOTALS_PROBES_PORT": "0",
        "TILLSTREAM_CHECKPOINT_S": "0.5",
    }


@pytest.mark.rabbit
@pytest.mark.mongo
@pytest.mark.faults
async def test_a_full_queue_and_a_store_that_stands_still_refuse_and_lose_nothing(
    environ: dict[str, str], ferret: FerretServer, tmp_path: Path
) -> None:
    """First no worker, then one whose store stands still: the queue fills, 503s come; then all accepted ones count."""
    database = ferret.database()
    async with CutProxy(ferret.port) as link:
        held = database.replace(f":{ferret.port}/", f":{link.port}/")
        system = System({**environ, "TILLSTREAM_STORE": database}, tmp_path)
        system.add("entrypoint", "entrypoint", "--port", str(system.port))
        system.add("totals", "totals")
        async with running(system):
            first = receipts(1, 1600, 20)
            outcome = await post_all(system, first, tasks=8, connections=8)
            assert outcome.reasons["broker-full"] > 0, outcome.reasons
            taken_bytes = sum(len(event) for request in outcome.taken for event in request)
            assert WORK_MAX_BYTES * 0.8 < taken_bytes < WORK_MAX_BYTES * 2
            await serves_and_is_alive(system)

            worker = system.add("worker", "worker", "--store", held, "--prefetch", "4")
            await system.start("worker")
            await assert_counted(system, outcome.taken)
            await until_taken(system, outcome.refused)
            await assert_counted(system, first)

            link.set(Mode.HOLE)  # until the queue is full, however fast requests come
            second = receipts(2, 2000, 20)
            outcome = await post_all(system, second, tasks=8, connections=8)
            assert outcome.reasons["broker-full"] > 0, outcome.reasons
            await serves_and_is_alive(system)
            link.heal()
            await until_taken(system, outcome.refused)
            await assert_counted(system, first + second)
            assert worker.pid
            for process in system.processes.values():
                assert await process.stop() == 0
        code, printed = await system.run("audit")
        assert code == 0, printed


async def test_an_embedded_store_that_takes_nothing_makes_requests_be_refused(tmp_path: Path) -> None:
    """The queue fills behind a store that another process holds; let go, all that was taken is counted."""
    environ = {
        "TILLSTREAM_DATA": str(tmp_path / "data"),
        "TILLSTREAM_WORK_MAX_BYTES": str(WORK_MAX_BYTES),
        "TILLSTREAM_PREFETCH": "4",
    }
    system = System(environ, tmp_path)
    system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    async with running(system):
        holder = sqlite3.connect(tmp_path / "data" / "store.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        sent = receipts(3, 2000, 20)
        outcome = await post_all(system, sent, tasks=8, connections=8)
        assert outcome.reasons["broker-full"] > 0, outcome.reasons
        assert (await system.get("/healthz"))["status"] == "alive"
        holder.execute("ROLLBACK")
        holder.close()
        await assert_counted(system, outcome.taken)
        await until_taken(system, outcome.refused)
        await assert_counted(system, sent)
        assert await system.processes["up"].stop() == 0
    code, printed = await system.run("audit")
    assert code == 0, printed


async def burst(system: System, *, tasks: int, connections: int) -> None:
    """10,000 single receipts at once: each is taken or refused properly, and what was taken is counted."""
    sent = receipts(4, 10_000, 1)
    outcome = await post_all(system, sent, tasks=tasks, connections=connections)
    print(f"{len(outcome.taken)} taken, {dict(outcome.reasons)}")
    assert len(outcome.taken) + len(outcome.refused) == 10_000
    await until_taken(system, outcome.refused)
    await assert_counted(system, sent)


@pytest.mark.rabbit
@pytest.mark.mongo
async def test_a_burst_of_single_receipts_loses_nothing(
    environ: dict[str, str], ferret: FerretServer, tmp_path: Path
) -> None:
    """On servers: 10,000 requests at once on 1,000 connections."""
    environ = {**environ, "TILLSTREAM_STORE": ferret.database(), "TILLSTREAM_WORK_MAX_BYTES": str(4 << 20)}
    system = System(environ, tmp_path)
    system.add("entrypoint", "entrypoint", "--port", str(system.port))
    system.add("worker-1", "worker")
    system.add("worker-2", "worker")
    system.add("totals", "totals")
    async with running(system):
        await burst(system, tasks=10_000, connections=1000)


async def test_a_burst_on_the_embedded_default_loses_nothing(tmp_path: Path) -> None:
    """In one process: 10,000 requests, 500 at a time."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data")}, tmp_path)
    system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    async with running(system):
        await burst(system, tasks=500, connections=500)


async def test_more_connections_than_there_may_be_lose_nothing(tmp_path: Path) -> None:
    """Those that are too many are told so; who comes again is served."""
    environ = {"TILLSTREAM_DATA": str(tmp_path / "data"), "TILLSTREAM_CONNECTIONS": "20"}
    system = System(environ, tmp_path)
    system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    async with running(system):
        sent = receipts(5, 600, 1)
        outcome = await post_all(system, sent, tasks=60, connections=60)
        assert outcome.reasons["overloaded"] > 0
        assert len(outcome.taken) + len(outcome.refused) == 600
        await until_taken(system, outcome.refused)
        await assert_counted(system, sent)
