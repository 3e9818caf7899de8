"""What Nimbus tells about a cluster and a topology, as plain objects. Pure: Thrift's structures in, ours out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: An executor that has been up for so long runs, seconds: one whose process cannot start takes its worker JVM along
#: before. (Executors send heartbeats from their first moment on; that they are ready, Storm does not tell.)
SETTLED_S = 3
#: How long after an error a topology is not said to run, seconds: what failed is started again, and may fail again.
TROUBLED_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyLine:
    """One topology of a cluster, in short. `status` is Storm's word: ACTIVE, INACTIVE, REBALANCING, KILLED."""

    name: str
    id: str
    status: str
    uptime_s: int
    workers: int
    executors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorLine:
    """One Supervisor of a cluster: how many worker JVMs it may run (`slots`), and how many it does."""

    host: str
    uptime_s: int
    slots: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A cluster: its topologies by name, and its Supervisors."""

    topologies: tuple[TopologyLine, ...]
    supervisors: tuple[SupervisorLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """A spout or bolt, all its executors together.

    Attributes:
        running: how many of its executors have been up for some seconds.
        emitted, acked, failed: tuples since the topology was submitted, as sampled by Storm.
        latency_ms: of a spout from emitting to the last ack, of a bolt from receiving to acking; None: nothing yet.
        error: the first line of the last error, None: none.
        error_age_s: how long ago that was, in seconds.
    """

    name: str
    kind: str
    executors: int
    running: int
    emitted: int
    acked: int
    failed: int
    latency_ms: float | None
    error: str | None
    error_age_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyStatus:
    """A topology: what it is made of and how it fares. Components: spouts first, then bolts, by name."""

    name: str
    id: str
    status: str
    uptime_s: int
    workers: int
    executors: int
    running: int
    components: tuple[ComponentStatus, ...]

    @property
    def runs(self) -> bool:
        """Whether all of it works: active, each executor is up, Storm's own included, and none failed just now."""
        troubled = any(each.error_age_s is not None and each.error_age_s < TROUBLED_S for each in self.components)
        return self.status == "ACTIVE" and self.running == self.executors > 0 and not troubled


def cluster_status(info: Any) -> ClusterStatus:
    """Make it from Thrift's `ClusterSummary`."""
    return ClusterStatus(
        topologies=tuple(
            TopologyLine(
                name=each.name,
                id=each.id,
                status=each.status,
                uptime_s=each.uptime_secs,
                workers=each.num_workers,
                executors=each.num_executors,
            )
            for each in sorted(info.topologies, key=lambda one: str(one.name))
        ),
        supervisors=tuple(
            SupervisorLine(
                host=each.host, uptime_s=each.uptime_secs, slots=each.num_workers, used=each.num_used_workers
            )
            for each in info.supervisors
        ),
    )


def topology_status(page: Any, info: Any, *, now: float) -> TopologyStatus:
    """Make it from Thrift's `TopologyPageInfo` and `TopologyInfo` of one topology.

    Arguments:
        now: epoch seconds, to tell the age of errors.
    """
    running: dict[str, int] = {}
    for executor in info.executors:
        if executor.stats is not None and executor.uptime_secs >= SETTLED_S:
            running[executor.component_id] = running.get(executor.component_id, 0) + 1
    spouts, bolts = page.id_to_spout_agg_stats or {}, page.id_to_bolt_agg_stats or {}
    components = [
        _component(name, kind, stats, running=running.get(name, 0), errors=(info.errors or {}).get(name) or (), now=now)
        for kind, group in (("spout", spouts), ("bolt", bolts))
        for name, stats in sorted(group.items())
    ]
    return TopologyStatus(
        name=page.name,
        id=page.id,
        status=page.status,
        uptime_s=page.uptime_secs or 0,
        workers=page.num_workers or 0,
        executors=page.num_executors or 0,
        running=sum(running.values()),
        components=tuple(components),
    )


def _component(name: str, kind: str, stats: Any, *, running: int, errors: Iterable[Any], now: float) -> ComponentStatus:
    common, specific = stats.common_stats, stats.specific_stats
    latency = None
    if specific is not None:
        latency = specific.spout.complete_latency_ms if specific.spout else None
        latency = specific.bolt.process_latency_ms if specific.bolt else latency
    last = max((stats.last_error, *errors), key=lambda one: one.error_time_secs if one else 0)
    return ComponentStatus(
        name=name,
        kind=kind,
        executors=common.num_executors or 0,
        running=running,
        emitted=common.emitted or 0,
        acked=common.acked or 0,
        failed=common.failed or 0,
        latency_ms=latency or None,
        error=next(iter(last.error.strip().splitlines()), "") if last else None,
        error_age_s=max(0, int(now - last.error_time_secs)) if last else None,
    )
