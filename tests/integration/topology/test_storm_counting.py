"""The Storm engine counts to the cent, as the asyncio engine does, and whatever of it is killed."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import broker as brokers
import store as stores
from analytics.codec import encode_day
from analytics.tally import DayTally
from broker.exchanges import receipts_topology
from broker.frames import STORE_HEADER
from broker.protocol import Message
from engine.totals import Totals
from feeds import Copies, Generator, GeneratorOptions
from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day, content, identity, send, stored_receipts
from tests.integration.topology.storm_system import (
    RECOVERY_S,
    Heard,
    StormSystem,
    Traffic,
    assert_monotone,
    at_rest,
    environ_of,
    listening,
)
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import Rabbit
from tests.servers.storm import StormServer
from tests.support import eventually
from tests.support_expected import Expected

pytestmark = [pytest.mark.storm, pytest.mark.rabbit, pytest.mark.mongo, pytest.mark.timeout(900)]

RECEIPTS = 20_000
CENT = Decimal("0.01")


@pytest.fixture(scope="module")
def storm(storm_cluster: StormServer, rabbit: Rabbit, ferret: FerretServer) -> Iterator[StormSystem]:
    """A running topology, shared by the tests here: each counts on a business day of its own."""
    made = StormSystem(storm_cluster, "counting", environ_of(rabbit.vhost(), ferret.database()))
    made.submit()
    yield made
    made.kill()


@asynccontextmanager
async def copying(url: str) -> AsyncIterator[list[Message]]:
    """The frames that come through the exchange while the block lasts, for any store."""
    broker = await brokers.connect(url, receipts_topology())
    consumer = await broker.subscribe("copy", {"receipts": "#"}, max_length=100_000)
    frames: list[Message] = []

    async def copy() -> None:
        async for each in consumer:
            frame = Message(
                exchange=each.exchange,
                routing_key=each.routing_key,
                body=each.body,
                headers={name: value for name, value in each.headers.items() if name != STORE_HEADER},
                message_id=each.message_id,
            )
            frames.append(frame)

    task = asyncio.create_task(copy())
    try:
        yield frames
    finally:
        await broker.close()
        async with asyncio.timeout(30):
            await task


async def day_tally(system: System, day: str) -> DayTally:
    """A day's totals as the store has them."""
    store = await stores.connect(system.environ["TILLSTREAM_STORE"])
    try:
        totals = Totals(store, "receipts")
        await totals.sync()
        return (await totals.day(day)).copy()
    finally:
        await store.close()


