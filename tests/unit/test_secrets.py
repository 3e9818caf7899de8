"""`scripts/secrets`: what it makes, keeps and replaces, and what it never shows."""

import base64
import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker.definitions import definitions
from broker.exchanges import receipts_topology
from broker.roles import roles
from dashboard.passwords import parse
from deploy import make_secrets, mongo_users
from entrypoint.tokens import Tokens
from tests.unit.test_repository import ROOT

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run it in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> str:
        assert make_secrets.main(arguments) == code
        printed = capsys.readouterr()
        return printed.out + printed.err

    return call


def texts(folder: Path) -> dict[str, str]:
    """File name → text."""
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def definitions_of(folder: Path) -> dict[str, Any]:
    """What RabbitMQ would load."""
    loaded: dict[str, Any] = json.loads((folder / "rabbitmq-definitions.json").read_text())
    return loaded


def test_what_is_made_is_random_and_in_the_forms_that_are_read(run: Run, tmp_path: Path) -> None:
    """Users that log in, tokens that let in, a store's address with its password, a key; each time others."""
    run("--folder", "one")
    run("--folder", "two")
    one, two = texts(tmp_path / "one"), texts(tmp_path / "two")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] == two[name]} == {"mongo-root-user", make_secrets.MARK}

    assert parse(one["dashboard-users"])["operator"].matches(one["dashboard-password"])
    tokens = Tokens(tmp_path / "one" / "tokens")
    tokens.check(f"Bearer {one['tokens'].partition(':')[2]}")
    assert len(one["dashboard-secret"]) == 64


def test_every_user_at_rabbitmq_has_the_password_of_its_address(run: Run, tmp_path: Path) -> None:
    """As RabbitMQ checks it: base64 of a salt of four bytes and SHA-256 of salt and password."""
    run()
    made = texts(tmp_path / "secrets")
    passwords = {"operator": made["rabbitmq-admin-password"]}
    for role in roles(receipts_topology()):
        address = urlsplit(made[f"broker-{role.name}-url"])
        assert (address.username, address.hostname, address.path) == (role.user, "rabbitmq", "/tillstream")
        passwords[role.user] = address.password or ""
    loaded = definitions_of(tmp_path / "secrets")
    for user in loaded["users"]:
        raw = base64.b64decode(user["password_hash"])
        assert hashlib.sha256(raw[:4] + passwords.pop(user["name"]).encode()).digest() == raw[4:]
    assert passwords == {}
    expected = definitions(receipts_topology(), operator="operator")
    assert {name: part for name, part in loaded.items() if name != "users"} == {
        name: part for name, part in expected.items() if name != "users"
    }


def test_every_role_has_a_user_of_its_own_at_mongodb(run: Run, tmp_path: Path) -> None:
    """Each has its own password, and is among those that the service `mongo-users` makes."""
    run()
    made = texts(tmp_path / "secrets")
    addresses = [urlsplit(made[f"store-{role}-url"]) for role in mongo_users.ROLES]
    assert {f"store-{role}-url" for role in mongo_users.ROLES} == {name for name in made if name.startswith("store-")}
    assert [each.username for each in addresses] == [f"tillstream-{role}" for role in mongo_users.ROLES]
    assert {(each.hostname, each.path, each.query) for each in addresses} == {
        ("mongo", "/tillstream", "authSource=admin")
    }
    assert len({each.password for each in addresses} - {made["mongo-root-password"]}) == len(addresses)


def test_the_address_of_a_mongodb_of_ones_own_goes_to_every_role(run: Run, tmp_path: Path) -> None:
    """An installation from before there were users per role keeps its server; ours gets new users."""
    run()
    own = "mongodb://shop:secret@db1.example:27017/shop?tls=true"
    for before, kept in ((own, True), ("mongodb://tillstream:x@mongo:27017/tillstream?authSource=admin", False)):
        for path in (tmp_path / "secrets").glob("store-*-url"):
            path.unlink()
        (tmp_path / "secrets" / "store-url").write_text(before + "\n")
        run()
        made = texts(tmp_path / "secrets")
        assert {made[f"store-{role}-url"] == before for role in mongo_users.ROLES} == {kept}
        run("--rotate", "store-worker")
        assert texts(tmp_path / "secrets")["store-worker-url"] != before


def test_only_the_owner_gets_into_the_folder_and_containers_read_the_files(run: Run, tmp_path: Path) -> None:
    """The folder is closed to others; a file alone, as a container has it, is not."""
    run()
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o644}
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_nothing_that_is_made_is_printed(run: Run, tmp_path: Path) -> None:
    """Neither when it is made nor when it is replaced; where the operator finds passwords is."""
    printed = run() + run("--rotate", "all")
    for text in texts(tmp_path / "secrets").values():
        for word in (text, text.rpartition(":")[2], urlsplit(text).password if "://" in text else None):
            assert not word or len(word) < 12 or word not in printed
    assert "secrets/dashboard-password" in printed
    assert "secrets/rabbitmq-admin-password" in printed


def test_what_is_there_stays(run: Run, tmp_path: Path) -> None:
    """A second run changes no byte, one after an upgrade adds what is missing."""
    run()
    before = texts(tmp_path / "secrets")
    assert "kept 20 files" in run()
    assert texts(tmp_path / "secrets") == before
    (tmp_path / "secrets" / "broker-storm-url").unlink()
    run()
    after = texts(tmp_path / "secrets")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"broker-storm-url", "rabbitmq-definitions.json"}


