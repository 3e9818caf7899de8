"""Nimbus, which runs a Storm cluster, as seen from outside: submit, kill, pause, list, status. Blocking, over Thrift.

Only the definitions of Storm's Thrift interface come from streamparse; its own commands want project files, SSH and
Fabric, and print while they work. What Nimbus answers becomes plain objects of `topology.status` here.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from streamparse import thrift
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.thrift import TException
from thriftpy2.transport import TFramedTransportFactory, TTransportException

from topology.errors import (
    NimbusRefusedError,
    NimbusUnavailableError,
    StormError,
    TopologyExistsError,
    TopologyMissingError,
)
from topology.status import ClusterStatus, TopologyLine, TopologyStatus, cluster_status, topology_status

#: Nimbus takes messages up to 1 MiB unless told otherwise.
_CHUNK_BYTES = 256 << 10
#: How often a wait for Nimbus asks again.
_POLL_S = 0.5
#: All that was counted since the topology was submitted: Storm's name of that window.
_ALL_TIME = ":all-time"


@dataclass(frozen=True, slots=True)
class NimbusAddress:
    """Where a Nimbus listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Nimbus:
    """A Nimbus to talk to; each call is a connection of its own, so nothing has to be closed.

    All methods raise NimbusUnavailableError when none answers, NimbusRefusedError when it answers with a refusal.

    Arguments:
        address: where it listens.
        timeout_s: how long one answer may take.
    """

    def __init__(self, address: NimbusAddress, *, timeout_s: float = 30.0) -> None:
        self.address = address
        self._timeout_s = timeout_s

    def cluster(self) -> ClusterStatus:
        """The topologies and Supervisors of the cluster."""
        with self._connected() as client:
            return cluster_status(client.getClusterInfo())

    def topologies(self) -> tuple[TopologyLine, ...]:
        """All topologies, also those that are being killed."""
        return self.cluster().topologies

    def status(self, name: str) -> TopologyStatus:
        """What a topology does. Raises TopologyMissingError."""
        with self._connected() as client:
            found = self._find(client, name)
            page = client.getTopologyPageInfo(found.id, _ALL_TIME, False)
            info = client.getTopologyInfo(found.id)
        return topology_status(page, info, now=time.time())

    def submit(self, name: str, jar: Path, topology: Any, conf: Mapping[str, Any]) -> None:
        """Upload a jar and start a topology from it.

        Arguments:
            topology: a `StormTopology` of streamparse's Thrift definitions.
            conf: its configuration, as JSON can say it. Nimbus keeps it and shows it to anybody who asks: no secrets.
        Raises TopologyExistsError; OSError when the jar cannot be read.
        """
        with self._connected() as client:
            if any(line.name == name for line in cluster_status(client.getClusterInfo()).topologies):
                raise TopologyExistsError(f"a topology {name!r} is there already")
            if not client.isTopologyNameAllowed(name):
                raise NimbusRefusedError(f"{name!r} cannot be the name of a topology")
            location = self._upload(client, jar)
            options = thrift.SubmitOptions(initial_status=thrift.TopologyInitialStatus.ACTIVE)
            client.submitTopologyWithOpts(name, location, json.dumps(dict(conf)), topology, options)

    def kill(self, name: str, *, wait_s: int | None = None) -> None:
        """Have a topology stopped; returns at once.

        Its spouts stop first; after `wait_s` (by default the topology's message time-out) all the rest does.
        Raises TopologyMissingError.
        """
        with self._connected() as client:
            client.killTopologyWithOpts(self._find(client, name).name, thrift.KillOptions(wait_secs=wait_s))

    def deactivate(self, name: str) -> None:
        """Have a topology's spouts take nothing more until `activate`; returns at once. Raises TopologyMissingError."""
        with self._connected() as client:
            client.deactivate(self._find(client, name).name)

    def activate(self, name: str) -> None:
        """Have its spouts go on; returns at once. Raises TopologyMissingError."""
        with self._connected() as client:
            client.activate(self._find(client, name).name)

    def until_gone(self, name: str, timeout_s: float, stopping: Callable[[], bool] = lambda: False) -> None:
        """Wait until no topology has this name. Raises StormError after `timeout_s`, or once `stopping()`."""

        def gone() -> bool:
            return all(line.name != name for line in self.topologies())

        self._until(gone, timeout_s, stopping, lambda: f"{name!r} is still there")

    def until_running(self, name: str, timeout_s: float, stopping: Callable[[], bool] = lambda: False) -> None:
        """Wait until all of a topology runs. Raises StormError after `timeout_s`, or once `stopping()`."""
        seen: list[TopologyStatus] = []

        def runs() -> bool:
            seen[:] = [self.status(name)]
            return seen[0].runs

        def failing() -> str:
            errors = [f"; {each.name}: {each.error}" for one in seen for each in one.components if each.error]
            return f"not all of {name!r} runs yet{''.join(errors)}"

        self._until(runs, timeout_s, stopping, failing)

    @staticmethod
    def _until(
        check: Callable[[], bool], timeout_s: float, stopping: Callable[[], bool], failing: Callable[[], str]
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not check():
            if stopping():
                raise StormError(f"stopped; {failing()}")
            if time.monotonic() > deadline:
                raise StormError(f"after {timeout_s:g} s {failing()}")
            time.sleep(_POLL_S)

    def _find(self, client: Any, name: str) -> TopologyLine:
        for line in cluster_status(client.getClusterInfo()).topologies:
            if line.name == name:
                return line
        raise TopologyMissingError(f"no topology {name!r} runs at {self.address}")

    @staticmethod
    def _upload(client: Any, jar: Path) -> str:
        location: str = client.beginFileUpload()
        with jar.open("rb") as content:
            while chunk := content.read(_CHUNK_BYTES):
                client.uploadChunk(location, chunk)
        client.finishFileUpload(location)
        return location

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connected client; whatever goes wrong with it becomes an error of ours."""
        client = None
        try:
            client = make_client(
                thrift.Nimbus,
                host=self.address.host,
                port=self.address.port,
                proto_factory=TBinaryProtocolFactory(),
                trans_factory=TFramedTransportFactory(),
                timeout=int(self._timeout_s * 1000),
            )
            yield client
        except (TException, TimeoutError, ConnectionError, socket.gaierror, EOFError) as exc:
            self._translate(exc)
        finally:
            if client is not None:
                client.close()

    def _translate(self, exc: BaseException) -> NoReturn:
        reason = _reason(exc)
        match exc:
            case thrift.AlreadyAliveException():
                raise TopologyExistsError(reason) from exc
            case thrift.NotAliveException():
                raise TopologyMissingError(reason) from exc
            case thrift.InvalidTopologyException() | thrift.AuthorizationException():
                raise NimbusRefusedError(f"Nimbus at {self.address} refused: {reason}") from exc
        raise NimbusUnavailableError(f"no Nimbus answers at {self.address}: {reason}") from exc


def _reason(exc: BaseException) -> str:
    """The first line of what an error says; of a connection that was never made, what the system said."""
    if isinstance(exc, TTransportException) and isinstance(exc.__context__, OSError):
        return exc.__context__.strerror or str(exc.__context__)
    text = getattr(exc, "msg", None) or getattr(exc, "message", None) or str(exc) or type(exc).__name__
    return str(text).strip().splitlines()[0] if str(text).strip() else type(exc).__name__
