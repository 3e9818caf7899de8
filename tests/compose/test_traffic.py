"""The stack under traffic: scaled, killed, restarted, taken down and brought up again. Nothing is lost, to the cent.

The tests go on from one another, in this order; after each, what was sold so far is what the totals say.
"""

import functools
import itertools
import json
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import Browser, expect
from yarl import URL

from feeds import Copies, Generator, GeneratorOptions, Sender
from tests.compose.stack import Stack, docker, inspected
from tests.integration.system.test_exactness import assert_day
from tests.support import eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400, func_only=True)]

seeds = itertools.count(1)


#: Receipts a second while something happens: the stand-in for MongoDB stores some hundreds.
RATE = 100.0


def receipts(stack: Stack, number: int | None = None, batch: int = 10) -> Iterator[list[bytes]]:
    """Receipts that were not sold yet, as requests, endless by default; some come twice, some are contradicted."""
    copies = Copies(duplicates=0.03, conflicts=0.01)
    options = GeneratorOptions(seed=next(seeds), timezone=ZoneInfo(stack.zone), copies=copies)
    return Generator(options).requests(number, batch)


async def more_sold(sender: Sender, number: int = 200) -> None:
    """Wait until so many more receipts were answered 202."""
    wanted = sender.counts.accepted + number
    await eventually(lambda: sender.counts.accepted >= wanted, timeout=180)


async def assert_to_the_cent(stack: Stack) -> None:
    """Every day's totals are what its receipts add up to by themselves."""
    await stack.counted()
    for day, expected in stack.judge.days.items():
        assert_day(await stack.get(f"/totals/{day}"), expected)


async def test_every_service_is_healthy(stack: Stack) -> None:
    """`up --wait` came back, and each container says so itself."""
    services = await stack.services()
    (users,) = services.pop("mongo-users")
    assert (users["State"], users["ExitCode"]) == ("exited", 0)
    assert set(services) == {"rabbitmq", "mongo", "proxy", "entrypoint", "worker", "totals", "dashboard"}
    assert len(services["worker"]) == 4
    states = {each["Name"]: (each["State"], each["Health"]) for each in itertools.chain(*services.values())}
    assert set(states.values()) == {("running", "healthy")}, states


async def test_who_has_no_token_is_refused(stack: Stack) -> None:
    """Through the published port, too."""
    async with aiohttp.ClientSession() as session, session.post(f"{stack.url}/receipt", data=b"{}") as answer:
        assert answer.status == 401


async def test_figures_and_versions_stay_inside(stack: Stack) -> None:
    """The published port answers neither /metrics nor /readyz, however they are written, and names no software."""
    written = ("/metrics", "/readyz", "/%6detrics", "/%2fmetrics", "//metrics", "/./readyz", "/metrics/", "/METRICS")
    async with aiohttp.ClientSession() as session:
        for path in written:
            async with session.get(URL(f"{stack.url}{path}", encoded=True)) as answer:
                assert answer.status == 404, path
                assert "Server" not in answer.headers
                assert "tillstream_" not in await answer.text()
        async with session.get(f"{stack.url}/healthz") as answer:
            assert answer.status == 200
            assert "Server" not in answer.headers


async def test_ten_thousand_receipts_are_right_to_the_cent(stack: Stack, browser: Browser) -> None:
    """With four workers, by `GET /totals` and on the dashboard, for somebody who logs in."""
    async with stack.selling(receipts(stack, 10_000, batch=50), rate=4 * RATE, to_the_end=True):
        pass
    await assert_to_the_cent(stack)
    day = max(stack.judge.days.items())[1]
    page = await browser.new_page()
    await page.goto(f"http://localhost:{stack.pages}/")
    await page.get_by_label("Name").fill("operator")
    await page.get_by_label("Password").fill(stack.secret("dashboard-password"))
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("section.revenue .number")).to_contain_text(f"{day.sum:,.2f}", timeout=30_000)
    await expect(page.locator("section.receipts .number")).to_contain_text(f"{day.count:,}", timeout=10_000)
    await page.close()


