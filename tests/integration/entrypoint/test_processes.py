"""Several processes on one port, over RabbitMQ."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from entrypoint import Bound, EntrypointConfig, supervise
from streams import ConfigurationError
from tests.integration.entrypoint import children
from tests.integration.entrypoint.harness import JSON, WAIT, body
from tests.servers.rabbit import Rabbit
from tests.support import eventually

#: Two interpreters start and import everything, on two busy cores.
START = 60.0


@dataclass(kw_only=True)
class Family:
    """A parent in this process, and its children."""

    url: str
    folder: Path
    stop: asyncio.Event
    running: "asyncio.Task[None]"

    def pids(self) -> set[int]:
        """Children that serve right now."""
        return {int(mark.stem) for mark in self.folder.glob("*.pid")}

    async def fetch(self, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        """One request on a connection of its own, so that the system chooses a process for it."""
        async with (
            asyncio.timeout(WAIT),
            aiohttp.ClientSession() as client,
            client.request("POST" if data else "GET", f"{self.url}{path}", data=data, headers=JSON) as response,
        ):
            return response.status, await response.read()

    async def figure(self, name: str) -> float:
        """One sample of /metrics."""
        _, text = await self.fetch("/metrics")
        rows = (line.rpartition(" ") for line in text.decode().splitlines())
        return sum(float(value) for sample, _, value in rows if sample == name)


@asynccontextmanager
async def family(
    broker_url: str, folder: Path, child: Any = children.serving, processes: int = 2
) -> AsyncIterator[Family]:
    """A supervised entrypoint; all children are gone at the end."""
    stop = asyncio.Event()
    ready: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        supervise(
            EntrypointConfig(port=0, processes=processes, stop_timeout_seconds=5.0),
            functools.partial(child, broker_url, folder),
            stop=stop,
            broker_url=broker_url,
            on_ready=ready.set_result,
        )
    )
    try:
        either: set[asyncio.Future[Any]] = {running, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=START)
        if running.done():
            await running
        yield Family(url=ready.result().url, folder=folder, stop=stop, running=running)
    finally:
        stop.set()
        async with asyncio.timeout(START):
            await running
    assert not list(folder.glob("*.pid"))


@pytest.mark.rabbit
async def test_processes_share_a_port_and_show_their_figures_together(rabbit: Rabbit, tmp_path: Path) -> None:
    """Both serve; whichever is asked shows the sum of both, which a restart does not set back."""
    url = rabbit.vhost()
    async with family(url, tmp_path) as running:
        assert len(running.pids()) == 2
        served: set[bytes] = set()

        async def both_serve() -> bool:
            served.add((await running.fetch("/totals"))[1])
            return len(served) == 2

        await eventually(both_serve)
        for number in range(20):
            assert (await running.fetch("/receipts", body(number)))[0] == 202
        accepted = 'tillstream_events_accepted_total{stream="receipts"}'

        async def sum_is(number: int) -> bool:
            return await running.figure(accepted) == number

        await eventually(lambda: sum_is(20))

        victim = min(running.pids())
        os.kill(victim, signal.SIGKILL)
        (tmp_path / f"{victim}.pid").unlink()
        await eventually(lambda: len(running.pids()) == 2, timeout=START)
        assert victim not in running.pids()

        async def post() -> bool:
            try:
                return (await running.fetch("/receipts", body(100)))[0] == 202
            except aiohttp.ClientError:  # it listens before it serves
                return False

        await eventually(post)
        await eventually(lambda: sum_is(21))
    rabbit.drop_vhost(url)


@pytest.mark.rabbit
async def test_a_child_that_dies_at_the_start_is_replaced(rabbit: Rabbit, tmp_path: Path) -> None:
    """Ready is said only when all listen, the replacement included."""
    url = rabbit.vhost()
    async with family(url, tmp_path, children.dying_first) as running:
        assert (tmp_path / "died").exists()
        assert len(running.pids()) == 2
    rabbit.drop_vhost(url)


@pytest.mark.rabbit
@pytest.mark.faults
async def test_children_stop_when_their_parent_is_killed(rabbit: Rabbit, tmp_path: Path) -> None:
    """Nobody would restart or stop them: they finish what they have, and go."""
    url = rabbit.vhost()
    program = f"""
import asyncio, functools
from pathlib import Path
from entrypoint import EntrypointConfig, supervise
from tests.integration.entrypoint import children
if __name__ == "__main__":
    asyncio.run(supervise(
        EntrypointConfig(port=0, processes=2),
        functools.partial(children.serving, {url!r}, Path({str(tmp_path)!r})),
        stop=asyncio.Event(), broker_url={url!r}, on_ready=lambda bound: print("ready", flush=True),
    ))
"""
    script = tmp_path / "parent.py"
    script.write_text(program)
    root = str(Path(__file__).parents[3])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}, cwd=tmp_path
    )
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(START):
            while b"ready" not in (line := await parent.stdout.readline()):
                assert line, "the parent died"
        assert len(list(tmp_path.glob("*.pid"))) == 2
    finally:
        parent.kill()
    await eventually(lambda: not list(tmp_path.glob("*.pid")), timeout=START)
    await parent.communicate()
    rabbit.drop_vhost(url)


async def test_the_embedded_broker_serves_one_process(tmp_path: Path) -> None:
    """More than one process on it stops the start, with a line that says what to do."""
    with pytest.raises(ConfigurationError, match="TILLSTREAM_BROKER"):
        async with family(f"sqlite:{tmp_path / 'broker.db'}", tmp_path):
            pass


async def test_access_is_checked_before_any_child_is_started(tmp_path: Path) -> None:
    """A parent whose children could not start says why at once."""
    config = EntrypointConfig(host="0.0.0.0", port=0, processes=2)
    child = functools.partial(children.serving, "", tmp_path)
    with pytest.raises(ConfigurationError, match="--open"):
        await supervise(config, child, stop=asyncio.Event(), broker_url="amqp://localhost/")
