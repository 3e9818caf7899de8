"""`tillstream password`: a line for the file of those who may log in to the dashboard."""

import getpass
import sys
from typing import Annotated

import typer

from dashboard.passwords import check_name, line
from streams.errors import ConfigurationError


def password(name: Annotated[str, typer.Argument(help="The name to log in with.", show_default=False)]) -> None:
    """Ask for a password and print the line for TILLSTREAM_DASHBOARD_USERS_FILE.

    The password is asked for twice and not shown; without a terminal it is one line of the standard input. The line
    holds a hash of it (scrypt) from which it cannot be read back.
    """
    check_name(name)  # before anybody types a password for it
    typer.echo(line(name, _asked() if sys.stdin.isatty() else _piped()))


def _asked() -> str:
    try:
        given = getpass.getpass("Password: ")
        again = getpass.getpass("The same again: ")
    except (EOFError, KeyboardInterrupt):
        raise typer.Abort from None
    if given != again:
        raise ConfigurationError("the two passwords differ: nothing was made")
    return given


def _piped() -> str:
    return sys.stdin.readline().rstrip("\r\n")
