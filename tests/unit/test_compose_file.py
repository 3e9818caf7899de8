"""docker-compose.yml against what it starts: settings, secrets, configuration. Nothing runs here."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # Bokeh brings it, without types

from cli.settings import FILE_SUFFIX, SETTINGS
from deploy import make_secrets, mongo_users
from tests.unit.test_repository import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
#: Settings that the file makes itself, for each service: addresses, ports and files within the containers.
MADE_HERE = {
    "data", "broker", "store", "host", "port", "tokens_file", "dashboard_host", "dashboard_port",
    "dashboard_users_file", "dashboard_secret", "probes_host", "worker_probes_port", "totals_probes_port",
    "dashboard_probes_port", "storm_nimbus",
}  # fmt: skip
#: Services that read settings.
OURS = ("entrypoint", "worker", "totals", "dashboard", "generator", "tillstream", "supervisor", "topology-submit")
#: Service → the role whose users at RabbitMQ and MongoDB it has.
ROLE_OF = {
    "entrypoint": "entrypoint",
    "worker": "worker",
    "totals": "totals",
    "dashboard": "dashboard",
    "supervisor": "storm",
    "tillstream": "tools",
}


@pytest.mark.parametrize("service", OURS)
def test_every_setting_is_passed_on(service: str) -> None:
    """A setting in `.env` reaches every process of ours; none is ignored without a word."""
    environment = SERVICES[service]["environment"]
    variables = {row.variable for row in SETTINGS if row.name not in MADE_HERE}
    passed = {name for name, value in environment.items() if value is None}
    assert passed == variables, "docker-compose.yml: list new settings under x-settings"


def test_what_the_file_makes_itself_is_a_setting() -> None:
    """No variable of ours is misspelt, and none that the file makes is passed on as well."""
    known = {row.variable for row in SETTINGS} | {row.variable + FILE_SUFFIX for row in SETTINGS if row.secret}
    assert {row.name for row in SETTINGS} >= MADE_HERE
    for service in OURS:
        assert set(SERVICES[service]["environment"]) <= known


@pytest.mark.parametrize(("service", "role"), ROLE_OF.items())
def test_each_service_has_its_own_users_and_no_others(service: str, role: str) -> None:
    """A process logs in to RabbitMQ and MongoDB as its own role, and holds nobody else's address."""
    environment, secrets = SERVICES[service]["environment"], SERVICES[service]["secrets"]
    assert environment["TILLSTREAM_BROKER_FILE"] == f"/run/secrets/broker-{role}-url"
    assert environment["TILLSTREAM_STORE_FILE"] == f"/run/secrets/store-{role}-url"
    assert {name for name in secrets if name.endswith("-url")} == {f"broker-{role}-url", f"store-{role}-url"}


def test_only_the_service_that_makes_users_may_do_everything_at_mongodb() -> None:
    """The root's password is for MongoDB itself and for `mongo-users`."""
    holders = {name for name, service in SERVICES.items() if "mongo-root-password" in service.get("secrets", [])}
    assert holders == {"mongo", "mongo-users"}
    assert set(SERVICES["mongo-users"]["secrets"]) == {
        "mongo-root-user", "mongo-root-password", *(f"store-{role}-url" for role in mongo_users.ROLES)
    }  # fmt: skip


def test_only_processes_that_write_may_write() -> None:
    """The entrypoint and the dashboard only answer queries."""
    assert {role for role, granted in mongo_users.ROLES.items() if granted == "read"} == {"entrypoint", "dashboard"}
    assert set(mongo_users.ROLES) == set(ROLE_OF.values())


def test_every_secret_is_made_and_every_configuration_file_is_opened() -> None:
    """What Compose mounts is what `scripts/secrets` makes, or opens for the containers' users."""
    made = {name for secret in make_secrets.SECRETS for name in secret.files} | {make_secrets.DEFINITIONS_FILE}
    assert set(COMPOSE["secrets"]) <= made
    for name, secret in COMPOSE["secrets"].items():
        assert re.fullmatch(
            r"\$\{TILLSTREAM_SECRETS:\?run \./scripts/secrets first\}/" + re.escape(name), secret["file"]
        )
    assert {each["file"] for each in COMPOSE["configs"].values()} == set(make_secrets.CONFIGURATION)
    for service in OURS:
        assert SERVICES[service]["env_file"][0].endswith("/" + make_secrets.MARK)


def test_the_demo_does_not_come_back_by_itself() -> None:
    """Made-up receipts end with the machine, and nothing starts them again."""
    assert SERVICES["generator"]["restart"] == "no"


def test_storms_ui_is_published_without_what_changes_anything() -> None:
    """It has no login, and requests that kill topologies work without buttons as well: a proxy refuses them."""
    assert yaml.safe_load((ROOT / "deploy/storm/storm.yaml").read_text())["ui.actions.enabled"] is False
    assert "ports" not in SERVICES["storm-ui"]
    assert SERVICES["storm-ui"]["networks"] == ["storm"]
    refusals = re.findall(
        r"http-request return status 403 .* (unless|if) (.*)", (ROOT / "deploy/storm-page.cfg").read_text()
    )
    assert [word for word, _ in refusals] == ["unless", "if"]
    assert refusals[0][1] == "{ method GET HEAD }"


def test_images_take_nothing_with_the_modes_of_a_clone() -> None:
    """Under umask 077 a clone holds files for its owner alone: whatever an image takes of it says its mode."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    taken = re.findall(r"^COPY (.*)$", text[text.index(" AS base") :], re.MULTILINE)
    assert [line for line in taken if not line.startswith(("--from=", "--chmod="))] == []
    assert sum(line.startswith("--chmod=") for line in taken) >= 3


@pytest.mark.parametrize("service", ["entrypoint", "dashboard"])
def test_who_works_without_the_store_does_not_wait_for_it(service: str) -> None:
    """Receipts are taken, and today is shown, where MongoDB does not start."""
    assert set(SERVICES[service]["depends_on"]) == {"rabbitmq"}
