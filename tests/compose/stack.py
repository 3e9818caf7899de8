"""docker-compose.yml as its users run it, under a name and on ports of its own, with secrets of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from feeds import Sender, SenderOptions, send_requests
from tests.support import eventually, free_port
from tests.support_expected import Expected

ROOT = Path(__file__).parents[2]


@dataclass
class Stack:
    """The services of docker-compose.yml.

    Attributes:
        folder: of its secrets; made by `make_secrets`.
        zone: time zone of the tills.
        project: what its containers, networks and volumes are called after.
        http, pages, ui, storm: published ports of the entrypoints, the dashboard, RabbitMQ's pages and Storm's.
        judge: has every receipt that was sold.
        conflicting: receipts that were sold and contradict an earlier one.
        scale: service → how many, where it is not one; every `up` says it again, as Compose forgets.
    """

    folder: Path
    zone: str
    project: str = field(default_factory=lambda: f"tillstream-test-{os.getpid()}")
    http: int = field(default_factory=free_port)
    pages: int = field(default_factory=free_port)
    ui: int = field(default_factory=free_port)
    storm: int = field(default_factory=free_port)
    judge: Expected = field(default_factory=Expected)
    conflicting: set[bytes] = field(default_factory=set)
    scale: dict[str, int] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """What Compose is told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TILLSTREAM_", "COMPOSE_"))}
        return {
            **kept,
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_PROGRESS": "plain",
            "TILLSTREAM_IMAGE": self.images[0],
            "TILLSTREAM_PROXY_IMAGE": self.images[1],
            "TILLSTREAM_STORM_IMAGE": self.images[2],
            "TILLSTREAM_SECRETS": str(self.folder),
            "TILLSTREAM_TIMEZONE": self.zone,
            # On a busy machine the stand-in for MongoDB takes long for as many as are usual.
            "TILLSTREAM_FLUSH_EVENTS": "200",
            "TILLSTREAM_PORT": str(self.http),
            "TILLSTREAM_DASHBOARD_PORT": str(self.pages),
            "RABBITMQ_UI_PORT": str(self.ui),
            "STORM_UI_PORT": str(self.storm),
        }

    @property
    def images(self) -> tuple[str, str, str]:
        """Names of our images: those that people have are left alone."""
        return self.project, f"{self.project}-proxy", f"{self.project}-storm"

    @property
    def url(self) -> str:
        """Where receipts go."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def token(self) -> str:
        """What a till sends."""
        return self.secret("tokens").split()[-1].rpartition(":")[2]

    def secret(self, name: str) -> str:
        """One of the secrets."""
        return (self.folder / name).read_text().strip()

    def make_secrets(self) -> None:
        """Run `scripts/secrets`."""
        subprocess.run([ROOT / "scripts/secrets", "--folder", self.folder], check=True, timeout=60, stdout=sys.stderr)

    def now(self, *arguments: str, within: float = 120.0) -> str:
        """Run `docker compose …` and wait for it, blocking; what it printed. Raises if it fails."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            check=False,
            cwd=ROOT,
            env=self.environ,
            timeout=within,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
        return done.stdout

    async def compose(self, *arguments: str, within: float = 120.0, wanted: int | None = 0, given: str = "") -> str:
        """Run `docker compose …`; what it printed. AssertionError if it ends with another status than is wanted (None:
        any will do)."""
        child = await asyncio.create_subprocess_exec(
            "docker", "compose", *arguments, cwd=ROOT, env=self.environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(within):
                printed, said = await child.communicate(given.encode())
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        text = printed.decode()
        told = f"{text[-3000:]}{said.decode()[-6000:]}"
        assert wanted in {None, child.returncode}, f"docker compose {' '.join(arguments)}\n{told}"
        return text

    def up_command(self, *options: str) -> tuple[str, ...]:
        """The arguments of `docker compose` that bring everything up, at the scale that was asked for."""
        scale = [word for name, number in self.scale.items() for word in ("--scale", f"{name}={number}")]
        return ("up", "--detach", "--wait", "--wait-timeout", "150", *options, *scale)

    async def up(self, **scale: int) -> None:
        """`docker compose up --wait`, at another scale if given."""
        self.scale |= scale
        # Compose gives up at once where something is unhealthy at that moment, be it on its way back.
        await eventually(self.no_illness, timeout=120, every=1)
        await self.compose(*self.up_command(), within=180)

    async def services(self) -> dict[str, list[dict[str, Any]]]:
        """What `docker compose ps` says of each container, by service."""
        found: dict[str, list[dict[str, Any]]] = {}
        for line in (await self.compose("ps", "--all", "--format", "json")).splitlines():
            container = json.loads(line)
            found.setdefault(container["Service"], []).append(container)
        return found

    async def no_illness(self) -> bool:
        """Whether no container says that it is unhealthy."""
        return all(each["Health"] != "unhealthy" for found in (await self.services()).values() for each in found)

    async def tillstream(self, *arguments: str, wanted: int = 0) -> str:
        """`docker compose run --rm tillstream …`."""
        return await self.compose("run", "--rm", "--no-deps", "-T", "tillstream", *arguments, wanted=wanted)

    async def python(self, program: str, service: str = "tillstream") -> str:
        """Run a program in a new container of a service, with its secrets; what it printed."""
        run = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "python3", service, "-")
        return await self.compose(*run, given=program)

    async def get(self, path: str) -> Any:
        """The JSON that an entrypoint answers, through the published port; asked again while it is refused."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session:

            async def answered() -> str:
                async with session.get(self.url + path) as answer:
                    body = await answer.text()
                    assert answer.status == 200, body
                    return body

            return json.loads(await eventually(answered, timeout=60, every=0.5))

    async def kill(self, service: str, index: int = 1) -> str:
        """SIGKILL to what runs in a container; its name. From inside: a container that is killed from outside counts
        for Docker as stopped on purpose, and is not started again."""
        inside = ("exec", "-T", "--index", str(index), service, "sh", "-c", "kill -9 -1")
        await self.compose(*inside, wanted=None)
        return f"{self.project}-{service}-{index}"

    @asynccontextmanager
    async def selling(
        self,
        requests: Iterable[list[bytes]],
        *,
        rate: float | None = None,
        concurrency: int = 8,
        to_the_end: bool = False,
    ) -> AsyncIterator[Sender]:
        """Sell receipts while the block runs, patiently; at its end, wait until each that was begun with was answered
        202.

        Arguments:
            rate: receipts a second.
            to_the_end: sell all of them, also after the block; otherwise there may be endlessly many.
        """
        over = False

        def judged() -> Iterator[list[bytes]]:
            for request in requests:
                if over:
                    return
                for event in request:
                    known = self.judge.conflicts
                    self.judge.add(event)
                    if self.judge.conflicts > known:
                        self.conflicting.add(event)
                yield request

        options = SenderOptions(
            url=self.url, token=self.token, concurrency=concurrency, patience_s=240.0, first_patience_s=60.0
        )
        async with Sender(options) as sender:

            async def sell() -> None:
                await send_requests(sender, judged(), rate=rate)
                await sender.drain()

            task = asyncio.create_task(sell())
            try:
                yield sender
                over = not to_the_end
                async with asyncio.timeout(300):
                    await task
            finally:
                task.cancel()
                await asyncio.wait({task})
        assert sender.counts.complete, sender.counts.summary()

    async def counted(self, within: float = 240.0) -> None:
        """Wait until the totals count as many receipts as were sold."""

        async def enough() -> bool:
            try:
                answers = {day: await self.get(f"/totals/{day}") for day in self.judge.days}
            except (aiohttp.ClientError, AssertionError):
                return False
            return all(answer["count"] >= self.judge.days[day].count for day, answer in answers.items())

        await eventually(enough, timeout=within, every=0.5)


def inspected(container: str) -> dict[str, Any]:
    """What the engine knows of a container."""
    printed = subprocess.run(["docker", "inspect", container], check=True, capture_output=True, timeout=30).stdout
    found: dict[str, Any] = json.loads(printed)[0]
    return found


def docker(*arguments: str, within: float = 120.0, environ: Mapping[str, str] | None = None) -> str:
    """Run `docker …`; what it printed."""
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, timeout=within, env=environ
    )
    return done.stdout
