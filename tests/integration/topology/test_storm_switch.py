"""Changing engines under traffic, as docs/storm.md says how: workers, both, Storm only, workers."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day, identity, stored_receipts
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

pytestmark = [pytest.mark.storm, pytest.mark.rabbit, pytest.mark.mongo, pytest.mark.timeout(900)]

#: No change may silence the totals for longer: 2 or 3 s on an idle machine, and any machine may be busy.
SILENCE_S = 60.0


@pytest.fixture
def storm(storm_cluster: StormServer, rabbit: Rabbit, ferret: FerretServer) -> Iterator[StormSystem]:
    """A topology that is not submitted yet."""
    made = StormSystem(storm_cluster, "switching", environ_of(rabbit.vhost(), ferret.database()))
    yield made
    made.kill()


async def settled(heard: Heard, traffic: Traffic, what: str, since: float) -> None:
    """Wait until all that was sent until now is counted and published; tell, and bound, how long nothing was said."""
    await traffic.caught_up()

    def said() -> bool:
        last = heard.counts()[-1].body
        return bool(last["day"] != traffic.day or last["count"] >= counted)

    counted = await traffic.counted()
    await eventually(said, timeout=30)
    silence = heard.silence(since)
    print(f"{what}: {time.monotonic() - since:.1f} s, longest silence {silence:.1f} s")
    assert silence < SILENCE_S


async def test_engines_change_under_traffic(storm: StormSystem, rabbit: Rabbit, tmp_path: Path) -> None:
    """Nothing is lost or counted twice, and the totals are said all along, with a revision that never falls."""
    system = storm.system(tmp_path)
    traffic = Traffic(system, rate=40.0, seed=13)
    async with running(system), listening(system.environ["TILLSTREAM_BROKER"]) as heard:
        async with traffic.flowing():
            await traffic.caught_up()
            await eventually(heard.counts, timeout=30)
            await settled(heard, traffic, "workers", time.monotonic())

            began = time.monotonic()
            await asyncio.to_thread(storm.submit)
            await eventually(lambda: asyncio.to_thread(acks, storm), timeout=RECOVERY_S, every=0.5)
            await settled(heard, traffic, "both", began)

            began = time.monotonic()
            for name in ("worker", "totals"):
                assert await system.processes[name].stop() == 0
            await settled(heard, traffic, "Storm only", began)

            began = time.monotonic()
            await system.start("worker", "totals")
            await settled(heard, traffic, "both again", began)
            began = time.monotonic()
            await asyncio.to_thread(storm.kill, 5)
            await settled(heard, traffic, "workers again", began)
        expected = traffic.expected()
        await system.counted(len(expected.first), sorted(expected.days), within=RECOVERY_S)
        await at_rest(system, rabbit)
        await adds_up(system, traffic)
    assert_monotone(heard)


def acks(storm: StormSystem) -> bool:
    """Whether frames have gone through the topology."""
    status = storm.cluster.nimbus.status(storm.name)
    return any(each.acked > 0 for each in status.components if each.name == "receipts")


async def adds_up(system: System, traffic: Traffic) -> None:
    """Each receipt is stored once, and the totals are their sums."""
    expected = traffic.expected()
    for day, of_day in expected.days.items():
        assert_day(await system.get(f"/totals/{day}"), of_day)
    assert sorted(identity(body) for _, body in await stored_receipts(system)) == sorted(expected.first)