async def test_a_killed_worker_is_started_again(stack: Stack) -> None:
    """SIGKILL in the middle of traffic: Docker starts it again, and its frames are counted once."""
    before = inspected(f"{stack.project}-worker-1")["RestartCount"]
    async with stack.selling(receipts(stack), rate=RATE) as sender:
        await more_sold(sender)
        name = await stack.kill("worker")
        await eventually(lambda: inspected(name)["RestartCount"] > before, timeout=30, every=0.2)
        await eventually(lambda: inspected(name)["State"]["Health"]["Status"] == "healthy", timeout=60, every=0.5)
        await more_sold(sender)
    await assert_to_the_cent(stack)


async def test_down_to_one_worker_during_traffic(stack: Stack) -> None:
    """`--scale worker=1`: three give back what they hold."""
    async with stack.selling(receipts(stack), rate=RATE) as sender:
        await more_sold(sender)
        await stack.up(worker=1)
        await more_sold(sender)
    assert len((await stack.services())["worker"]) == 1
    await assert_to_the_cent(stack)


async def test_rabbitmq_restarted_during_traffic(stack: Stack) -> None:
    """Senders get 503 and try again; every process finds its way back by itself."""
    async with stack.selling(receipts(stack), rate=RATE) as sender:
        await more_sold(sender)
        await stack.compose("restart", "rabbitmq")
        await more_sold(sender)
    await assert_to_the_cent(stack)
    await stack.up()


async def test_three_entrypoints_share_the_work_behind_one_port(stack: Stack) -> None:
    """`--scale entrypoint=3`: each is asked; one that is killed costs its senders nothing but another try."""
    await stack.up(entrypoint=3)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:3000/metrics', timeout=5).read().decode())"

    async def taken(index: int) -> float:
        printed = await stack.compose("exec", "-T", "--index", str(index), "entrypoint", "python3", "-c", ask)
        lines = [line for line in printed.splitlines() if line.startswith("tillstream_events_accepted_total")]
        return sum(float(line.split()[-1]) for line in lines)

    async with stack.selling(receipts(stack, batch=2), rate=RATE) as sender:
        await more_sold(sender)
        for index in (1, 2, 3):
            await eventually(functools.partial(taken, index), timeout=60, every=0.5)
        await stack.kill("entrypoint", 2)
        await more_sold(sender)
    await assert_to_the_cent(stack)
    await stack.up(entrypoint=1)


async def test_without_the_store_receipts_are_taken(stack: Stack) -> None:
    """The proxy still finds an entrypoint while none is ready, and what it took is counted when MongoDB is back."""
    await stack.compose("stop", "mongo")
    try:
        async with stack.selling(receipts(stack), rate=RATE) as sender:
            await more_sold(sender)
    finally:
        await stack.compose("start", "mongo")
    await assert_to_the_cent(stack)


async def test_everything_down_and_up_in_a_burst(stack: Stack) -> None:
    """`down` and `up` with the volumes: nothing that was answered 202 is lost."""
    async with stack.selling(receipts(stack), rate=4 * RATE) as sender:
        await more_sold(sender)
        await stack.compose("down", within=180)
        await stack.up()
        await more_sold(sender)
    await assert_to_the_cent(stack)


async def test_a_frame_at_its_delivery_limit_is_a_dead_letter(stack: Stack) -> None:
    """A receipt that comes back again and again is not lost: it is in `receipts.dead`, whole, and is counted when it is
    replayed."""
    await stack.compose("stop", "worker")
    async with stack.selling(receipts(stack, 1, batch=1), to_the_end=True):
        pass
    program = """
import asyncio, os, pathlib
import aio_pika

async def main():
    url = pathlib.Path(os.environ["TILLSTREAM_BROKER_FILE"]).read_text().strip()
    connection = await aio_pika.connect(url, timeout=20)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=1)
    queue = await channel.get_queue("receipts.work", ensure=False)
    came = 0
    try:
        async with queue.iterator(timeout=5) as messages:
            async for message in messages:
                came += 1
                await message.reject(requeue=True)
    except asyncio.TimeoutError:
        pass
    await connection.close()
    print(came)

asyncio.run(main())
"""
    assert int(await stack.python(program, "worker")) > 1000

    async def dead() -> list[str]:
        printed = await stack.tillstream("rejected", "list", "--reason", "poison", "--json")
        return [line for line in printed.splitlines() if line.startswith("{")]

    assert len(await eventually(dead, timeout=60, every=0.5)) == 1
    await stack.tillstream("rejected", "replay", "--reason", "poison")
    await stack.up()
    await assert_to_the_cent(stack)


