"""kill -9 in the middle of traffic: nothing that was answered 202 is missing or counted twice."""

import pytest

from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day
from tests.integration.system.traffic import flowing
from tests.support import eventually

#: Receipts a second.
RATE = 400.0
#: Receipts that are accepted between two kills.
BETWEEN = 400


async def survive(system: System, *victims: str) -> None:
    """Kill each of some processes twice while receipts come in, start it again, and compare."""
    async with running(system):
        async with flowing(system.url, seed=17, rate=RATE) as traffic:
            for victim in victims * 2:
                await traffic.more(BETWEEN)
                await system.processes[victim].kill()
                await system.start(victim)
            await traffic.more(BETWEEN)
        expected = traffic.expected
        days = sorted(expected.days)
        await system.counted(len(expected.first), days)
        for day in days:
            assert_day(await system.get(f"/totals/{day}"), expected.days[day])

        async def adds_up() -> bool:
            # frames that were with the killed process may still be on their way, and change nothing
            code, printed = await system.run("audit")
            assert code == 0, printed
            return True

        await eventually(adds_up, timeout=60, every=1.0)
        for day in days:
            assert_day(await system.get(f"/totals/{day}"), expected.days[day])


@pytest.mark.rabbit
@pytest.mark.mongo
async def test_killed_processes_lose_nothing(server_system: System) -> None:
    """On RabbitMQ and FerretDB, whichever process dies, one after the other."""
    await survive(server_system, "worker-1", "totals", "entrypoint")


async def test_a_killed_up_loses_nothing(embedded_system: System) -> None:
    """Everything in one process, and all of it dies at once."""
    await survive(embedded_system, "up")
