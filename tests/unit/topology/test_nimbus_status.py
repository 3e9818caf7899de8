from typing import Any

from streamparse import thrift

from topology.status import cluster_status, topology_status


def _executor(component: str, *, said: bool = True, up_s: int = 3) -> Any:
    stats = thrift.ExecutorStats(emitted={}, transferred={}, specific=thrift.ExecutorSpecificStats(), rate=1.0)
    return thrift.ExecutorSummary(component_id=component, stats=stats if said else None, uptime_secs=up_s)


def _component(executors: int, **counted: Any) -> Any:
    error = counted.pop("error", None)
    specific = counted.pop("specific", None)
    return thrift.ComponentAggregateStats(
        common_stats=thrift.CommonAggregateStats(num_executors=executors, **counted),
        specific_stats=specific,
        last_error=error,
    )


def _page(**changed: Any) -> Any:
    spout = thrift.SpecificAggregateStats(spout=thrift.SpoutAggregateStats(complete_latency_ms=12.5))
    bolt = thrift.SpecificAggregateStats(bolt=thrift.BoltAggregateStats(process_latency_ms=3.0))
    fields = {
        "id": "t-1-99",
        "name": "t",
        "uptime_secs": 60,
        "status": "ACTIVE",
        "num_workers": 2,
        "num_executors": 3,
        "id_to_spout_agg_stats": {"receipts": _component(1, emitted=10, acked=8, failed=1, specific=spout)},
        "id_to_bolt_agg_stats": {
            "totals": _component(1),
            "ledger": _component(1, emitted=4, acked=8, specific=bolt),
        },
    }
    return thrift.TopologyPageInfo(**fields | changed)


def _info(*, ledger: Any = None, errors: dict[str, list[Any]] | None = None) -> Any:
    executors = [_executor("receipts"), ledger or _executor("ledger"), _executor("totals")]
    return thrift.TopologyInfo(executors=executors, errors=errors or {})


def test_a_cluster_lists_topologies_by_name_and_supervisors() -> None:
    """What Thrift says, in our words."""
    found = cluster_status(
        thrift.ClusterSummary(
            topologies=[
                thrift.TopologySummary(
                    id=f"{n}-1", name=n, status="ACTIVE", uptime_secs=5, num_workers=1, num_executors=4, num_tasks=4
                )
                for n in "ba"
            ],
            supervisors=[thrift.SupervisorSummary(host="h", uptime_secs=7, num_workers=2, num_used_workers=1)],
        )
    )
    assert [line.name for line in found.topologies] == ["a", "b"]
    assert (found.supervisors[0].slots, found.supervisors[0].used) == (2, 1)


def test_components_are_spouts_then_bolts_with_their_figures() -> None:
    """A figure that Storm does not have yet is 0, a latency is None."""
    found = topology_status(_page(), _info(), now=0)
    assert [(each.name, each.kind) for each in found.components] == [
        ("receipts", "spout"),
        ("ledger", "bolt"),
        ("totals", "bolt"),
    ]
    spout, ledger, totals = found.components
    assert (spout.emitted, spout.acked, spout.failed, spout.latency_ms) == (10, 8, 1, 12.5)
    assert (ledger.acked, ledger.failed, ledger.latency_ms) == (8, 0, 3.0)
    assert (totals.emitted, totals.latency_ms, totals.error) == (0, None, None)


def test_it_runs_when_it_is_active_and_every_executor_is_up() -> None:
    """Not before each has sent heartbeats for some seconds, and not while it is killed or rebalanced."""
    assert topology_status(_page(), _info(), now=0).runs
    assert not topology_status(_page(), _info(ledger=_executor("ledger", said=False)), now=0).runs
    assert not topology_status(_page(), _info(ledger=_executor("ledger", up_s=2)), now=0).runs
    assert not topology_status(_page(status="KILLED"), _info(), now=0).runs
    assert not topology_status(_page(num_executors=0), thrift.TopologyInfo(executors=[]), now=0).runs


def test_what_failed_just_now_does_not_run() -> None:
    """Storm starts it again; whether that helps shows after some seconds."""
    errors = {"totals": [thrift.ErrorInfo(error="no module named x", error_time_secs=100)]}
    assert not topology_status(_page(), _info(errors=errors), now=110).runs
    assert topology_status(_page(), _info(errors=errors), now=120).runs


def test_the_last_error_of_a_component_is_told_by_its_first_line() -> None:
    """Wherever Storm keeps it; its age is told in seconds."""
    errors = {
        "ledger": [
            thrift.ErrorInfo(error="older", error_time_secs=50),
            thrift.ErrorInfo(error="the store is away\n\tat java…", error_time_secs=90),
        ]
    }
    ledger = topology_status(_page(), _info(errors=errors), now=100).components[1]
    assert (ledger.error, ledger.error_age_s) == ("the store is away", 10)
