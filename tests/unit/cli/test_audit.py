"""What `tillstream audit` takes and prints."""

import asyncio
import io
import json
import re
import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

import store as stores
from broker.frames import Frame
from broker.protocol import Message
from cli import main as cli
from cli.audit_progress import audit_progress
from engine import Flusher, Totals, prepare
from streams import ReceiptStream
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))


class Nobody:
    """A broker that nobody listens to."""

    async def announce(self, message: Message) -> None:
        """Nobody hears it."""


def run(*arguments: str, data: Path) -> int:
    """The exit code of an audit."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["audit", *arguments], {"TILLSTREAM_DATA": str(data)})
    return caught.value.code if isinstance(caught.value.code, int) else 0


def filled(data: Path) -> None:
    """A store with a receipt on each of three days."""

    async def fill() -> None:
        store = await stores.connect(f"sqlite:{data / 'store.db'}")
        await store.prepare(STREAM.name, STREAM.key_names)
        flusher = Flusher(store=store, broker=Nobody(), stream=STREAM)
        for day in (17, 18, 19):
            line = STREAM.accept(json.dumps(receipt({"date": f"2026-11-{day} 10:00:00"})).encode(), 1000.0)
            frame = Frame.of(STREAM.name, [line])
            await flusher.flush([await prepare(frame, STREAM, store, lambda: 2000.0)])
        totals = Totals(store, STREAM.name)
        await totals.sync()
        assert await totals.checkpoint()
        await store.close()

    asyncio.run(fill())


def test_an_audit_says_what_it_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which store, and since when; nothing about progress where nobody looks."""
    filled(tmp_path)
    assert run(data=tmp_path) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"audited sqlite:{tmp_path / 'store.db'}",
        "3 events on 3 days, 3 ledger entries of 1 writers",
        "everything adds up",
    ]
    assert printed.err == ""
    assert run("--since", "2026-11-18", data=tmp_path) == 0
    assert "2 events on 2 days since 2026-11-18, 3 ledger entries\n" in capsys.readouterr().out
    assert run("--since", "2026-11-18", "--json", data=tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["since"] == "2026-11-18"


def test_totals_that_cannot_be_read_are_rebuilt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until then the audit says so in one line."""
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE days SET tally = substr(tally, 1, 40) WHERE day = '2026-11-18'")
    connection.close()
    assert run(data=tmp_path) == 2
    assert re.fullmatch(r"error: the day document \S+ cannot be read: .*\n", capsys.readouterr().err)
    assert run("--rebuild", data=tmp_path) == 0
    printed = capsys.readouterr()
    assert printed.err == "the totals of 3 days were made anew from 3 events\n"
    assert printed.out.endswith("everything adds up\n")


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "20261118", ""])
def test_a_day_that_is_none_is_one_line(day: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    assert run("--since", day, data=tmp_path) == 2
    assert capsys.readouterr().err == f"error: --since: expected a day such as 2026-11-21, not {day!r}\n"


def test_progress_is_shown_on_a_terminal_only() -> None:
    """What is read, how many, and how many a second."""
    for terminal in (True, False):
        text = io.StringIO()
        with audit_progress(Console(file=text, force_terminal=terminal, width=100)) as told:
            told("ledger entries", 1_000)
            told("ledger entries", 2_000)
            told("events", 3_000)
        assert ("ledger entries" in text.getvalue() and "3,000" in text.getvalue()) is terminal
        assert ("/s" in text.getvalue()) is terminal
