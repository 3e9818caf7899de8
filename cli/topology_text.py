"""What Storm says about topologies, as text for a terminal."""

from collections.abc import Sequence

from topology.status import ClusterStatus, ComponentStatus, TopologyStatus


def cluster_page(cluster: ClusterStatus) -> str:
    """The topologies of a cluster as a table, and what room there is."""
    slots, used = sum(each.slots for each in cluster.supervisors), sum(each.used for each in cluster.supervisors)
    room = f"supervisors: {len(cluster.supervisors)}; slots: {used} of {slots} used"
    if not cluster.topologies:
        return f"no topology; {room}"
    rows = [
        (each.name, each.status, duration(each.uptime_s), str(each.workers), str(each.executors), each.id)
        for each in cluster.topologies
    ]
    return "\n".join([*table(("topology", "status", "for", "workers", "executors", "id"), rows), "", room])


def status_page(topology: TopologyStatus) -> str:
    """A topology: a line on all of it, a table of its components, then their last errors."""
    rows = [
        (
            each.name,
            each.kind,
            f"{each.running}/{each.executors}",
            f"{each.emitted:,}",
            f"{each.acked:,}",
            f"{each.failed:,}",
            "-" if each.latency_ms is None else f"{each.latency_ms:,.1f}",
        )
        for each in topology.components
    ]
    heads = ("component", "kind", "running", "emitted", "acked", "failed", "ms")
    whole = (
        f"{topology.name} is {topology.status} for {duration(topology.uptime_s)}; workers: {topology.workers}; "
        f"executors: {topology.running} of {topology.executors} run; id: {topology.id}"
    )
    errors = [_error(each) for each in topology.components if each.error is not None]
    return "\n".join([whole, "", *table(heads, rows), *(["", *errors] if errors else [])])


def duration(seconds: int) -> str:
    """A time as a person says it: `42 s`, `12 min`, `3 h 20 min`, `2 d 3 h`."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 1:
        return f"{seconds} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they have to be; numbers to the right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = []
    for row in (heads, *rows):
        cells = (
            text.rjust(width) if rows and rows[0][column][:1].isdigit() else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def _error(component: ComponentStatus) -> str:
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in component.error or "")
    return f"{component.name}, {duration(component.error_age_s or 0)} ago: {text[:500]}"
