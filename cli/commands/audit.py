"""`tillstream audit`: do the stored data add up?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from broker.protocol import Broker
from cli.audit_progress import audit_progress
from cli.maintenance import RABBITMQ_LAG_S, is_embedded, opened_broker, opened_store, topology_of
from cli.options import takes_settings
from cli.roles import stream_of
from cli.settings import Settings
from engine import AuditReport, Rebuilt, Repaired, unrest
from engine import audit as audit_store
from engine import rebuild as rebuild_store
from engine import repair as repair_store
from runtime import masked, run
from store.protocol import EventQuery, Store
from streams import ConfigurationError, TillstreamError


@takes_settings("data", "broker", "store", "timezone")
def audit(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="First count stored events of frames that were lost; only at rest.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First make the totals anew from the stored receipts; only at rest.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(help="Look only at receipts of this business day and later ones: 2026-11-21.", metavar="DAY"),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="End with 0 if nothing is stored; otherwise with 1.")
    ] = False,
) -> None:
    """Check from the stored data that every event is counted exactly once.

    Each ledger entry has to be the fold of the events that its frame owns, each writer's entries have to be numbered
    without gaps, and the totals have to be, day by day, the sum of the stored events. It may run beside traffic; what
    comes in meanwhile is left out. Ends with 1 if anything differs, or if the store is empty: it is
    likely another store than the one that was meant.

    --since DAY looks at the receipts of that day and later ones, at the totals of these days, and at the ledger entries
    that may hold them: the receipts of earlier days and the numbers of the entries are not looked at.

    --repair writes the ledger entries of frames that own stored events, and that no queue holds any more. It needs the
    system at rest: nothing in the work queue or among the dead letters, and no worker connected.

    --rebuild makes the totals of all days anew from the stored receipts, at rest as well, and swaps them in at once. It
    may be ended and run again; it goes on where it was.
    """
    if since is not None:
        _check_day(since)
    if repair:
        _print_repaired(run(_repair(settings)))
    if rebuild:
        _print_rebuilt(run(_rebuild(settings)))
    report = run(_audit(settings, since))
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    empty = not (report.events or report.entries or report.differences) and run(_is_empty(settings))
    if not as_json:
        _print(report, settings, empty=empty)
    if report.differences or (empty and not allow_empty):
        raise typer.Exit(1)


def _check_day(text: str) -> None:
    """Raises ConfigurationError for what is no day."""
    try:
        if date.fromisoformat(text).isoformat() == text:
            return
    except ValueError:
        pass
    raise ConfigurationError(f"--since: expected a day such as 2026-11-21, not {text[:40]!r}")


async def _audit(settings: Settings, since: str | None) -> AuditReport:
    async with opened_store(settings) as store:
        with audit_progress() as progress:
            return await audit_store(store, stream_of(settings), since=since, progress=progress)


@asynccontextmanager
async def _at_rest(settings: Settings, flag: str) -> AsyncIterator[tuple[Store, Broker]]:
    """Store and broker of a system at rest. Raises TillstreamError if it is not."""
    async with opened_store(settings) as store, opened_broker(settings, f"audit {flag}") as broker:
        stable_s = 0.0 if is_embedded(settings) else RABBITMQ_LAG_S
        if reasons := await unrest(broker, topology_of(settings), stable_s=stable_s):
            raise TillstreamError(f"not at rest, nothing was changed: {'; '.join(reasons)}")
        yield store, broker


async def _repair(settings: Settings) -> Repaired:
    async with _at_rest(settings, "--repair") as (store, broker):
        with audit_progress() as progress:
            return await repair_store(store, broker, stream_of(settings), progress=progress)


async def _rebuild(settings: Settings) -> Rebuilt:
    async with _at_rest(settings, "--rebuild") as (store, _):
        with audit_progress() as progress:
            return await rebuild_store(store, stream_of(settings), progress=progress)


def _print_rebuilt(rebuilt: Rebuilt) -> None:
    resumed = f"; {rebuilt.resumed} days were done before" if rebuilt.resumed else ""
    typer.echo(f"the totals of {len(rebuilt.days)} days were made anew from {rebuilt.events} events{resumed}", err=True)


def _print_repaired(repaired: Repaired) -> None:
    for frame, events in repaired.counted.items():
        typer.echo(f"counted {events} events of frame {frame}", err=True)
    for frame, why in repaired.left.items():
        typer.echo(f"left frame {frame} as it is: {why}", err=True)
    typer.echo(f"{len(repaired.counted)} frames repaired", err=True)


OPEN_HINT = (
    "A frame without a ledger entry waits in receipts.work for a worker, or is a dead letter (`tillstream rejected "
    "list --reason poison`; replay it), or was lost (`tillstream audit --repair` counts what of it is stored)."
)


async def _is_empty(settings: Settings) -> bool:
    """Whether nothing was ever stored or added up: a quiet day is not an empty store."""
    stream = stream_of(settings)
    async with opened_store(settings) as store:
        return not await store.events(stream.name, EventQuery(limit=1)) and await store.head(stream.name) is None


def _print(report: AuditReport, settings: Settings, *, empty: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"audited {masked(settings.store)}", markup=False)
    if empty:
        console.print("the store is empty")
        return
    dropped = f" ({report.dropped} without their tally, dropped below the checkpoint)" if report.dropped else ""
    console.print(
        f"{report.events} events on {report.days} days"
        f"{f' since {report.since}' if report.since else ''}, {report.entries} ledger entries{dropped}"
        f"{'' if report.since else f' of {report.writers} writers'}"
    )
    if not report.differences:
        console.print("[green]everything adds up[/green]")
        return
    for text in report.listed:
        console.print(f"[red]differs[/red] {escape(text)}", markup=True)
    if report.open:
        console.print(OPEN_HINT)
    more = report.differences - len(report.listed)
    console.print(f"{report.differences} differences" + (f", {more} of them not listed" if more else ""))
