"""The `tillstream` command: the table of its commands, and what happens to their errors.

How a command is made: it is a function of a module in `cli/commands/`, with a row in `COMMANDS` below. The module is
imported only when its command is called, so `tillstream --help` stays fast and a command needs only its own parts.
The function's parameters are flags and arguments in typer's way; `cli.options.takes_settings` gives it the settings
and their flags; its docstring is its long help. To end with bad news that is no error, raise `typer.Exit(1)`.
"""

import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cli.options import Invocation
from streams.errors import TillstreamError

#: A mistake of the user's, or a server that is not there: the message says it all.
EXIT_ERROR = 2
#: 128 + SIGINT, as shells have it; typer exits with the same after an interrupt.
EXIT_INTERRUPTED = 130
#: 128 + SIGPIPE: whoever read our output has gone before its end.
EXIT_BROKEN_PIPE = 141
#: Errors of writing to a file that was opened before; the commands' own files are named in their errors.
_OF_WRITING = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's function is (`module:function`), and its one line in `tillstream --help`.

    In place of a function there may be a `typer.Typer` of several commands.
    """

    target: str
    help: str

    def load(self) -> Callable[..., Any] | typer.Typer:
        """Import it."""
        module, _, name = self.target.partition(":")
        found: Callable[..., Any] | typer.Typer = getattr(importlib.import_module(module), name)
        return found


COMMANDS: Mapping[str, Command] = {
    "up": Command("cli.commands.serve:up", "Run everything in one process, with nothing else installed."),
    "entrypoint": Command("cli.commands.serve:entrypoint", "Run the HTTP entrypoint: events come in here."),
    "worker": Command("cli.commands.serve:worker", "Run a worker: stores events and counts them. Run many."),
    "totals": Command("cli.commands.serve:totals", "Run the totals: merges what workers counted and publishes it."),
    "dashboard": Command("cli.commands.dashboard:dashboard", "Serve the page alone, to whatever totals there are."),
    "generate": Command("cli.commands.feeds:generate", "Make receipts like those of a chain of bakeries."),
    "post": Command("cli.commands.feeds:post", "Send a file of receipts."),
    "watch": Command("cli.commands.watch:watch", "Print what is published, live."),
    "audit": Command("cli.commands.audit:audit", "Check from the stored data that every event is counted once."),
    "password": Command("cli.commands.password:password", "Make a line for the file of the dashboard's users."),
    "rejected": Command("cli.commands.rejected:app", "See what was rejected: list, show, replay, discard."),
    "store": Command("cli.commands.store:app", "See which store this is; renew one that was restored."),
    "definitions": Command("cli.commands.definitions:print_definitions", "Print what RabbitMQ has to be told."),
    "topology": Command("cli.commands.topology:app", "Run the Storm engine: jar, submit, list, status, kill, local."),
    "config": Command("cli.commands.config:config", "Show the effective settings and where each comes from."),
    "version": Command("cli.commands.config:version", "Show the versions of Tillstream and of what it stands on."),
}


def build(arguments: Sequence[str], *, rich: bool) -> typer.Typer:
    """The application, with only the called command's module imported; the others are known by name and help.

    Arguments:
        rich: draw help and usage errors with colours and boxes, for a terminal.
    """
    app = typer.Typer(
        name="tillstream",
        help="Takes the events of tills, never loses or double-counts one, and shows what they add up to.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if rich else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        if name == called:
            _add(app, name, command)
        else:
            app.command(name, help=command.help)(_not_called)
    app.callback()(_root)
    return app


def _add(app: typer.Typer, name: str, command: Command) -> None:
    """Add the command that is called: a function, or an application of several with a word of their own each."""
    found = command.load()
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = app.rich_markup_mode
        app.add_typer(found, name=name, short_help=command.help)
    else:
        app.command(name, short_help=command.help)(found)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run the command line, and exit. Process entry: the only reader of `sys.argv` and `os.environ`.

    Exits with 0; 1 where a command says so or a bug shows its traceback; 2 for a user's mistake, a server that is not
    there, or an error of the machine such as a full disk, in one line; 130 after an interrupt.
    """
    _open_standard_streams()
    arguments = list((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    environ = dict(os.environ) if environ is None else environ
    rich = sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    app = build(arguments, rich=rich)
    try:
        code = app(args=arguments, prog_name="tillstream", standalone_mode=False, obj=Invocation(environ=environ))
        sys.stdout.flush()
    except TillstreamError as exc:
        _say(str(exc) or type(exc).__name__, colour=rich)
        code = EXIT_ERROR
    except typer.TyperException as exc:
        context = getattr(exc, "ctx", None)
        _say(f"{exc.format_message()} (try `{context.command_path if context else 'tillstream'} --help`)", colour=rich)
        code = EXIT_ERROR
    except typer.Abort:  # a prompt that got no answer
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    except SystemExit as exc:  # typer's own end after a broken pipe, with a status that ours use for bad news
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        code = EXIT_BROKEN_PIPE
    except OSError as exc:  # the machine's: a full disk, a file that may not be written
        _say(_words(exc), colour=rich)
        code = EXIT_ERROR
    _give_output_up()
    sys.exit(code or 0)


def _open_standard_streams() -> None:
    """Open what stands for a standard stream that is closed, so that no other file gets its number.

    Input cannot be read then, and output cannot be written: a command that needs one says so, a service just runs.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  # open until the end, as the next ones
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _words(error: OSError) -> str:
    """The machine's error in one line, with the file that it is about."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"the output cannot be written: {reason}" if error.errno in _OF_WRITING else reason


def _give_output_up() -> None:
    """Throw away what cannot be written: the interpreter would try again at its end, and show a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(error: str, *, colour: bool) -> None:
    """Say an error in one line on stderr."""
    label = "\x1b[1;31merror:\x1b[0m" if colour and sys.stderr.isatty() else "error:"
    with suppress(OSError):  # nobody hears it; the exit code remains
        print(label, " ".join(error.split()), file=sys.stderr)


def _not_called() -> None:
    """Stands for a command whose module is not imported."""


def _root() -> None:
    """Makes typer keep the commands' names, however many there are."""


if __name__ == "__main__":
    main()
