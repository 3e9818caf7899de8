"""A rolling change: processes of the previous release and of this one on the same queues and the same store."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import broker as brokers
from broker.exchanges import receipts_topology
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


async def change(system: System, traffic: Traffic) -> None:
    """Bring this release in beside the previous one, and hand its work over there and back."""
    old, new = system.processes["totals"], system.processes["new-totals"]
    await traffic.more()
    await system.processes["worker-1"].kill()  # in the middle of something: the other release may finish it
    await system.start("worker-1")
    await traffic.more()
    assert await is_active(old)
    assert await old.stop() == 0
    await eventually(functools.partial(is_active, new), timeout=30, every=0.2)
    await system.start(
        "totals"
    )  # does not see the other's queue (decision 0016): both are active, neither counts twice
    await eventually(functools.partial(is_active, old), timeout=30, every=0.2)
    await traffic.more()
    await new.kill()
    await eventually(functools.partial(is_active, old), timeout=30, every=0.2)  # goes on from the other's checkpoint
    await system.start("new-totals")
    await traffic.more()
    await system.processes["new-worker"].kill()
    await system.start("new-worker")
    await old.kill()
    await eventually(functools.partial(is_active, new), timeout=30, every=0.2)
    await traffic.more()
    await system.processes["worker-1"].kill()
    await system.start("worker-1")
    await traffic.more()


@pytest.mark.rabbit
@pytest.mark.mongo
@pytest.mark.timeout(420)
async def test_the_previous_release_and_this_one_work_side_by_side(
    server_system: System, partials: list[dict[str, Any]], previous: Path
) -> None:
    """Entrypoints, workers and totals of both, killed and handed over in between: each receipt counts once."""
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
