"""What docker-compose.yml says, before anything runs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.make_secrets import MARK
from tests.compose.stack import ROOT

pytestmark = pytest.mark.compose

#: Of ours: the others are stock images.
OURS = {
    "proxy", "entrypoint", "worker", "totals", "dashboard", "generator", "tillstream", "supervisor", "topology-submit",
    "mongo-users", "storm-page",
}  # fmt: skip


def compose(
    folder: Path, *arguments: str, secrets: str | None, kept: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """`docker compose` with the file `empty.env` as `.env`, and of our variables those that are to be kept."""
    environ = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("TILLSTREAM_")}
    env_file = folder / "empty.env"
    env_file.touch()
    command = ["docker", "compose", "--env-file", str(env_file), "--profile", "*", *arguments]
    if secrets is not None:
        environ["TILLSTREAM_SECRETS"] = secrets
    return subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


@pytest.fixture
def services(engine: None, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Every service, as Compose understands the file."""
    (tmp_path / MARK).touch()
    done = compose(tmp_path, "config", "--format", "json", secrets=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


@pytest.mark.parametrize("command", [("up", "--detach"), ("build",), ("run", "tillstream", "audit")])
def test_without_secrets_it_says_in_one_line_what_to_run(
    engine: None, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """`docker compose up` of a fresh clone starts nothing, and names the script to run first."""
    done = compose(tmp_path, *command, secrets=None)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.strip().endswith("run ./scripts/secrets first")


def test_with_secrets_that_are_elsewhere_it_says_so_before_it_makes_anything(engine: None, tmp_path: Path) -> None:
    """A checkout that was copied without its secrets has an `.env` all the same."""
    done = compose(tmp_path, "up", "--detach", secrets=str(tmp_path / "secrets"))
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "secrets/run-scripts-secrets-first not found" in done.stderr


@pytest.mark.parametrize("given", ["by .env", "by the environment"])
def test_a_setting_reaches_the_processes(
    engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """One that README does not name, too; those that nobody gives are left to the program."""
    (tmp_path / MARK).touch()
    if given == "by .env":
        (tmp_path / "empty.env").write_text("TILLSTREAM_PREFETCH=16\n")
    else:
        monkeypatch.setenv("TILLSTREAM_PREFETCH", "16")
    done = compose(tmp_path, "config", "--format", "json", secrets=str(tmp_path), kept=("TILLSTREAM_PREFETCH",))
    environment = json.loads(done.stdout)["services"]["worker"]["environment"]
    assert environment["TILLSTREAM_PREFETCH"] == "16"
    assert environment["TILLSTREAM_FLUSH_EVENTS"] is None


def test_only_three_ports_are_published_and_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    """Receipts, the dashboard, RabbitMQ's pages; neither AMQP nor MongoDB, and nothing to other machines."""
    published = {
        (name, port["host_ip"], port["published"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", [])
        if "storm" not in name
    }
    assert published == {
        ("proxy", "127.0.0.1", "3000", 3000),
        ("dashboard", "127.0.0.1", "8050", 8050),
        ("rabbitmq", "127.0.0.1", "15672", 15672),
    }


def test_every_service_is_bounded_and_without_privileges(services: dict[str, dict[str, Any]]) -> None:
    """Memory, CPU and logs have limits; no capabilities, no way to new privileges; it stops in time and comes back."""
    for name, service in services.items():
        assert int(service["mem_limit"]) > 0, name
        assert float(service["cpus"]) > 0, name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert "cap_add" not in service, name
        one_shot = name in {"tillstream", "topology-submit", "mongo-users", "generator"}
        assert service["restart"] == ("no" if one_shot else "unless-stopped"), name
        assert one_shot or service["stop_grace_period"] in {"40s", "1m0s"}, name
        assert service["read_only"] if name in OURS else service["user"], name


def test_no_service_is_told_a_secret_in_its_environment(services: dict[str, dict[str, Any]]) -> None:
    """Whatever is secret comes from a file, and each service has only those files that it needs."""
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            secret = any(word in variable for word in ("BROKER", "STORE", "TOKEN", "PASSWORD", "SECRET", "USERS"))
            assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {variable}"
    given = {name: {each["source"] for each in service.get("secrets", [])} for name, service in services.items()}
    assert given["entrypoint"] == {"broker-entrypoint-url", "store-entrypoint-url", "tokens"}
    assert given["worker"] == {"broker-worker-url", "store-worker-url"}
    assert given["totals"] == {"broker-totals-url", "store-totals-url"}
    assert given["generator"] == {"tokens"}
    assert given["proxy"] == set()
