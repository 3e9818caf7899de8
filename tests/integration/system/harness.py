"""The whole system as a user runs it: `tillstream` processes, on the embedded default or on real servers.

A process is started by its command line, found by what it logs, and ended by its own id.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import eventually, free_port

ROOT = Path(__file__).parents[3]


@dataclass
class Process:
    """One `tillstream` process.

    Attributes:
        arguments: the command line after `tillstream`.
        environ: its `TILLSTREAM_*` variables.
        log: file that its standard error goes to.
        root: the release's folder: where its packages are.
        program: what Python runs with the arguments.
    """

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    log: Path
    root: Path = ROOT
    program: tuple[str, ...] = ("-m", "cli.main")
    _child: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self, until: str) -> None:
        """Start it, and wait until it logs an event named `until` (of this start, not of an earlier one)."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.program,
                *self.arguments,
                cwd=self.root,
                env={**environ, **self.environ, "TILLSTREAM_LOG_FORMAT": "json"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def ready() -> bool:
            if self._child is None or self._child.returncode is not None:
                raise RuntimeError(f"tillstream {self.arguments} ended: {self.log.read_text()[-2000:]}")
            return any(event.get("event") == until for event in self.events(begun))

        await eventually(ready, timeout=60)

    def events(self, begun: int = 0) -> list[dict[str, Any]]:
        """What it logged, from a byte of its log on."""
        found = []
        for line in self.log.read_bytes()[begun:].splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None
        return self._child.pid

    async def kill(self) -> None:
        """End it with SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self, within: float = 30.0) -> int:
        """Ask it to stop with SIGTERM; its exit code."""
        return await self._end(signal.SIGTERM, within)

    async def _end(self, how: signal.Signals, within: float = 30.0) -> int:
        assert self._child is not None
        if self._child.returncode is None:
            self._child.send_signal(how)
        async with asyncio.timeout(within):
            return await self._child.wait()

    async def discard(self) -> None:
        """End it, however."""
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()


@dataclass
class System:
    """The processes of one system, and what a client sees of them.

    Attributes:
        environ: their common settings.
        folder: where they log.
        port: of the entrypoint.
    """

    environ: dict[str, str]
    folder: Path
    port: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where receipts go."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def embedded(self) -> bool:
        """Whether everything is one process."""
        return "up" in self.processes

    def add(self, name: str, *arguments: str) -> Process:
        """Name a process; start it with `start`."""
        process = Process(arguments, self.environ, self.folder / f"{name}.log")
        self.processes[name] = process
        return process

    async def start(self, *names: str) -> None:
        """Start processes, all by default, and wait until they work."""
        ready = {"up": "receipts go to", "entrypoint": "receipts go to"}
        chosen = {name: self.processes[name] for name in names or self.processes}
        await asyncio.gather(*(one.start(ready.get(one.arguments[0], "started")) for one in chosen.values()))

    async def get(self, path: str, url: str = "") -> Any:
        """The JSON that the entrypoint (or another at `url`) answers to a GET; AssertionError if it is no 200."""
        async with aiohttp.ClientSession() as session, session.get((url or self.url) + path) as response:
            body = await response.read()
            assert response.status == 200, body
            return json.loads(body)

    async def run(
        self, *arguments: str, root: Path = ROOT, program: tuple[str, ...] = Process.program, within: float = 120.0
    ) -> tuple[int, str]:
        """Run a `tillstream` command to its end, of another release if need be: exit code, and what it printed."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        child = await asyncio.create_subprocess_exec(
            sys.executable, *program, *arguments, cwd=root, env={**environ, **self.environ},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(within):
            printed, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, printed.decode()

    async def counted(self, events: int, days: list[str], within: float = 90.0, *, url: str = "") -> None:
        """Wait until the totals of these days, as one entrypoint tells them, count so many events, and no more come."""

        async def enough() -> bool:
            try:
                counts = [(await self.get(f"/totals/{day}", url))["count"] for day in days]
            except aiohttp.ClientError:
                return False
            return bool(sum(counts) >= events)

        await eventually(enough, timeout=within, every=0.3)


@asynccontextmanager
async def running(system: System, *names: str) -> AsyncIterator[System]:
    """Start a system, or processes of it; end whatever of it still runs afterwards, and show its logs if the test
    failed."""
    try:
        await system.start(*names)
        yield system
    except BaseException:
        for name, process in system.processes.items():
            if process.log.exists():
                print(f"--- {name}\n{process.log.read_text()[-3000:]}")
        raise
    finally:
        for process in system.processes.values():
            await process.discard()


def today() -> str:
    """The current business day of a system in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())
