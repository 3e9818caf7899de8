"""kill -9 in the middle of traffic: nothing that was answered 202 is missing or counted twice."""

import asyncio
import functools

import pytest

from feeds import Copies, Generator, GeneratorOptions, Sender, SenderOptions, send_requests
from tests.integration.system.harness import System, running
from tests.integration.system.test_exactness import assert_day
from tests.support import eventually
from tests.support_expected import Expected

RECEIPTS = 3000
#: Receipts a second: slow enough that the kills come in the middle.
RATE = 600.0


def enough(sender: Sender, share: float) -> bool:
    """Whether so much was accepted."""
    return sender.counts.accepted > RECEIPTS * share


async def survive(system: System, victim: str) -> None:
    """Post receipts from several clients, kill a process twice while they come in, start it again, and compare."""
    options = GeneratorOptions(seed=hash(victim) % 1000, copies=Copies(duplicates=0.05))
    requests = list(Generator(options).requests(RECEIPTS, 10))
    expected = Expected()
    expected.add_all(event for request in requests for event in request)
    async with running(system):
        async with Sender(SenderOptions(url=system.url, concurrency=4, first_patience_s=60.0)) as sender:

            async def post() -> None:
                await send_requests(sender, requests, rate=RATE)
                await sender.drain()

            posting = asyncio.create_task(post())
            for share in (0.2, 0.5):
                await eventually(functools.partial(enough, sender, share), timeout=60)
                await system.processes[victim].kill()
                assert not posting.done(), "the kill came too late to prove anything"
                await system.start(victim)
            async with asyncio.timeout(120):
                await posting
        assert sender.counts.complete, sender.counts.summary()
        days = sorted(expected.days)
        await system.counted(RECEIPTS, days)
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
@pytest.mark.parametrize("victim", ["worker-1", "totals", "entrypoint"])
async def test_a_killed_process_loses_nothing(server_system: System, victim: str) -> None:
    """On RabbitMQ and FerretDB, whichever process dies."""
    await survive(server_system, victim)


async def test_a_killed_up_loses_nothing(embedded_system: System) -> None:
    """Everything in one process, and all of it dies at once."""
    await survive(embedded_system, "up")
