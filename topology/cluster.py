"""A whole Storm cluster on this machine: ZooKeeper, Nimbus and one Supervisor, for a try-out and for tests.

Not a deployment: one of each, bounded heaps, all state in one folder. One that lasts: docs/storm.md.
Everything here blocks; `interrupt` makes it stop waiting, from any thread or signal handler.
"""

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topology.cluster_files import LOOPBACK, Heaps, Ports, storm_yaml, zookeeper_properties
from topology.cluster_home import FILES, StormHome
from topology.cluster_processes import Processes
from topology.errors import ClusterError, StormError
from topology.nimbus import Nimbus, NimbusAddress

#: On a machine whose cores are all busy; it takes 6 s on an idle one.
START_TIMEOUT_S = 120.0
#: How long killed topologies may take to be gone, their worker JVMs included.
DRAIN_TIMEOUT_S = 20.0
#: How long each daemon may take to end by itself.
STOP_TIMEOUT_S = 5.0
#: Between a topology's spouts and all the rest of it, when the cluster stops: what is on its way gets its ack.
KILL_WAIT_S = 2
_POLL_S = 0.1
#: Each JVM starts quicker so; none of the daemons computes much.
_DAEMON_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_MAINS = {
    "zookeeper": "org.apache.storm.shade.org.apache.zookeeper.server.ZooKeeperServerMain",
    "nimbus": "org.apache.storm.daemon.nimbus.Nimbus",
    "supervisor": "org.apache.storm.daemon.supervisor.Supervisor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What a cluster is to be.

    Attributes:
        home: Java and Storm's jars.
        folder: for its state and logs; made if it is not there.
        environ: of its processes, and so of the components, which take their settings from it.
        temporary: remove the folder at the end, and also should this process be killed.
        slots: how many worker JVMs it may run.
        nimbus_port: taken if it is free, any other if not.
        conf: further entries of storm.yaml.
    """

    home: StormHome
    folder: Path
    environ: Mapping[str, str]
    temporary: bool = False
    slots: int = 2
    nimbus_port: int = 0
    heaps: Heaps = field(default_factory=Heaps)
    conf: Mapping[str, Any] = field(default_factory=dict)


class LocalCluster:
    """A cluster, to be used as a context manager, or with `start` and `stop`.

    Attributes:
        ports: where its parts listen, known from the beginning.
        nimbus: its Nimbus, to submit to.
        logs: the folder of all logs; those of worker JVMs and components are below `workers-artifacts`.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.ports = _free_ports(config.slots, config.nimbus_port)
        self.nimbus = Nimbus(NimbusAddress(LOOPBACK, self.ports.nimbus), timeout_s=10.0)
        self.logs = config.folder / "logs"
        self._interrupted = threading.Event()
        self._processes: Processes | None = None

    def start(self) -> None:
        """Start everything; return when topologies can be submitted.

        Raises ClusterError, after what was started has been stopped.
        """
        try:
            self._write_files()
            self._processes = Processes(self.config.folder if self.config.temporary else None)
            self._start("zookeeper", self.config.folder / "zookeeper.properties")
            self._until(lambda: _listens(self.ports.zookeeper), "ZooKeeper does not listen")
            self._start("nimbus")
            self._start("supervisor")
            self._until(self._answers, "Nimbus or the Supervisor is not ready")
        except BaseException as exc:
            self._end()
            if isinstance(exc, OSError):
                raise ClusterError(f"the cluster cannot be started: {exc}") from exc
            raise

    def wait(self) -> None:
        """Return when interrupted. Raises ClusterError when one of the daemons ends before."""
        while not self._interrupted.wait(_POLL_S):
            self.check()

    def stop(self, *, keep_logs: bool = False) -> bool:
        """Stop everything in order: topologies, Supervisor, Nimbus, ZooKeeper; then kill whatever is left.

        Returns whether nothing is left. A temporary folder is removed, unless somebody has to read its logs.
        """
        # Spouts first, so that what they have read is either counted or given back.
        self._drain()
        if self._processes is not None:
            for name in ("supervisor", "nimbus", "zookeeper"):
                self._processes.terminate(name, STOP_TIMEOUT_S)
        gone = self._end()
        if self.config.temporary and not keep_logs:
            shutil.rmtree(self.config.folder, ignore_errors=True)
        return gone

    def interrupt(self) -> None:
        """Make `start` and other waits end with an error, soon."""
        self._interrupted.set()

    @property
    def open_ports(self) -> tuple[int, ...]:
        """The ports that Storm binds to every address of the machine; it has no setting for that."""
        return (self.ports.nimbus, self.ports.supervisor, *self.ports.slots)

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._interrupted.is_set()

    def check(self) -> None:
        """Raise ClusterError if one of the daemons has ended."""
        ended = self._processes and self._processes.ended()
        if ended:
            name, code = ended
            raise ClusterError(f"{name} has ended with code {code}; its logs are in {self.logs}{self._last(name)}")

    def pid(self, name: str) -> int:
        """Process id of `zookeeper`, `nimbus` or `supervisor`."""
        return self._running().pid(name)

    def groups(self) -> tuple[int, ...]:
        """The process groups of everything that belongs to the cluster."""
        return self._running().groups()

    def kill_supervisor(self) -> None:
        """kill -9 the Supervisor; its worker JVMs go on without it."""
        self._running().kill("supervisor")

    def start_supervisor(self) -> None:
        """Start the Supervisor again; it finds its worker JVMs. Returns at once."""
        self._start("supervisor")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> Processes:
        if self._processes is None:
            raise ClusterError("the cluster is not started")
        return self._processes

    def _write_files(self) -> None:
        """Lay out a folder as Storm wants its home to be."""
        folder = self.config.folder
        for name in ("state", "zookeeper", "logs", "conf"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "conf" / "storm.yaml").write_text(
            storm_yaml(folder, self.ports, self.config.heaps, self.config.conf), "utf-8"
        )
        (folder / "zookeeper.properties").write_text(zookeeper_properties(folder, self.ports.zookeeper), "utf-8")
        shutil.copytree(FILES / "log4j2", folder / "log4j2", dirs_exist_ok=True)
        libraries = folder / "lib-worker"  # the classes of worker JVMs; here the same as the daemons'
        libraries.unlink(missing_ok=True)
        libraries.symlink_to(self.config.home.lib.resolve())

    def _start(self, name: str, *arguments: object) -> None:
        folder, environ = self.config.folder, dict(self.config.environ)
        # Where the components find their `streamparse_run`: beside the Python that runs this.
        environ["PATH"] = f"{Path(sys.executable).parent}:{environ.get('PATH', '')}"
        environ["JAVA_HOME"] = str(self.config.home.java.resolve().parents[1])  # which Java the worker JVMs get
        options = [
            f"-Xmx{getattr(self.config.heaps, name)}m",
            f"-Dstorm.home={folder}",
            f"-Dstorm.conf.file={folder / 'conf' / 'storm.yaml'}",
            f"-Dstorm.log.dir={self.logs}",
            f"-Dlogfile.name={name}.log",
            f"-Dlog4j.configurationFile={folder / 'log4j2' / 'cluster.xml'}",
            f"-Dstorm.log4j2.conf.dir={folder / 'log4j2'}",
            "-Dstorm.options=",
        ]
        libraries = f"{folder / 'lib-worker'}/*:{folder / 'conf'}"
        command = [
            *(str(self.config.home.java), *_DAEMON_OPTIONS, *options),
            *("-cp", libraries, _MAINS[name], *map(str, arguments)),
        ]
        self._running().start(name, command, environ=environ, cwd=folder, output=self.logs / f"{name}.out")

    def _answers(self) -> bool:
        try:
            return bool(self.nimbus.cluster().supervisors)
        except StormError:
            return False

    def _until(self, check: Callable[[], bool], failing: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not check():
            self.check()
            if self._interrupted.wait(_POLL_S):
                raise ClusterError("stopped before the cluster was ready")
            if time.monotonic() > deadline:
                raise ClusterError(f"{failing} after {START_TIMEOUT_S:g} s; logs are in {self.logs}")

    def _drain(self) -> None:
        """Kill the topologies, and wait until their worker JVMs have ended; bounded, and no error is one."""
        if self._processes is None or not all(map(self._processes.runs, _MAINS)):
            return
        workers = self.config.folder / "state" / "workers"
        with suppress(StormError, OSError):
            for line in self.nimbus.topologies():
                with suppress(StormError):
                    self.nimbus.kill(line.name, wait_s=KILL_WAIT_S)
            deadline = time.monotonic() + DRAIN_TIMEOUT_S
            while (self.nimbus.topologies() or any(workers.glob("*"))) and time.monotonic() < deadline:
                time.sleep(_POLL_S)

    def _end(self) -> bool:
        processes, self._processes = self._processes, None
        return processes is None or processes.end()

    def _last(self, name: str) -> str:
        """The last thing that a daemon printed, to put behind an error."""
        with suppress(OSError):
            lines = (self.logs / f"{name}.out").read_text("utf-8", "replace").strip().splitlines()
            return f": {lines[-1][:300]}" if lines else ""
        return ""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _free_ports(slots: int, nimbus: int) -> Ports:
    """Ports that nobody has right now; `nimbus` is taken if it is free."""
    sockets = [socket.socket() for _ in range(slots + 3)]
    try:
        for number, each in enumerate(sockets):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was used until just now is free
            if number == 0 and nimbus:
                with suppress(OSError):
                    each.bind((LOOPBACK, nimbus))
                    continue
            each.bind((LOOPBACK, 0))
        numbers = [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
    return Ports(nimbus=numbers[0], zookeeper=numbers[1], supervisor=numbers[2], slots=tuple(numbers[3:]))
