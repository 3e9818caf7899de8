"""`python -m bench.faults`."""

import json
import random
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.faults.campaign import CampaignError, CampaignOptions, play
from bench.faults.plan import CLUSTER_KINDS, USUAL_KINDS, Kind, Pace
from bench.faults.report import as_dict, failures, show
from bench.faults.stage import StageOptions
from bench.faults.traffic import TrafficOptions
from runtime import configure_logging, run
from tests.servers.ferret import FerretMissingError
from tests.servers.rabbit import RabbitMissingError

_KINDS = {kind.name.lower().replace("_", "-"): kind for kind in Kind}


def command(
    minutes: Annotated[float, typer.Option(help="Of traffic with faults; a minute or two come on top.", min=0.1)] = 15,
    seed: Annotated[int | None, typer.Option(help="Of traffic and faults; any, and said, by default.")] = None,
    rate: Annotated[float, typer.Option(help="Receipts a second.", min=1)] = 80,
    disks: Annotated[bool, typer.Option(help="Put the servers on small disks that can be filled (as root).")] = True,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="RabbitMQ on three nodes, one of which is hit at a time.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Just these kinds: {', '.join(_KINDS)}.", metavar="KIND")
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Keep the processes' logs in this folder.")] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the report there, too.")] = None,
) -> None:
    """Break things for some minutes; ends with 1 unless nothing was lost and nothing counted twice."""
    configure_logging("error")
    if unknown := set(only or ()) - _KINDS.keys():
        raise typer.BadParameter(f"there is no fault {', '.join(sorted(unknown))}")
    if cluster and {_KINDS[name] for name in only or ()} - set(CLUSTER_KINDS):
        raise typer.BadParameter("that fault is not one of a cluster")
    kinds = [_KINDS[name] for name in only] if only else CLUSTER_KINDS if cluster else USUAL_KINDS
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    began = time.monotonic()
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", file=sys.stderr, flush=True)

    say(f"seed {chosen}")
    options = CampaignOptions(
        seed=chosen,
        seconds=minutes * 60,
        traffic=TrafficOptions(rate=rate),
        stage=StageOptions(disks=disks and not cluster, cluster=cluster, logs=logs),
        pace=Pace(kinds=kinds),
    )
    try:
        outcome = run(play(options, say))
    except (CampaignError, RabbitMissingError, FerretMissingError) as exc:
        sys.exit(f"error: {exc}")
    show(outcome)
    report = json.dumps(as_dict(outcome, _command(chosen)), indent=2)
    print(report)
    if to is not None:
        to.write_text(report + "\n")
    if failures(outcome):
        sys.exit(1)


def _command(seed: int) -> str:
    given = sys.argv[1:]
    return shlex.join(["python", "-m", "bench.faults", *given, *(() if "--seed" in given else ("--seed", str(seed)))])


if __name__ == "__main__":
    typer.run(command)
