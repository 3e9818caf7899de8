import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.topology import probe
from tests.servers.storm import StormServer
from topology.errors import TopologyExistsError, TopologyMissingError
from topology.status import TopologyStatus

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]

CONF: dict[str, Any] = {
    "topology.workers": 1,
    "topology.acker.executors": 1,
    "topology.max.spout.pending": 100,
    "topology.message.timeout.secs": 30,
    "topology.stats.sample.rate": 1.0,
}
#: The probe's own code, as its worker finds it.
CODE = {"tests/integration/topology/probe.py": Path(probe.__file__).read_bytes()}


def _until(check: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The answer of `check`, once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := check()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return answer


def _acked(status: TopologyStatus) -> int:
    return next(each.acked for each in status.components if each.name == "numbers")


@pytest.fixture
def running(storm_cluster: StormServer) -> Iterator[str]:
    """The name of the probe's topology, running."""
    storm_cluster.submit("probe", probe.Probe.thrift_topology, CONF, extra=CODE)
    yield "probe"
    if any(line.name == "probe" for line in storm_cluster.nimbus.topologies()):
        storm_cluster.kill("probe")


def test_a_topology_runs_is_listed_and_ends(storm_cluster: StormServer, running: str) -> None:
    """Submitted with the jar: each component is a process of its own, tuples are acknowledged, a kill ends them all."""
    storm, nimbus = storm_cluster, storm_cluster.nimbus
    assert [line.name for line in nimbus.topologies()] == ["probe"]
    assert len(storm.worker_pids()) == 1
    assert len(storm.component_pids("Numbers")) == 1
    assert len(storm.component_pids("Sink")) == 2

    _until(lambda: _acked(nimbus.status("probe")) > 1000)
    found = nimbus.status("probe")
    assert found.runs
    assert [(each.name, each.kind, each.executors) for each in found.components] == [
        ("numbers", "spout", 1),
        ("sink", "bolt", 2),
    ]
    assert found.components[0].failed == 0
    assert found.components[0].latency_ms is not None

    with pytest.raises(TopologyExistsError, match="'probe' is there already"):
        nimbus.submit("probe", storm.cluster.config.folder / "probe.jar", probe.Probe.thrift_topology, CONF)

    storm.kill("probe")
    assert nimbus.topologies() == ()
    _until(lambda: not storm.worker_pids() and not storm.component_pids("Numbers"))
    with pytest.raises(TopologyMissingError, match="no topology 'probe' runs at 127"):
        nimbus.status("probe")
    with pytest.raises(TopologyMissingError):
        nimbus.kill("probe")


def test_workers_go_on_without_their_supervisor(storm_cluster: StormServer, running: str) -> None:
    """A Supervisor that was killed finds its worker JVMs again: they and their components are the same processes."""
    storm = storm_cluster
    before = storm.worker_pids(), storm.component_pids("Numbers"), storm.component_pids("Sink")
    storm.cluster.kill_supervisor()
    assert (storm.worker_pids(), storm.component_pids("Numbers"), storm.component_pids("Sink")) == before
    storm.cluster.start_supervisor()
    acked = _acked(storm.nimbus.status("probe"))
    _until(lambda: _acked(storm.nimbus.status("probe")) > acked)
    assert (storm.worker_pids(), storm.component_pids("Numbers"), storm.component_pids("Sink")) == before


def test_a_paused_topology_takes_nothing(storm_cluster: StormServer, running: str) -> None:
    """Deactivated, its spouts are asked no more; activated, they go on where they were."""
    nimbus = storm_cluster.nimbus

    def stands_still() -> bool:
        before = _acked(nimbus.status("probe"))
        time.sleep(3)  # otherwise it counts thousands meanwhile, and Nimbus hears of them each second
        return _acked(nimbus.status("probe")) == before

    nimbus.deactivate("probe")
    assert nimbus.status("probe").status == "INACTIVE"
    _until(stands_still)
    nimbus.activate("probe")
    _until(lambda: nimbus.status("probe").status == "ACTIVE")
    acked = _acked(nimbus.status("probe"))
    _until(lambda: _acked(nimbus.status("probe")) > acked)
    with pytest.raises(TopologyMissingError):
        nimbus.deactivate("nobody")
