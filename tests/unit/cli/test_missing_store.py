"""Commands that read a store never make one, and an empty one is called empty."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import store as stores
from cli import main as cli
from store import Head
from streams import ReceiptStream

READING = [
    ["dashboard", "--dashboard-port", "0", "--dashboard-probes-port", "0"],
    ["audit"],
    ["audit", "--repair"],
    ["rejected", "list"],
    ["rejected", "show", "x"],
    ["rejected", "replay", "--all"],
    ["rejected", "discard", "--all"],
]


def run(*arguments: str, **environ: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments, environ)
    return caught.value.code if isinstance(caught.value.code, int) else 0


def prepared(path: Path, days: Mapping[str, str] | None = None) -> str:
    """A store without receipts, as `tillstream up` makes it; its address.

    Arguments:
        days: of a checkpoint in it, if it has one.
    """

    async def prepare() -> None:
        store = await stores.connect(f"sqlite:{path}")
        stream = ReceiptStream(ZoneInfo("UTC"))
        await store.prepare(stream.name, stream.key_names)
        if days is not None:
            assert await store.swap_head(Head(stream=stream.name, version=1, offsets={}, days=days, seconds={}))
        await store.close()

    asyncio.run(prepare())
    return f"sqlite:{path}"


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_store_that_is_not_there_is_refused_and_nothing_is_made(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As from cron's working directory: one line that names the path and the way out, status 2."""
    monkeypatch.chdir(tmp_path)
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: there is no store at {tmp_path}/tillstream-data/store.db: "
        "name the right one with TILLSTREAM_STORE, --store or --data\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["config"], ["watch"]], ids=" ".join)
def test_other_commands_that_read_make_nothing(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder nor a file."""
    monkeypatch.chdir(tmp_path)
    run(*command)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It holds no store, and not a byte of it changes."""
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    before = path.read_bytes()
    assert run("audit", "--store", f"sqlite:{path}") == 2
    assert f"error: {path} holds no store: " in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]


def test_an_empty_store_is_called_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The audit ends with 1: it is likely another store than the one that was meant."""
    url = prepared(tmp_path / "store.db")
    assert run("audit", "--store", url) == 1
    assert capsys.readouterr().out == f"audited {url}\nthe store is empty\n"


def test_an_empty_store_may_be_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--allow-empty` is for a system that has taken nothing yet."""
    url = prepared(tmp_path / "store.db")
    assert run("audit", "--store", url, "--allow-empty", "--json") == 0
    assert json.loads(capsys.readouterr().out)["events"] == 0
    assert run("rejected", "list", "--store", url) == 0


def test_a_quiet_day_is_no_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The nightly audit of a day without receipts ends with 0 where totals were ever kept."""
    url = prepared(tmp_path / "store.db", days={})
    assert run("audit", "--store", url, "--since", "2026-11-21") == 0
    assert "everything adds up" in capsys.readouterr().out
