"""The first section of README.md, typed by a newcomer: its shell blocks run as they stand, in order."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.system.harness import ROOT, System, running
from tests.support import eventually, free_port

#: The blocks that make and enter an environment; the test runs in the one that it finds.
SET_UP = ["./scripts/run\n", ". .venv/bin/activate\n"]
#: A block may be longer than a human would wait on a busy machine.
BLOCK_SECONDS = 120.0

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("curl") is None, reason="README's examples use curl"),
]


def blocks() -> list[str]:
    """The shell blocks of README's first section."""
    section = (ROOT / "README.md").read_text().split("\n## ")[1]
    return re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@dataclass
class Terminal:
    """A newcomer's second terminal: an empty folder, the command `tillstream`, and the settings of the first one.

    The examples name port 3000; curl's own configuration leads it to the port of the system under test.

    Attributes:
        folder: where the blocks run.
        system: what they talk to.
    """

    folder: Path
    system: System

    def __post_init__(self) -> None:
        """Make `tillstream` the one of this Python, and lead curl to the system's port."""
        command = self.folder / "bin" / "tillstream"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cli.main "$@"\n')
        command.chmod(0o755)
        (self.folder / ".curlrc").write_text(f'connect-to = "127.0.0.1:3000:127.0.0.1:{self.system.port}"\n')

    async def begin(self, block: str) -> asyncio.subprocess.Process:
        """Start a block, in a process group of its own."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        return await asyncio.create_subprocess_exec(
            "bash", "-e", "-o", "pipefail", "-c", block,
            cwd=self.folder,
            env={
                **environ,
                **self.system.environ,
                "CURL_HOME": str(self.folder),
                "NO_PROXY": "127.0.0.1",
                "PATH": f"{self.folder / 'bin'}:{environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    async def run(self, block: str) -> str:
        """Run a block to its end; what it printed. AssertionError if it failed."""
        child = await self.begin(block)
        async with asyncio.timeout(BLOCK_SECONDS):
            printed, _ = await child.communicate()
        assert child.returncode == 0, f"{block}\n{printed.decode()}"
        return printed.decode()

    async def shows(self, block: str, expected: str) -> None:
        """Run a block that only looks, until it prints what is expected: a receipt is counted after its answer."""

        async def shown() -> bool:
            return re.search(expected, await self.run(block)) is not None

        await eventually(shown, timeout=BLOCK_SECONDS, every=0.3)


@asynccontextmanager
async def newcomer(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A terminal beside what `./scripts/run` starts."""
    environ = {
        "TILLSTREAM_DATA": str(tmp_path / "data"),
        "TILLSTREAM_PORT": str(free_port()),
        "TILLSTREAM_DASHBOARD_PORT": str(free_port()),
    }
    system = System(environ, tmp_path, port=int(environ["TILLSTREAM_PORT"]))
    system.add("up", "up", "--demo")
    async with running(system):
        yield Terminal(tmp_path / "clone", system)
        assert await system.processes["up"].stop() == 0


def promised(block: str) -> str:
    """A pattern for the output that the last line of a block shows as a comment; `…` stands for anything."""
    comment = block.splitlines()[-1].removeprefix("# ")
    return ".*".join(re.escape(part.strip()) for part in comment.split("…"))


async def test_its_first_section_does_as_it_says(tmp_path: Path) -> None:
    """A receipt sent twice counts once, changed it is listed as a conflict, and many more add up."""
    set_up, (twice, once, changed, conflict, many, look, watch) = blocks()[:2], blocks()[2:]
    assert set_up == SET_UP
    async with newcomer(tmp_path) as terminal:
        assert (await terminal.run(twice)).count('"accepted": 1') == 2
        await terminal.shows(once, promised(once))
        assert (await terminal.run(changed)).count('"accepted": 1') == 1
        await terminal.shows(conflict, promised(conflict))
        assert "1 item\n" in await terminal.run(conflict)
        await terminal.shows(once, promised(once))

        assert "10,000 accepted, 0 refused" in await terminal.run(many)
        looked = await terminal.run(look)
        assert looked.count('"id":"1001:3:') == 1
        assert "everything adds up" in looked

        watching = await terminal.begin(watch)
        assert watching.stdout is not None
        async with asyncio.timeout(BLOCK_SECONDS):
            assert (await watching.stdout.readline()).startswith(b"count receipts")
            os.killpg(watching.pid, signal.SIGINT)
            await watching.communicate()
