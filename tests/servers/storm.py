"""A private Storm cluster for tests: ours from `topology.cluster`, and what tests want to know of its processes.

Its folder is temporary, and everything ends with the tests, however they end.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topology.cluster import ClusterConfig, LocalCluster
from topology.cluster_home import provide_home
from topology.errors import ClusterError
from topology.jar import build_jar

#: From submitting to running, with both cores busy: a worker JVM has to start, and the components in it.
RUNNING_TIMEOUT_SECONDS = 240.0
#: A killed topology is gone after its own waiting time and some rounds of Nimbus.
GONE_TIMEOUT_SECONDS = 120.0


class StormMissingError(Exception):
    """There is no Storm to be had here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the system shows it."""

    pid: int
    command: str


class StormServer:
    """A Storm cluster of our own. All methods block; call them in a thread from async tests.

    Arguments:
        within: where its folder is made; by default where temporary files are.
        conf: further entries of storm.yaml.

    Attributes:
        cluster: the cluster itself: ports, logs, `kill_supervisor`, `start_supervisor`.
        nimbus: to submit to, and to ask.
        logs: the folder of all logs.
    """

    def __init__(self, within: Path | None = None, conf: Mapping[str, Any] | None = None) -> None:
        try:
            home = provide_home(os.environ)
        except ClusterError as exc:
            raise StormMissingError(str(exc)) from exc
        self.cluster = LocalCluster(
            ClusterConfig(
                home=home,
                folder=Path(tempfile.mkdtemp(prefix="tillstream-storm-", dir=within)),
                # Settings are the topologies' own, each with other servers: no variable of whoever runs the tests.
                environ={name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")},
                temporary=True,
                conf=conf or {},
            )
        )
        self.nimbus = self.cluster.nimbus
        self.logs = self.cluster.logs

    def start(self) -> None:
        """Start it, and wait until it takes topologies."""
        self.cluster.start()

    def submit(
        self,
        name: str,
        topology: Any,
        conf: Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Submit a topology with our jar, and wait until all of it runs.

        Arguments:
            environ: the environment of its components: TILLSTREAM_BROKER and so on.
            extra: further files of the jar, by path below `resources/`.
        """
        jar = build_jar(self.cluster.config.folder / f"{name}.jar", extra=extra)
        environment = {"PYTHONPATH": ".", **conf.get("topology.environment", {}), **(environ or {})}
        self.nimbus.submit(name, jar.path, topology, {**conf, "topology.environment": environment})
        self.nimbus.until_running(name, RUNNING_TIMEOUT_SECONDS)

    def kill(self, name: str, *, wait_s: int = 1) -> None:
        """Kill a topology, and wait until it and its processes are gone."""
        self.nimbus.kill(name, wait_s=wait_s)
        self.nimbus.until_gone(name, GONE_TIMEOUT_SECONDS)

    def processes(self) -> list[Process]:
        """All processes of the cluster: daemons, worker JVMs, components."""
        groups = set(self.cluster.groups())
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                pid = int(folder.name)
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                if command and os.getpgid(pid) in groups:
                    found.append(Process(pid, command))
            except OSError:  # it has just ended
                continue
        return found

    def supervisor_pid(self) -> int:
        """The Supervisor's process id."""
        return self.cluster.pid("supervisor")

    def worker_pids(self) -> list[int]:
        """The worker JVMs; each has a log writer beside it, which is not among them."""
        return [
            each.pid
            for each in self.processes()
            if "org.apache.storm.daemon.worker.Worker" in each.command
            and "org.apache.storm.LogWriter" not in each.command
        ]

    def component_pids(self, name: str) -> list[int]:
        """The processes of a component, by the name of its class: `component_pids("LedgerBolt")`."""
        return [each.pid for each in self.processes() if each.command.endswith(name) and "java" not in each.command]

    def worker_logs(self) -> str:
        """What the worker JVMs and the components have logged."""
        files = sorted((self.logs / "workers-artifacts").glob("*/*/worker.log"))
        return "\n".join(file.read_text("utf-8", "replace") for file in files)

    def close(self) -> None:
        """Stop it, and remove its folder."""
        self.cluster.stop()
