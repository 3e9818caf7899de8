"""`tillstream config` and `tillstream version`: what is this process made of, and what was it told."""

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.options import takes_settings
from cli.settings import SETTINGS, Loaded, Settings
from streams.errors import ConfigurationError

LIBRARIES = ("aiohttp", "uvloop", "aio-pika", "motor", "pymongo", "msgspec", "panel", "bokeh")

#: Columns where there is no terminal: a file or a pipe has no edge at which to break a line.
WIDE = 10_000


@takes_settings(*(row.name for row in SETTINGS), uses_store=False)
def config(
    settings: Settings,
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show every setting's effective value and where it comes from; passwords are masked.

    Takes all flags, so that a command line can be tried out before it is used. Settings that every command
    with a store would refuse are warned about.
    """
    _warn(loaded)
    rows = [(row, row.shown(getattr(settings, row.name)), loaded.origins[row.name]) for row in SETTINGS]
    if as_json:
        content = {
            row.name: {"value": value, "origin": origin, "variable": row.variable} for row, value, origin in rows
        }
        typer.echo(msgspec.json.format(msgspec.json.encode(content)))
        return
    # Text, not str: brackets in a path or an IPv6 address are no markup.
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for row, value, origin in rows:
        style = "dim" if origin == "default" else "cyan"
        table.add_row(Text(row.name), Text(value), Text(origin, style=style))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _warn(loaded: Loaded) -> None:
    """Say on stderr what the commands that open the store would refuse."""
    try:
        loaded.check_store()
    except ConfigurationError as exc:
        typer.echo(f"warning: {exc}", err=True)


def version() -> None:
    """Show the versions of Tillstream, of Python and of the libraries that matter when something looks wrong."""
    typer.echo(f"tillstream {_installed('tillstream')}")
    typer.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    typer.echo(f"SQLite {sqlite3.sqlite_version}")
    for name in LIBRARIES:
        typer.echo(f"{name} {_installed(name)}")


def _installed(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"
