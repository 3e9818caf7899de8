"""`tillstream audit`: do the stored data add up?"""

from typing import Annotated

import msgspec
import typer
from rich.console import Console

import store as stores
from cli.options import takes_settings
from cli.roles import stream_of
from cli.settings import Settings
from engine import AuditReport
from engine import audit as audit_store
from runtime import run


@takes_settings("data", "store", "timezone")
def audit(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check from the stored data that every event is counted exactly once.

    Each ledger entry has to be the fold of the events that its frame owns, each writer's entries have to be numbered
    without gaps, and the totals have to be, day by day, the sum of the stored events. It may run beside traffic; what
    comes in meanwhile is left out. Ends with 1 if anything differs.
    """
    report = run(_audit(settings))
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _print(report)
    if report.differences:
        raise typer.Exit(1)


async def _audit(settings: Settings) -> AuditReport:
    store = await stores.connect(settings.store)
    try:
        return await audit_store(store, stream_of(settings))
    finally:
        await store.close()


def _print(report: AuditReport) -> None:
    console = Console(highlight=False, soft_wrap=True)
    dropped = f" ({report.dropped} without their tally, dropped below the checkpoint)" if report.dropped else ""
    console.print(
        f"{report.events} events on {report.days} days, {report.entries} ledger entries{dropped} "
        f"of {report.writers} writers"
    )
    if not report.differences:
        console.print("[green]everything adds up[/green]")
        return
    for text in report.listed:
        console.print(f"[red]differs[/red] {text}", markup=True)
    more = report.differences - len(report.listed)
    console.print(f"{report.differences} differences" + (f", {more} of them not listed" if more else ""))
