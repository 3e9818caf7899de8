"""`tillstream store`, and a process that was started with another time zone than the store keeps."""

import asyncio
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import store as stores
from cli import main as cli
from cli.identity import identify
from streams import ReceiptStream


def run(*arguments: str, **environ: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments, environ)
    return caught.value.code if isinstance(caught.value.code, int) else 0


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A store of days in Paris; its address."""

    async def make() -> None:
        store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
        stream = ReceiptStream(ZoneInfo("Europe/Paris"))
        await store.prepare(stream.name, stream.key_names)
        await identify(store, stream)
        await store.close()

    asyncio.run(make())
    return f"sqlite:{tmp_path / 'store.db'}"


def shown(address: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The identity that `store show` prints."""
    capsys.readouterr()
    assert run("store", "show", "--store", address) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_restored_store_is_renewed(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps its id and gets another epoch."""
    before = shown(address, capsys)
    assert run("store", "renew", "--store", address) == 0
    after = shown(address, capsys)
    assert after["epoch"] != before["epoch"]
    assert {**after, "epoch": ""} == {**before, "epoch": ""}


def test_a_store_adopts_the_frames_of_another(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose id is then among those that it takes."""
    assert run("store", "adopt", "0123", "--store", address) == 0
    assert shown(address, capsys)["adopted"] == ["0123"]


@pytest.mark.parametrize("command", [["show"], ["renew"], ["adopt", "x"]], ids=" ".join)
def test_a_store_that_was_never_used_has_no_id(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a missing one nor an empty one is given an id by looking."""

    async def make() -> None:
        await (await stores.connect(f"sqlite:{tmp_path / 'empty.db'}")).close()

    asyncio.run(make())
    for name, text in (("missing.db", "there is no store at"), ("empty.db", "nothing was ever stored here")):
        assert run("store", *command, "--store", f"sqlite:{tmp_path / name}") == 2
        assert text in capsys.readouterr().err
    assert not (tmp_path / "missing.db").exists()


def test_a_process_with_another_time_zone_is_refused(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that names the zone that the store keeps: in another one a receipt could count twice."""
    assert run("up", "--store", address, "--data", str(tmp_path), "--port", "0", "--no-dashboard") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        "error: the store keeps days in the time zone Europe/Paris, and this process was started with UTC: "
        "set TILLSTREAM_TIMEZONE=Europe/Paris"
    )
