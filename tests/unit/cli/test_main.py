"""The command line as a user meets it: help, mistakes, exit codes."""

import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated

import pytest
import typer

from cli import main as cli
from cli.options import takes_settings
from cli.settings import Settings
from streams.errors import TillstreamError

ROOT = Path(__file__).parents[3]


def tillstream(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with no settings but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module in whose `command` a test puts what it needs; `tillstream probe` runs it."""
    module = types.ModuleType("probe_commands")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "COMMANDS", {**cli.COMMANDS, "probe": cli.Command("probe_commands:command", "A probe.")})
    return module


def run(*arguments: str, **environ: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments, environ)
    return caught.value.code if isinstance(caught.value.code, int) else 0


def test_help_names_every_command_without_importing_any() -> None:
    """The list is complete and plain where there is no terminal, and needs none of the commands' own parts."""
    code = (
        "import sys; from cli.main import main\n"
        "try: main(['--help'], {})\n"
        "finally: print([m for m in sys.modules if m in ('aiohttp', 'panel', 'aio_pika', 'motor')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "[]\n"
    for name, command in cli.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert command.help.split(".")[0][:40] in done.stdout
    assert "\x1b" not in done.stdout
    assert "─" not in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The table points to functions that exist, and each says how it is used."""
    assert run(name, "--help") == 0
    assert f"Usage: tillstream {name} " in capsys.readouterr().out


def test_a_command_gets_settings_from_flags_and_environment(probe: types.ModuleType) -> None:
    """Flags of the settings that it names, its own arguments beside them, and all other settings filled in."""
    seen: list[tuple[Settings, int, str]] = []

    @takes_settings("port", "open")
    def command(settings: Settings, name: str, count: Annotated[int, typer.Option(help="How many.")] = 1) -> None:
        seen.append((settings, count, name))

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe", "one", "--port", "1", "--open", "--count", "3", TILLSTREAM_HOST="::1") == 0
    [(settings, count, name)] = seen
    assert (settings.port, settings.open, settings.host, count, name) == (1, True, "::1", 3, "one")


def test_a_commands_help_says_variable_and_default(probe: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """From the one table of settings."""

    @takes_settings("port")
    def command(settings: Settings) -> None:
        """Do something useful."""

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe", "--help") == 0
    output = capsys.readouterr().out
    assert "Do something useful." in output
    assert "TILLSTREAM_PORT" in output
    assert "3000" in output
    assert "--log-level" in output
    assert "--host" not in output


def test_a_setting_that_does_not_exist_is_a_bug_of_the_command() -> None:
    """Found when the module is imported, not when a user asks for it."""
    with pytest.raises(KeyError):
        takes_settings("prot")


def test_our_errors_are_one_line_and_exit_2(probe: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for what a user can mend."""

    def command() -> None:
        raise TillstreamError("the store cannot be reached:\n  connection refused")

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe") == 2
    assert capsys.readouterr().err == "error: the store cannot be reached: connection refused\n"


def test_a_bug_keeps_its_traceback(probe: types.ModuleType) -> None:
    """What we did not foresee goes up as it is, and Python exits with 1."""

    def command() -> None:
        raise ZeroDivisionError

    probe.command = command  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"], {})


def test_a_command_can_end_with_bad_news(probe: types.ModuleType) -> None:
    """`typer.Exit(1)` is the exit code, with nothing printed."""

    def command() -> None:
        raise typer.Exit(1)

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe") == 1


def test_an_interrupt_exits_130(probe: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """As shells have it, without a traceback."""

    def command() -> None:
        raise KeyboardInterrupt

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe") == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["config", "--port", "x"], "error: --port: expected a whole number from 0 to 65535, not 'x'\n"),
        (["confg"], "error: No such command 'confg'. Did you mean 'config'? (try `tillstream --help`)\n"),
        (["config", "--prot", "1"], "error: No such option: --prot"),
        (["version", "extra"], "error: Got unexpected extra argument(s) (extra) (try `tillstream version --help`)\n"),
    ],
)
def test_mistakes_exit_2_without_a_traceback(arguments: list[str], says: str) -> None:
    """One line on stderr; stdout stays empty."""
    done = tillstream(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_without_arguments_the_help_is_shown() -> None:
    """A person who knows nothing yet learns what there is."""
    done = tillstream()
    assert "Commands:" in done.stdout
    assert done.returncode == 0


def test_config_shows_values_and_origins_with_secrets_masked(tmp_path: Path) -> None:
    """As a table for people."""
    done = tillstream(
        "config", "--data", str(tmp_path), TILLSTREAM_BROKER="amqp://u:hunter2@h/", TILLSTREAM_PORT="3100"
    )
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["broker"] == ["amqp://u:***@h/", "TILLSTREAM_BROKER"]
    assert rows["port"] == ["3100", "TILLSTREAM_PORT"]
    assert rows["currency"] == ["EUR", "default"]
    assert "hunter2" not in done.stdout + done.stderr


def test_config_breaks_no_line_where_there_is_no_terminal(tmp_path: Path) -> None:
    """`tillstream config | grep` finds a setting whole, however long."""
    folder = tmp_path / ("long" * 50)
    lines = tillstream("config", "--data", str(folder)).stdout.splitlines()
    assert any(line.split() == ["data", str(folder), "--data"] for line in lines)


def test_config_as_json_is_for_programs() -> None:
    """Every setting, with its variable."""
    shown = json.loads(tillstream("config", "--json", "--open").stdout)
    assert shown["open"] == {"value": "true", "origin": "--open", "variable": "TILLSTREAM_OPEN"}


@pytest.mark.parametrize(
    "command",
    [
        *(["up"], ["entrypoint"], ["worker"], ["totals"], ["dashboard"], ["audit"], ["audit", "--repair"]),
        *(["rejected", "list"], ["rejected", "show", "x"], ["rejected", "replay"], ["rejected", "discard"]),
        *(["topology", "submit"], ["topology", "local", "--open"]),
    ],
    ids=" ".join,
)
def test_a_shared_broker_without_a_store_is_refused(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store of its own would take receipts out of the system: one line, status 2, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    assert run(*command, TILLSTREAM_BROKER="amqp://u:hunter2@127.0.0.1:1/") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: TILLSTREAM_STORE is not set: ")
    assert error.count("\n") == 1
    assert "hunter2" not in error
    assert list(tmp_path.iterdir()) == []


def test_config_warns_of_a_shared_broker_without_a_store() -> None:
    """It shows the settings all the same: that is how the mistake is found."""
    done = tillstream("config", TILLSTREAM_BROKER="amqp://u:hunter2@127.0.0.1:1/")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: TILLSTREAM_STORE is not set: ")


@pytest.mark.parametrize("command", ["worker", "totals", "entrypoint"])
def test_help_names_no_default_that_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A role alone needs a broker and a store that are shared: its help calls both required."""
    assert run(command, "--help") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "sqlite:<data>" not in output
    assert "TILLSTREAM_STORE; required" in output


def test_an_unknown_variable_is_warned_about() -> None:
    """On stderr, and the command goes on."""
    done = tillstream("config", TILLSTREAM_PROT="1")
    assert done.returncode == 0
    assert "did you mean TILLSTREAM_PORT?" in done.stderr


def test_version_names_what_matters() -> None:
    """Tillstream, Python, SQLite and the drivers."""
    lines = tillstream("version").stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["tillstream", "Python", "SQLite", "aiohttp"]


def test_output_may_be_cut_off_by_its_reader() -> None:
    """`tillstream … | head -1` ends quietly."""
    command = f"{sys.executable} -m cli.main config --json | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_an_error_of_the_machine_is_one_line_and_exit_2(
    probe: types.ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It names the file that it is about."""

    def command() -> None:
        (tmp_path / "no" / "file").write_text("x")

    probe.command = command  # type: ignore[attr-defined]
    assert run("probe") == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/no/file: No such file or directory\n"


@pytest.mark.parametrize(
    "command",
    [["version"], ["definitions"], ["config"], ["config", "--json"], ["--help"], ["worker", "--help"]],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
    ids=["full", "closed"],
)
def test_output_that_cannot_be_written_is_one_line_and_exit_2(
    command: list[str], redirection: str, reason: str
) -> None:
    """Neither a traceback nor silence."""
    shell = f'exec "$0" -m cli.main "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"error: the output cannot be written: {reason}\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As `tillstream definitions | head -1` has it: the status of a broken pipe, and no word."""
    shell = '"$0" -m cli.main definitions; echo $? >&2'
    done = subprocess.Popen(
        ["sh", "-c", shell, sys.executable],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.stdout is not None
    done.stdout.close()
    assert done.stderr is not None
    with done.stderr:
        assert done.stderr.read().strip() == "141"
    done.wait(60)


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_made_is_one_line(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the folder and the way out."""
    (tmp_path / "file").touch()
    folder = tmp_path / where
    assert run("up", "--data", str(folder), "--port", "0", "--dashboard-port", "0") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the data folder {folder} cannot be made: ")
    assert error.endswith(": name another with --data or TILLSTREAM_DATA\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tokens-file", "no-such"], "the tokens file no-such cannot be read: No such file or directory"),
        (["--host", "0.0.0.0"], "listening on 0.0.0.0 lets anyone in who can reach it"),
        (["--dashboard-users-file", "no-such"], "the dashboard's users file no-such: No such file or directory"),
        (["--dashboard-host", "0.0.0.0"], "the dashboard would show everything to everybody"),
        (["--locale", "xx"], "xx"),
        (["--port", "TAKEN"], "address already in use; TILLSTREAM_PORT=0 takes a free one"),
        (["--dashboard-port", "TAKEN"], "address already in use; TILLSTREAM_DASHBOARD_PORT=0 takes a free one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_settings_are_checked_before_anything_starts(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong one is found before the first receipt could be taken, and before a file is made."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [port if word == "TAKEN" else word for word in arguments]
        defaults = ["--port", "0", "--dashboard-port", "0"]
        assert run("up", *defaults, *given) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["post", "-", "--to", "http://127.0.0.1:1"], "error: standard input: Bad file descriptor\n"),
        (["password", "ann"], "error: a password has at least "),
    ],
    ids=["post", "password"],
)
def test_a_closed_input_is_one_line_and_exit_2(command: list[str], says: str) -> None:
    """It is not taken for an empty one."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m cli.main "$@" <&-', sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
