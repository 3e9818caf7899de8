"""What `tillstream rejected` takes and prints, from flags to lines."""

import asyncio
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import cli.main as cli
import store as stores
from cli.rejected_choice import chosen_by
from cli.rejected_text import line, page
from cli.settings import read_settings
from store import Rejected, RejectedQuery, RejectedStep
from streams import ConfigurationError

UTC = ZoneInfo("UTC")


def rejected(id: str = "1" * 32, **fields: object) -> Rejected:
    """An item whose text would do something to a terminal."""
    given = {"reason": "invalid", "detail": "no\x1b[2J\nstore é", "body": b'{"storeID":"\xc2\x9b"}', "first_seen": 60.0}
    return Rejected(id=id, stream="receipts", source="f" * 32, **{**given, **fields})  # type: ignore[arg-type]


def run(*arguments: str, **environ: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["rejected", *arguments], environ)
    return caught.value.code if isinstance(caught.value.code, int) else 0


def test_an_item_is_one_line_that_no_terminal_takes_for_a_command() -> None:
    """Whatever a receipt holds."""
    text = line(rejected(), UTC)
    assert text == f"{'1' * 32}  1970-01-01 00:01:00  invalid      open       no\\x1b[2J\\nstore é"


def test_a_page_has_the_bytes_and_what_was_done() -> None:
    """JSON is laid out, the rest is escaped; each step with its time, frame and note."""
    steps = (
        RejectedStep(item="1" * 32, stream="receipts", what="replayed", at=120.0, frame="a" * 32),
        RejectedStep(item="1" * 32, stream="receipts", what="again", at=180.0, frame="a" * 32),
        RejectedStep(item="1" * 32, stream="receipts", what="discarded", at=240.0, note="seen\t"),
    )
    lines = page(rejected(steps=steps), UTC).split("\n")
    assert f"replayed       1970-01-01 00:02:00, frame {'a' * 32}" in lines
    assert f"rejected again 1970-01-01 00:03:00, frame {'a' * 32}" in lines
    assert "discarded      1970-01-01 00:04:00, seen\\t" in lines
    assert lines[-3:] == ["{", '  "storeID": "\\x9b"', "}"]
    assert page(rejected(body=b"\xff\x1b"), UTC).endswith("\n\n\\xff\\x1b")


def test_times_are_those_of_the_configured_zone() -> None:
    """As everywhere else."""
    settings = read_settings({"TILLSTREAM_TIMEZONE": "Europe/Paris"}).settings
    chosen = chosen_by(settings, reason=None, since="2026-11-21", before=None, ids=None)
    assert chosen.query == RejectedQuery(status="open", since=1795215600.0)
    with pytest.raises(ConfigurationError, match=r"--before: expected a time such as .*, not 'soon'"):
        chosen_by(settings, reason=None, since=None, before="soon", ids=None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--reason", "bad"), "--reason: expected one of undecodable, invalid, conflict, poison, not 'bad'"),
        (("list", "--status", "closed"), "--status: expected one of open, replayed, discarded or all"),
        (("list", "--since", "soon"), "--since: expected a time such as"),
        (("replay",), "say which: --id, --reason, --since or --before"),
        (("discard", "--note", "x"), "say which: --id, --reason, --since or --before"),
        (("replay", "--all", "--force"), "--force needs the items to be named"),
        (("tidy",), "No such command 'tidy'"),
        ((), "Missing command"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is done."""
    assert run(*arguments, TILLSTREAM_DATA=str(tmp_path)) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


async def fill(data: Path) -> None:
    """Items of all kinds, in the store of a data folder."""
    store = await stores.connect(f"sqlite:{data / 'store.db'}")
    await store.reject([rejected(f"{number:032x}", first_seen=60.0 * number) for number in range(1, 6)])
    await store.reject([rejected(f"{9:032x}", reason="conflict", body=b"{")])
    await store.close()


async def _discarded(data: Path) -> dict[str, list[str]]:
    store = await stores.connect(f"sqlite:{data / 'store.db'}")
    found = await store.rejected("receipts", RejectedQuery(status="discarded"))
    await store.close()
    return {item.id: [step.note for step in item.steps] for item in found}


def test_lists_and_discards_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a broker, which the first `up` makes; a second time there is nothing left to do, and it says so."""
    asyncio.run(fill(tmp_path))
    data = {"TILLSTREAM_DATA": str(tmp_path)}
    assert run("list", "--limit", "2", **data) == 0
    printed = capsys.readouterr()
    assert [int(each[:32], 16) for each in printed.out.splitlines()] == [5, 4]
    assert "there are more than these 2" in printed.err
    assert run("discard", "--reason", "invalid", "--before", "1970-01-01T00:03", "--note", "old", **data) == 0
    assert run("discard", "--id", f"{9:032x}", "--id", f"{1:032x}", **data) == 1
    printed = capsys.readouterr()
    assert re.search(r"^0*1  nothing open", printed.out, re.MULTILINE)
    assert asyncio.run(_discarded(tmp_path)) == {f"{9:032x}": [""], f"{2:032x}": ["old"], f"{1:032x}": ["old"]}
    assert run("list", **data) == 0
    assert [int(each[:32], 16) for each in capsys.readouterr().out.splitlines()] == [5, 4, 3]
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir() if "broker" in path.name) == []


def test_an_id_that_is_not_there_is_said_without_its_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """They would be commands to a terminal."""
    asyncio.run(_made(tmp_path / "store.db"))
    assert run("show", "x\x1b", TILLSTREAM_DATA=str(tmp_path)) == 2
    assert "nothing of the id x\\x1b was rejected" in capsys.readouterr().err


async def _made(path: Path) -> None:
    await (await stores.connect(f"sqlite:{path}")).close()
