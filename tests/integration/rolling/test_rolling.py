"""A rolling change: processes of the previous release and of this one on the same queues and the same store."""

import asyncio
import functools
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import broker as brokers
from broker.exchanges import receipts_topology
from store.codec import head_from_text, head_to_text
from store.protocol import Folded, Head
from tests.integration.rolling.releases import PACKAGES, export_previous, imported_from
from tests.integration.system.harness import ROOT, Process, System, running
from tests.integration.system.test_exactness import assert_day, rejected_counts
from tests.integration.system.traffic import Traffic, flowing
from tests.support import eventually, free_port
from tests.support_expected import Expected

#: Receipts a second, by both entrypoints together.
RATE = 80.0


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release's files."""
    return export_previous(tmp_path_factory.mktemp("previous"))


def test_the_previous_release_runs_its_own_code(previous: Path) -> None:
    """A process that is started in its folder imports every package from there."""
    for package, file in imported_from(previous).items():
        assert file == previous / package / "__init__.py"
    assert len(PACKAGES) == 10


#: Reads a head with the code in the current folder; ends with 1 and one line if that code cannot.
READS = """
import sys
from store.codec import head_from_text
from store.errors import StoreDataError
try:
    head_from_text("receipts", 1, sys.stdin.read())
except StoreDataError as exc:
    sys.exit(str(exc))
"""


@pytest.mark.parametrize(
    ("more", "readable"),
    [
        ({}, True),
        ({"generation": 1}, False),
        ({"generation": 1, "folded": Folded(1, 5)}, False),
        ({"closing": frozenset({"w"})}, False),
        ({"months": {"2026-01": "m"}}, False),
    ],
)
def test_the_previous_release_reads_a_head_unless_it_would_lose_something(
    previous: Path, more: dict[str, Any], readable: bool
) -> None:
    """It replaces what it reads by what it knows, which are neither folded writers nor months."""
    head = Head(stream="receipts", version=1, offsets={"v": 3}, days={"2026-11-18": "d"}, seconds={}, **more)
    text = head_to_text(head)
    assert head_from_text("receipts", 1, text) == head
    asked = subprocess.run(
        [sys.executable, "-c", READS], cwd=previous, input=text.encode(), capture_output=True, timeout=60, check=False
    )
    assert (asked.returncode == 0) is readable, asked.stderr
    assert readable or b"cannot be read" in asked.stderr


def test_a_history_without_the_previous_release_fails_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A skipped test would look like a passed one."""
    monkeypatch.setattr("tests.integration.rolling.releases.PREVIOUS", "0" * 40)
    with pytest.raises(pytest.fail.Exception, match="git fetch --unshallow"):
        export_previous(tmp_path)


@pytest.fixture
async def partials(server_system: System) -> AsyncIterator[list[dict[str, Any]]]:
    """All partials since, as they come."""
    heard: list[dict[str, Any]] = []
    broker = await brokers.connect(server_system.environ["TILLSTREAM_BROKER"], receipts_topology())
    consumer = await broker.subscribe("test", {"partials": "#"}, max_length=100_000)

    async def hear() -> None:
        async for delivery in consumer:
            heard.append(json.loads(delivery.body))  # noqa: PERF401 - as they come

    hearing = asyncio.create_task(hear())
    yield heard
    hearing.cancel()
    await asyncio.wait({hearing})
    await consumer.close()
    await broker.close()


async def is_active(totals: Process) -> bool:
    """Whether this totals process is the one that publishes."""
    port = next(one["probes_port"] for one in reversed(totals.events()) if one.get("event") == "started")
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return "tillstream_totals_active 1.0" in await answer.text()


async def listed(url: str, **conditions: str) -> list[dict[str, Any]]:
    """All receipts that an entrypoint lists, page by page."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/receipts", params={"limit": "500", **conditions, **after}) as answer:
                assert answer.status == 200, await answer.text()
                page = await answer.json()
            found += page["receipts"]
            if page["next"] is None:
                return found
            after = {"after": page["next"]}


async def both_active(old: Process, new: Process) -> bool:
    """Whether the totals of either release publish: each holds a queue that the other does not look for."""
    return await is_active(old) and await is_active(new)


