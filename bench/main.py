"""The command `python -m bench`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench import audit, dashboard, entrypoint_memory, flush, grouping, memory, post, restart, storm, worker_memory
from bench.results import Comparison
from runtime import configure_logging
from streams import TillstreamError


def command(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run just these: post, ndjson, flush, storm, grouping, memory, worker-memory, entrypoint-memory, "
            "audit-memory, restart, dashboard."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of each comparison; the ratio is their median.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Length of a measurement over HTTP.", min=1)] = 8.0,
    frames: Annotated[int, typer.Option(help="Frames of 500 receipts that a worker stores in a round.", min=4)] = 40,
    receipts: Annotated[
        int, typer.Option(help="Receipts that pass by in `memory`; it runs only if asked for.")
    ] = 1_000_000,
    entries: Annotated[
        int, typer.Option(help="Ledger entries in `audit-memory`; it runs only if asked for.", min=1000)
    ] = 600_000,
    below: Annotated[
        int, typer.Option(help="Ledger entries below the checkpoint in `restart`; it runs only if asked for.", min=0)
    ] = 5_000_000,
    above: Annotated[int, typer.Option(help="Ledger entries above the checkpoint in `restart`.", min=1)] = 200_000,
    sessions: Annotated[int, typer.Option(help="Pages open in `dashboard`; it runs only if asked for.", min=1)] = 20,
    minutes: Annotated[float, typer.Option(help="Length of `dashboard`.", min=0.1)] = 1.0,
    rate: Annotated[float, typer.Option(help="Receipts a second in `dashboard`.", min=0.1)] = 200.0,
    storm_receipts: Annotated[
        int,
        typer.Option(
            help="Receipts of each measurement in `storm` and `grouping`; they run only if asked for.", min=1000
        ),
    ] = 10_000,
    to: Annotated[Path | None, typer.Option("--json", help="Write the results there, too.")] = None,
) -> None:
    """Measure ours against its bare counterpart, in turns, on RabbitMQ and FerretDB of the test suite; needs wrk."""
    configure_logging("warning")
    comparisons: dict[str, Callable[[], Comparison]] = {
        "post": lambda: post.singles(rounds, seconds),
        "ndjson": lambda: post.batches(rounds, seconds),
        "flush": lambda: flush.flush(rounds, frames),
    }
    chosen = only or list(comparisons)
    special = {
        "storm",
        "grouping",
        "memory",
        "worker-memory",
        "entrypoint-memory",
        "audit-memory",
        "restart",
        "dashboard",
    }
    unknown = set(chosen) - {*comparisons, *special}
    if unknown:
        raise typer.BadParameter(f"there is no benchmark {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {}
    table = Table("benchmark", "unit", "ours", "bare", "ratio", "target", title="Medians of the rounds")
    for name in chosen:
        if name == "memory":
            results[name] = memory.memory(receipts)
        elif name == "audit-memory":
            results[name] = audit.audit_memory(entries)
        elif name == "restart":
            results[name] = restart.restart(below, above)
        elif name == "worker-memory":
            results[name] = worker_memory.worker_memory()
        elif name == "entrypoint-memory":
            results[name] = entrypoint_memory.entrypoint_memory()
        elif name == "storm":
            results[name] = storm.storm(rounds, storm_receipts)
        elif name == "grouping":
            results[name] = grouping.grouping(rounds, storm_receipts)
        elif name == "dashboard":
            results[name] = dashboard.dashboard(dashboard.Size(sessions=sessions, seconds=minutes * 60, rate=rate))
        else:
            found = comparisons[name]()
            results[name] = found.as_dict()
            table.add_row(
                found.name,
                found.unit,
                f"{sorted(found.ours)[len(found.ours) // 2]:,.0f}",
                f"{sorted(found.bare)[len(found.bare) // 2]:,.0f}",
                f"{found.ratio:.2f}",
                f"{found.target:.2f}",
            )
    if table.row_count:
        Console(stderr=True).print(table)
    print(json.dumps(results, indent=2))
    if to is not None:
        to.write_text(json.dumps(results, indent=2) + "\n")
    if results.get("worker-memory", {}).get("exceeded"):
        sys.exit("error: the worker took more memory than its setting says")
    if exceeded := results.get("entrypoint-memory", {}).get("exceeded"):
        sys.exit(f"error: the entrypoint took more memory than its container may have: {', '.join(exceeded)}")
    if late := results.get("dashboard", {}).get("late"):
        sys.exit(f"error: not updated for more than {dashboard.GAP_LIMIT_SECONDS:g} s: {', '.join(late)}")


def main() -> None:
    """Run it; user mistakes are one line."""
    try:
        typer.run(command)
    except TillstreamError as exc:
        sys.exit(f"error: {exc}")
