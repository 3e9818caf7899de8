"""What a campaign is played on: RabbitMQ (or three nodes of it), FerretDB, our processes, and proxies between them."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.faults.disk import NoDiskError, SmallDisk
from bench.faults.parts import Part
from bench.faults.plan import Cast
from bench.servers import ROOT
from tests.servers.cluster import RabbitCluster
from tests.servers.cut import CutProxy
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit, Rabbit
from tests.support import free_port

#: Room for what a campaign of half an hour stores; memory is used for what is written only.
_DISK_BYTES = 3 * 1024**3
_AUDIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """How many of each, and what their settings are.

    Attributes:
        disks: put the servers' data on small disks of their own, which can be filled.
        cluster: three RabbitMQ nodes instead of one.
        work_max_bytes: limit of the work queue: small enough to be reached.
        logs: folder for the processes' logs; by default they are gone at the end.
        settings: further `TILLSTREAM_*` settings, without that prefix.
    """

    entrypoints: int = 2
    workers: int = 3
    totals: int = 2
    disks: bool = True
    cluster: bool = False
    work_max_bytes: int = 2 * 1024**2
    logs: Path | None = None
    settings: dict[str, str] = field(default_factory=lambda: {"CHECKPOINT_S": "2"})


@dataclass(slots=True)
class Stage:
    """Everything that runs.

    Attributes:
        broker_url, store_url: past the proxies.
        folder: where processes log.
        urls: of the entrypoints.
        parts: process name → process.
        links: such as `worker-1 to store` → its proxies: one for each address that it leads to.
        store_disk, broker_disk: None where none can be mounted; `no_disk` says why.
    """

    rabbit: Rabbit
    ferret: FerretServer
    broker_url: str
    store_url: str
    folder: Path
    urls: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    links: dict[str, list[CutProxy]] = field(default_factory=dict)
    store_disk: SmallDisk | None = None
    broker_disk: SmallDisk | None = None
    no_disk: str = ""

    @property
    def cast(self) -> Cast:
        """What can be hit."""
        return Cast(processes=sorted(self.parts), links=sorted(self.links), nodes=sorted(self.nodes))

    @property
    def nodes(self) -> dict[str, PrivateRabbit]:
        """The nodes of the broker's cluster, by their names on the stage; none if it is none."""
        nodes = self.rabbit.nodes if isinstance(self.rabbit, RabbitCluster) else []
        return {f"node-{number}": node for number, node in enumerate(nodes, 1)}

    @property
    def workers(self) -> list[Part]:
        """The workers among the processes."""
        return [part for name, part in self.parts.items() if name.startswith("worker")]

    async def tillstream(self, *arguments: str) -> tuple[int, str]:
        """Run a command beside the processes, past the proxies: exit code, and what it printed."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        urls = {"TILLSTREAM_BROKER": self.broker_url, "TILLSTREAM_STORE": self.store_url}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", *arguments, cwd=ROOT, env={**clean, **urls},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(_AUDIT_SECONDS):
            printed, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, printed.decode()


@asynccontextmanager
async def staged(options: StageOptions, rabbit: Rabbit | None = None) -> AsyncIterator[Stage]:
    """Start servers and processes; end them all afterwards.

    Arguments:
        rabbit: one that runs, and is neither to be stopped nor frozen; by default one of the stage's own.

    Raises RabbitMissingError and FerretMissingError where there are none.
    """
    async with AsyncExitStack() as stack:
        folder = options.logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tillstream-faults-")))
        disks, no_disk = _disks(stack) if options.disks else ([None, None], "not asked for")
        broker_disk, store_disk = disks
        ferret = FerretServer(store_disk.folder if store_disk else None)
        stack.callback(ferret.close)
        starting = [asyncio.to_thread(ferret.start)]
        if rabbit is None:
            kind = RabbitCluster if options.cluster else PrivateRabbit
            own = kind(broker_disk.folder if broker_disk else None)
            stack.callback(own.close)
            starting.append(asyncio.to_thread(own.start))
            rabbit = own
        await asyncio.gather(*starting)
        stage = Stage(
            rabbit=rabbit,
            ferret=ferret,
            broker_url=await asyncio.to_thread(rabbit.vhost),
            store_url=ferret.database(),
            folder=folder,
            store_disk=store_disk,
            broker_disk=broker_disk,
            no_disk=no_disk,
        )
        await _fill(stage, options, stack)
        yield stage


def _disks(stack: AsyncExitStack) -> tuple[list[SmallDisk | None], str]:
    found: list[SmallDisk | None] = []
    try:
        for _ in range(2):
            disk = SmallDisk(_DISK_BYTES)
            stack.callback(disk.close)
            found.append(disk)
    except NoDiskError as exc:
        return [None, None], str(exc)
    return found, ""


async def _fill(stage: Stage, options: StageOptions, stack: AsyncExitStack) -> None:
    """Start the processes, each on proxies of its own."""
    common = {
        "WORK_MAX_BYTES": str(options.work_max_bytes),
        "WORKER_PROBES_PORT": "0",
        "TOTALS_PROBES_PORT": "0",
        **options.settings,
    }
    roles = {"entrypoint": options.entrypoints, "worker": options.workers, "totals": options.totals}
    for role, count in roles.items():
        for number in range(1, count + 1):
            name = f"{role}-{number}"
            urls = {}
            for variable, server, url in (("BROKER", "broker", stage.broker_url), ("STORE", "store", stage.store_url)):
                hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
                proxies = [await stack.enter_async_context(CutProxy(int(host.rpartition(":")[2]))) for host in hosts]
                stage.links[f"{name} to {server}"] = proxies
                urls[variable] = _through(url, [proxy.port for proxy in proxies])
            arguments: tuple[str, ...] = (role,)
            if role == "entrypoint":
                port = free_port()
                arguments = (role, "--port", str(port))
                stage.urls.append(f"http://127.0.0.1:{port}")
            environ = {f"TILLSTREAM_{key}": value for key, value in {**common, **urls}.items()}
            part = Part(name, arguments, environ, stage.folder / f"{name}.log")
            stage.parts[name] = part
            part.start()
            stack.callback(part.discard)
            watching = asyncio.create_task(part.supervise(), name=f"supervise {name}")
            stack.push_async_callback(_end, watching)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _through(url: str, ports: Sequence[int]) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{','.join(f'127.0.0.1:{port}' for port in ports)}").geturl()