def minutes_of_reception(stored: list[bytes], day: str) -> dict[str, int]:
    """How many receipts of a day came in each minute, by what is stored of them."""
    minutes: defaultdict[str, int] = defaultdict(int)
    for body in stored:
        event = msgspec.json.decode(body)
        if event["date"].startswith(day):
            minutes[str(int(event["receivedTime"] // 60))] += 1
    return dict(minutes)


def canonical(tally: DayTally, stored: list[bytes], day: str) -> bytes:
    """A day's totals as bytes, without what depends on when frames were counted, and in what order.

    Delays are left out. Of a receipt that came twice the first stored copy counts, and if the two came in different
    minutes, that decides in which minute it did: so these rows are compared with the receipts of the same store.
    """
    tally.delays.clear()
    received = tally.tables.pop("received")
    assert {minute: row[0] for minute, row in received.items()} == minutes_of_reception(stored, day)
    return encode_day(tally)


async def replayed(
    frames: list[Message], like: StormSystem, rabbit: Rabbit, ferret: FerretServer, folder: Path
) -> System:
    """A system of the asyncio engine with other servers' rooms, that has been given these frames."""
    environ = like.environ | environ_of(rabbit.vhost(), ferret.database())
    other = StormSystem(like.cluster, "none", environ).system(folder)
    broker = await brokers.connect(environ["TILLSTREAM_BROKER"], receipts_topology())
    try:
        for frame in frames:
            await broker.publish(frame)
    finally:
        await broker.close()
    return other


async def test_totals_are_those_of_decimal_and_of_the_other_engine(
    storm: StormSystem, rabbit: Rabbit, ferret: FerretServer, tmp_path: Path
) -> None:
    """20,000 receipts, 5 % of them twice: exchanges, GET, audit, `decimal` agree; and the workers, byte for byte."""
    generator = Generator(GeneratorOptions(seed=11, returns=0.02, copies=Copies(duplicates=0.05)))
    first, *batches = generator.requests(RECEIPTS, 500)
    requests = [[event] for event in first] + batches
    sent = [event for request in requests for event in request]
    expected = Expected()
    expected.add_all(sent)
    assert RECEIPTS * 0.04 < expected.duplicates < RECEIPTS * 0.06
    days = sorted(expected.days)
    system = storm.system(tmp_path / "storm")
    async with (
        running(system, "entrypoint"),
        listening(system.environ["TILLSTREAM_BROKER"]) as heard,
        copying(system.environ["TILLSTREAM_BROKER"]) as frames,
    ):
        began = time.monotonic()
        assert await send(system, requests) == len(sent)
        await system.counted(RECEIPTS, days, within=RECOVERY_S)
        print(f"{len(sent)} receipts in {time.monotonic() - began:.1f} s")
        for day in days:
            assert_day(await system.get(f"/totals/{day}"), expected.days[day])
        assert f"{RECEIPTS} events" in await at_rest(system, rabbit)
        await published(heard, system, days[-1], expected)
        stored = [body for _, body in await stored_receipts(system)]
        assert sorted(map(identity, stored)) == sorted(expected.first)
        assert all(content(body) == content(expected.first[identity(body)]) for body in stored)
        assert sum(int(frame.headers["events"]) for frame in frames) == len(sent)
        counted = [canonical(await day_tally(system, day), stored, day) for day in days]

    other = await replayed(frames, storm, rabbit, ferret, tmp_path / "workers")
    async with running(other):
        await other.counted(RECEIPTS, days, within=RECOVERY_S)
        stored = [body for _, body in await stored_receipts(other)]
        assert [canonical(await day_tally(other, day), stored, day) for day in days] == counted


async def published(heard: Heard, system: System, day: str, expected: Expected) -> None:
    """Wait until the exchanges say what is expected of a day, if it is still today."""
    revision = (await system.get(f"/totals/{day}"))["revision"]

    def said() -> bool:
        count, categories = heard.last("count"), heard.last("categories")
        assert min(count["revision"], categories["revision"]) >= revision
        if count["day"] == categories["day"] == day:
            of_day = expected.days[day]
            assert (count["sum"], count["count"]) == (of_day.sum.quantize(CENT), of_day.count)
            assert categories["categories"] == {
                name: amount.quantize(CENT) for name, amount in of_day.categories.items()
            }
        return True

    await eventually(said, timeout=30)


async def test_kills_lose_nothing(storm: StormSystem, rabbit: Rabbit, tmp_path: Path) -> None:
    """kill -9 of each kind of process amid traffic, one by one: all is counted again soon, each receipt once."""
    cluster = storm.cluster
    system = storm.system(tmp_path)
    traffic = Traffic(system, rate=40.0, seed=12, days_ago=1)

    async def killed(name: str, victims: Callable[[], list[int]], again: Callable[[], None] | None = None) -> None:
        """Kill one, and wait until all that came before is counted; tell how long it took."""
        before = set(await asyncio.to_thread(victims))
        victim = min(before)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        if again is not None:
            await asyncio.to_thread(again)
        recovered = await traffic.caught_up()
        await eventually(lambda: asyncio.to_thread(replaced, victim, before, victims), timeout=RECOVERY_S, every=0.2)
        revision = heard.counts()[-1].order
        await eventually(lambda: heard.counts()[-1].order > revision, timeout=RECOVERY_S)
        print(f"{name}: counted again after {recovered:.1f} s, longest silence {heard.silence(began):.1f} s")

    async with running(system, "entrypoint"), listening(system.environ["TILLSTREAM_BROKER"]) as heard:
        async with traffic.flowing():
            await traffic.caught_up()
            await eventually(heard.counts, timeout=30)
            await killed("LedgerBolt", lambda: cluster.component_pids("LedgerBolt"))
            await killed("ReceiptSpout", lambda: cluster.component_pids("ReceiptSpout"))
            began = time.monotonic()
            await asyncio.to_thread(cluster.cluster.kill_supervisor)
            try:
                await traffic.caught_up()
            except BaseException:
                cluster.cluster.start_supervisor()  # others use this cluster, too
                raise
            print(f"Supervisor: went on counting, longest silence {heard.silence(began):.1f} s")
            # A JVM that dies now stays dead until the Supervisor is there again.
            await killed("worker JVM", cluster.worker_pids, cluster.cluster.start_supervisor)
        expected = traffic.expected()
        await system.counted(len(expected.first), [traffic.day], within=RECOVERY_S)
        await at_rest(system, rabbit)
        assert_day(await system.get(f"/totals/{traffic.day}"), expected.days[traffic.day])
        stored = [identity(body) for _, body in await stored_receipts(system)]
        assert sorted(each for each in stored if each[2].startswith(traffic.day)) == sorted(expected.first)
        assert_monotone(heard)


def replaced(victim: int, before: set[int], victims: Callable[[], list[int]]) -> bool:
    """Whether the victim is gone, and as many run as before."""
    now = set(victims())
    return victim not in now and len(now) >= len(before)