async def change(system: System, traffic: Traffic) -> None:
    """Bring this release in beside the previous one, and hand its work over there and back."""
    old, new = system.processes["totals"], system.processes["new-totals"]
    both = functools.partial(both_active, old, new)
    await eventually(both, timeout=60, every=0.2)
    await traffic.more()  # two write checkpoints and publish
    await system.processes["worker-1"].kill()  # in the middle of something: the other release may finish it
    await system.start("worker-1")
    await traffic.more()
    assert await old.stop() == 0
    await traffic.more()
    assert await is_active(new)
    await system.start("totals")  # goes on from the other's checkpoint
    await eventually(both, timeout=60, every=0.2)
    await traffic.more()
    await new.kill()
    await traffic.more()
    assert await is_active(old)
    await system.start("new-totals")
    await eventually(both, timeout=60, every=0.2)
    await traffic.more()
    await system.processes["new-worker"].kill()
    await system.start("new-worker")
    await old.kill()
    await traffic.more()
    await system.processes["worker-1"].kill()
    await system.start("worker-1")  # of the previous release, and only the totals of this one count what it writes
    await traffic.more()
    assert await is_active(new)


@pytest.mark.rabbit
@pytest.mark.mongo
@pytest.mark.timeout(900)
async def test_the_previous_release_and_this_one_work_side_by_side(
    server_system: System, partials: list[dict[str, Any]], previous: Path
) -> None:
    """Entrypoints, workers and totals of both, killed and handed over in between: each receipt counts once, also while
    the totals of both are active."""
    system = server_system
    del system.processes["worker-2"]
    for process in system.processes.values():
        process.root = previous
    new_port = free_port()
    system.add("new-entrypoint", "entrypoint", "--port", str(new_port))
    system.add("new-worker", "worker")
    system.add("new-totals", "totals")
    urls = [system.url, f"http://127.0.0.1:{new_port}"]

    async with running(system, "entrypoint", "worker-1", "totals"):  # makes the queues and collections
        await system.start("new-entrypoint", "new-worker", "new-totals")
        async with flowing(*urls, seed=6, rate=RATE, size=5, conflicts=0.01) as traffic:
            await change(system, traffic)

        expected = traffic.expected
        days = sorted(expected.days)
        await system.counted(len(expected.first), days)
        counting = {"worker" in partial for partial in partials}
        assert counting == {True, False}, "only one of the releases counted anything"
        for url in urls:
            await system.counted(len(expected.first), days, url=url)
            for day in days:
                assert_day(await system.get(f"/totals/{day}", url), expected.days[day])
        assert (await rejected_counts(system))["conflict"] >= expected.conflicts > 0

        async def adds_up() -> bool:
            for root in (previous, ROOT):
                code, printed = await system.run("audit", root=root)
                assert code == 0, printed
            return True

        await eventually(adds_up, timeout=60, every=1.0)
        await judge_lists(urls, expected)


async def judge_lists(urls: list[str], expected: Expected) -> None:
    """Both entrypoints list what either release stored: all of it, once, and this release by what it says, too."""
    receipts = {":".join(identity): json.loads(line) for identity, line in expected.first.items()}
    for url in urls:
        assert sorted(one["id"] for one in await listed(url)) == sorted(receipts)
    [day] = {one["date"][:10] for one in receipts.values()} if len(expected.days) == 1 else [max(expected.days)]
    of_day = {id for id, one in receipts.items() if one["date"].startswith(day)}
    found = [one["id"] for one in await listed(urls[1], day=day)]
    assert (len(found), set(found)) == (len(of_day), of_day)
    category = max(expected.days[day].categories)
    having = {
        id for id, one in receipts.items() if any(line["productCategoryName"] == category for line in one["lines"])
    }
    found = [one["id"] for one in await listed(urls[1], category=category)]
    assert (len(found), set(found)) == (len(having), having)
    dear = {id for id, one in receipts.items() if float(one["documentTotal"]["grossTotal"]) >= 20}
    found = [one["id"] for one in await listed(urls[1], min="20")]
    assert (len(found), set(found)) == (len(dear), dear)