async def assert_storms_page_only_shows(stack: Stack) -> None:
    """What kills a topology, restarts a worker or changes a log level does not reach the UI; pages do."""
    serve = ("run", "--detach", "--rm", "--no-deps", "--use-aliases", "--entrypoint", "python3", "storm-ui")
    name = (await stack.compose("--profile", "storm", *serve, "-m", "http.server", "8080")).split()[-1]
    try:
        async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{stack.storm}") as session:

            async def answer(method: str, path: str) -> int:
                async with session.request(method, URL(path, encoded=True)) as response:
                    return response.status

            async def shows() -> bool:
                return await answer("GET", "/") == 200

            await eventually(shows, timeout=60, every=0.5)
            for method, path in (
                ("POST", "/api/v1/topology/tillstream-1-1/kill/0"),
                ("POST", "/api/v1/topology/tillstream-1-1/rebalance/0"),
                ("PUT", "/"),
                ("GET", "/api/v1/topology/tillstream-1-1/profiling/restartworker/x:6700/1"),
                ("GET", "/api/v1/topology/tillstream-1-1/%70rofiling/restartworker/x:6700/1"),
            ):
                assert await answer(method, path) == 403, (method, path)
    finally:
        docker("stop", "--time", "1", name)


async def test_the_storm_engine_takes_over(stack: Stack) -> None:
    """The profile `storm`: with workers and totals stopped under traffic, the topology counts what comes in; when it is
    killed, they do again. `up --wait` comes back when the topology runs. (Storm's own UI is not in the stand-in for its
    image.)"""
    services = ("zookeeper", "nimbus", "supervisor", "topology-submit", "storm-page")
    await stack.compose("--profile", "storm", "build", "--quiet", "supervisor", within=600)
    scale = ("--scale", "supervisor=2")
    await stack.compose(
        "--profile", "storm", "up", "--detach", "--wait", "--wait-timeout", "240", "--no-recreate", *scale, *services,
        within=280,
    )  # fmt: skip
    status = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "tillstream", "topology-submit", "topology", "status")

    async def runs() -> bool:
        return bool(json.loads((await stack.compose(*status, "--json")).splitlines()[-1])["runs"])

    assert await runs()
    await assert_storms_page_only_shows(stack)
    async with stack.selling(receipts(stack), rate=RATE) as sender:
        await more_sold(sender)
        await stack.compose("stop", "worker", "totals")
        await more_sold(sender)
    await assert_to_the_cent(stack)
    assert await runs()
    kill = ("topology-submit", "topology", "kill", "--wait", "--wait-s", "5")
    await stack.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "tillstream", *kill, within=240)
    async with stack.selling(receipts(stack), rate=RATE) as sender:
        await more_sold(sender)
        await stack.compose("--profile", "storm", "rm", "--stop", "--force", *services, within=180)
        await stack.up()
    await assert_to_the_cent(stack)


async def test_the_audit_finds_no_difference(stack: Stack) -> None:
    """After all of that, everything that is stored adds up."""

    async def adds_up() -> bool:
        report = json.loads((await stack.tillstream("audit", "--json")).splitlines()[-1])
        assert not report["differences"], report
        return bool(report["events"] == sum(day.count for day in stack.judge.days.values()))

    await eventually(adds_up, timeout=120, every=2)
    rejected = await stack.get("/rejected?limit=1000")
    assert len(rejected["rejected"]) >= len(stack.conflicting) > 0