def test_rotating_one_leaves_the_others_and_writes_in_place(run: Run, tmp_path: Path) -> None:
    """Only that user's hash changes; the file is the same one, which containers hold."""
    run()
    folder = tmp_path / "secrets"
    before, old = texts(folder), definitions_of(folder)
    inode = (folder / "broker-worker-url").stat().st_ino
    printed = run("--rotate", "broker-worker")
    assert "docker compose restart worker" in printed
    after, new = texts(folder), definitions_of(folder)
    assert {name for name in after if after[name] != before[name]} == {"broker-worker-url", "rabbitmq-definitions.json"}
    assert (folder / "broker-worker-url").stat().st_ino == inode
    changed = [user["name"] for user, was in zip(new["users"], old["users"], strict=True) if user != was]
    assert changed == ["tillstream-worker"]


def test_rotating_all_leaves_the_store_whose_password_is_inside_it(run: Run, tmp_path: Path) -> None:
    """MongoDB keeps the password of its first start: that one is changed there, on purpose."""
    run()
    before = texts(tmp_path / "secrets")
    run("--rotate", "all")
    after = texts(tmp_path / "secrets")
    same = {name for name in after if after[name] == before[name]}
    assert same == {"mongo-root-user", "mongo-root-password", make_secrets.MARK}


def test_half_of_what_belongs_together_is_not_made_up(run: Run, tmp_path: Path) -> None:
    """One line says what is gone; a new password would lock the owner of the data out."""
    run()
    (tmp_path / "secrets" / "mongo-root-password").unlink()
    before = texts(tmp_path / "secrets")
    printed = run(code=2)
    assert printed.splitlines() == [
        "scripts/secrets: secrets: mongo-root-password is gone: put it back, or --rotate mongo"
    ]
    assert texts(tmp_path / "secrets") == before


def test_an_empty_secret_is_not_taken_for_one(run: Run, tmp_path: Path) -> None:
    """A file that lost its content, as by a full disk, is named; rotating mends it."""
    run()
    (tmp_path / "secrets" / "store-totals-url").write_text("")
    assert "store-totals-url is gone" in run(code=2)
    run("--rotate", "store-totals")
    assert "@mongo" in texts(tmp_path / "secrets")["store-totals-url"]


@pytest.mark.parametrize(
    "stopped_at", ["broker-worker-url", "mongo-root-password", "tokens", "rabbitmq-definitions.json"]
)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_interrupted_leaves_nothing_half_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: str, there: bool
) -> None:
    """Whenever the first run is interrupted, there is no folder of secrets yet, and the next one makes all of it. In a
    folder that is there, no file is half written."""
    if there:
        (tmp_path / "secrets").mkdir()
    write, synced = make_secrets.Folder.write, os.fsync

    def interrupted(folder: make_secrets.Folder, name: str, text: str) -> None:
        def stop(descriptor: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", stop if name == stopped_at else synced)
        write(folder, name, text)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(make_secrets.Folder, "write", interrupted)
        make_secrets.main([])
    monkeypatch.setattr(os, "fsync", synced)
    assert (tmp_path / "secrets").exists() == there
    assert not (tmp_path / ".env").exists()
    assert not (tmp_path / "secrets" / stopped_at).exists()
    assert not (tmp_path / "secrets" / make_secrets.MARK).exists()
    if there and stopped_at == "mongo-root-password":
        run("--rotate", "mongo")
    else:
        run()
    assert all(text for text in texts(tmp_path / "secrets").values())
    assert (tmp_path / "secrets" / make_secrets.MARK).exists()


def test_containers_may_read_the_configuration_of_a_closed_clone(tmp_path: Path) -> None:
    """A clone under umask 077 holds files for its owner alone; those that containers mount are opened."""
    for name in make_secrets.CONFIGURATION:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        path.chmod(0o600)
    make_secrets.open_configuration(tmp_path)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in make_secrets.CONFIGURATION} == {0o644}


def test_a_folder_that_docker_made_is_named(run: Run, tmp_path: Path) -> None:
    """Docker makes a folder where a file to be mounted is missing."""
    (tmp_path / "secrets" / "tokens").mkdir(parents=True)
    assert "tokens is a folder" in run(code=2)


def test_compose_is_told_where_they_are_beside_what_it_was_told_before(run: Run, tmp_path: Path) -> None:
    """`.env` keeps its lines, and is left alone where it says so already or another folder is asked for."""
    run("--folder", "elsewhere")
    assert not (tmp_path / ".env").exists()
    (tmp_path / ".env").write_text("TILLSTREAM_TIMEZONE=Europe/Lisbon")
    run()
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[0] == "TILLSTREAM_TIMEZONE=Europe/Lisbon"
    assert lines[-1] == "TILLSTREAM_SECRETS=./secrets"
    run()
    assert (tmp_path / ".env").read_text().splitlines() == lines


def test_a_misspelt_setting_in_env_is_named(run: Run, tmp_path: Path) -> None:
    """Compose reads it for nobody, and says nothing about it."""
    (tmp_path / ".env").write_text(
        "TILLSTREAM_TIMEZON=Europe/Lisbon\nTILLSTREAM_PREFETCH=16\n#TILLSTREAM_X=1\nOTHER=1\n"
    )
    printed = run()
    assert printed.splitlines()[-1] == (
        "scripts/secrets: .env: TILLSTREAM_TIMEZON is read by nothing; did you mean TILLSTREAM_TIMEZONE?"
    )
    assert "PREFETCH" not in printed


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """The script itself, with a Python that sees no packages."""
    done = subprocess.run(
        [ROOT / "scripts" / "secrets", "--folder", tmp_path / "made"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "made").iterdir())) == 21


def test_git_and_images_leave_them_out() -> None:
    """They are named where git looks; images take what they name, and that is not among it."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/secrets/", "/.env"} <= set(ignored)
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        assert not line.startswith(("!secrets", "!.env"))
