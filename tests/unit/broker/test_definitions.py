"""Roles and definitions: what RabbitMQ is told, as text."""

import json
import re
import uuid
from typing import Any

import pytest

from broker.amqp_arguments import queue_arguments
from broker.definitions import definitions
from broker.exchanges import EXCHANGES, receipts_topology
from broker.roles import Role, roles
from tests.unit.test_repository import ROOT

TOPOLOGY = receipts_topology()
BY_NAME = {role.name: role for role in roles(TOPOLOGY)}
NAMES = (
    {each.name for each in EXCHANGES}
    | {each.name for each in TOPOLOGY.queues}
    | {"", "amq.default", "amq.direct", "amq.topic", "receiptsxwork"}
)


def matched(pattern: str) -> set[str]:
    """The names, of those that there are and some that there should not be, that a permission covers."""
    return {name for name in NAMES if name and re.search(pattern, name)}


@pytest.mark.parametrize(
    ("role", "write", "read", "configure"),
    [
        ("entrypoint", {"receipts"}, set(), set()),
        ("worker", {"partials", "rejected"}, {"receipts.work"}, set()),
        (
            "totals",
            {"count", "categories", "metrics", "amq.direct", "partials.active"},
            {"partials", "amq.direct", "partials.active"},
            {"partials.active"},
        ),
        ("dashboard", set(), {"count", "categories", "metrics", "rejected"}, set()),
        (
            "storm",
            {"partials", "rejected", "count", "categories", "metrics", "amq.direct", "partials.active"},
            {"receipts.work", "partials", "amq.direct", "partials.active"},
            {"partials.active"},
        ),
        ("tools", {"receipts", "partials"}, {"receipts.dead", "count", "categories", "metrics"}, set()),
    ],
)
def test_a_role_reads_and_writes_what_it_needs_and_declares_nothing_shared(
    role: str, write: set[str], read: set[str], configure: set[str]
) -> None:
    """Exactly these exchanges and queues; but for the one queue that exists only while it is held."""
    assert matched(BY_NAME[role].write) == write
    assert matched(BY_NAME[role].read) == read
    assert matched(BY_NAME[role].configure) == configure


@pytest.mark.parametrize(
    ("role", "exchanges", "queues"),
    [
        ("entrypoint", ["receipts"], ["receipts.work"]),
        ("worker", ["partials", "rejected"], ["receipts.dead", "receipts.work"]),
        ("totals", ["partials", "count", "categories", "metrics"], []),
        ("dashboard", ["count", "categories", "metrics", "rejected"], []),
        ("tools", ["receipts", "partials", "count", "categories", "metrics"], ["receipts.dead", "receipts.work"]),
    ],
)
def test_a_role_needs_what_it_uses(role: str, exchanges: list[str], queues: list[str]) -> None:
    """What others use may be away: it connects and works without."""
    needs = BY_NAME[role].needs(TOPOLOGY)
    assert [exchange.name for exchange in needs.exchanges] == exchanges
    assert [queue.name for queue in needs.queues] == queues


@pytest.mark.parametrize(("role", "own"), [("dashboard", ("dashboard", "dashboard-rejected")), ("tools", ("watch",))])
def test_a_listener_has_its_own_queues_and_no_others(role: str, own: tuple[str, ...]) -> None:
    """Their names are a role's and a UUID."""
    some: Role = BY_NAME[role]
    for pattern in (some.configure, some.write, some.read):
        for name in ("dashboard", "dashboard-rejected", "watch", "worker"):
            assert bool(re.search(pattern, f"{name}.{uuid.uuid4()}")) == (name in own)
            assert not re.search(pattern, f"x{name}.{uuid.uuid4()}")
            assert not re.search(pattern, f"{name}.{uuid.uuid4()}.x")
            assert not re.search(pattern, f"{name}.mine")


def test_definitions_hold_the_whole_topology_with_its_limits() -> None:
    """Queues as processes would declare them; dead letters first, since the work queue points to them."""
    topology = receipts_topology(work_max_bytes=1 << 20, delivery_limit=7)
    found = definitions(topology, vhost="shop")
    assert [(queue["name"], queue["arguments"]) for queue in found["queues"]] == [
        (queue.name, queue_arguments(queue)) for queue in topology.needs.queues
    ]
    assert [exchange["name"] for exchange in found["exchanges"]] == [exchange.name for exchange in EXCHANGES]
    assert {(each["source"], each["destination"], each["routing_key"]) for each in found["bindings"]} == {
        ("receipts", "receipts.work", "receipts"),
    }
    parts: list[dict[str, Any]] = [each for name in found if name not in ("users", "vhosts") for each in found[name]]
    assert {each["vhost"] for each in parts} == {"shop"}
    assert found["vhosts"] == [{"name": "shop"}]


def test_a_frame_that_comes_back_too_often_is_never_dropped() -> None:
    """The queue with a delivery limit has a dead-letter queue, at least once; that one has no limit that drops."""
    queues = {queue["name"]: queue["arguments"] for queue in definitions(TOPOLOGY)["queues"]}
    work, dead = queues["receipts.work"], queues["receipts.dead"]
    assert work["x-dead-letter-routing-key"] == "receipts.dead"
    assert work["x-dead-letter-strategy"] == "at-least-once"
    assert work["x-overflow"] == "reject-publish"
    assert dead["x-delivery-limit"] > 1e6
    assert not {"x-max-length", "x-max-length-bytes", "x-message-ttl", "x-overflow"} & dead.keys()


def test_no_user_has_a_password_or_a_tag_and_an_operator_is_made_only_when_asked_for() -> None:
    """Nobody can log in with what is printed."""
    plain = definitions(TOPOLOGY)
    assert {user["name"] for user in plain["users"]} == {role.user for role in BY_NAME.values()}
    assert all(user["password_hash"] == "" and user["tags"] == [] for user in plain["users"])
    with_operator = definitions(TOPOLOGY, operator="olga")
    assert with_operator["users"][-1] == {**plain["users"][0], "name": "olga", "tags": ["administrator"]}


def test_the_file_that_secrets_are_put_into_is_what_the_command_prints() -> None:
    """`tillstream definitions --operator operator > deploy/rabbitmq/definitions.json` makes it anew."""
    kept = (ROOT / "deploy" / "rabbitmq" / "definitions.json").read_text()
    assert kept == json.dumps(definitions(TOPOLOGY, operator="operator"), indent=2) + "\n"
