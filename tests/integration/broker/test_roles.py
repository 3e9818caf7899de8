"""Users of least privileges at a real RabbitMQ: each may do its work and nothing else, and nothing is lost by it."""

import asyncio
import json
import urllib.error
from pathlib import Path

import pytest

import broker as brokers
from broker.definitions import definitions
from broker.errors import BrokerError, ConsumerRefusedError, TopologyMismatchError, TopologyMissingError
from broker.exchanges import EXCHANGES, Topology, receipts_topology
from broker.protocol import Broker, Consumer, Message
from tests.integration.broker.roles_of import QUEUES, Loaded, allowed, template
from tests.servers.rabbit import Api, PrivateRabbit
from tests.support import eventually

pytestmark = pytest.mark.rabbit

TOPOLOGY = receipts_topology()


@pytest.fixture(scope="module")
def loaded(own_rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The module's RabbitMQ with everything that `scripts/secrets` makes for it."""
    return Loaded.into(own_rabbit, tmp_path_factory.mktemp("secrets"))


async def connect(url: str, topology: Topology = TOPOLOGY) -> Broker:
    """Once, at once."""
    return await brokers.connect(url, topology, wait=0.0, publish_timeout=5.0)


async def reach(consumer: Consumer, body: bytes) -> None:
    """Take messages until there is this one."""
    async for delivery in consumer:
        await delivery.ack()
        if delivery.body == body:
            return


def consumes(*queues: str) -> set[str]:
    """RabbitMQ has one permission for all of these."""
    return {f"{what} {queue}" for queue in queues for what in ("consume", "get from", "purge")}


#: What each role may do of all that is tried; `purge` comes with consuming.
ALLOWED = {
    "entrypoint": {"publish to receipts"},
    "worker": {"publish to partials", "publish to rejected", *consumes("receipts.work")},
    "totals": {f"publish to {exchange}" for exchange in ("count", "categories", "metrics")},
    "dashboard": {
        "subscribe as dashboard",
        "subscribe as dashboard-rejected",
        *(f"listen to {exchange}" for exchange in ("count", "categories", "metrics", "rejected")),
    },
    "storm": {
        *(f"publish to {exchange}" for exchange in ("partials", "rejected", "count", "categories", "metrics")),
        *consumes("receipts.work"),
    },
    "tools": {
        "publish to receipts",
        "publish to partials",
        "subscribe as watch",
        *(f"listen to {exchange}" for exchange in ("count", "categories", "metrics")),
        *consumes("receipts.dead"),
    },
}


@pytest.mark.parametrize("role", ALLOWED)
async def test_a_role_may_do_its_work_and_nothing_else(loaded: Loaded, role: str) -> None:
    """Publishing, consuming, deleting, declaring, binding, all that there is: the rest is refused."""
    assert await allowed(loaded.url(role)) == ALLOWED[role]


@pytest.mark.parametrize("role", ALLOWED)
async def test_a_role_sees_nothing_of_the_management_page(loaded: Loaded, role: str) -> None:
    """It has no tag; the operator has."""

    def ask(name: str, password: str) -> int:
        try:
            return len(Api(loaded.server.api.url, name, password).get("/queues/tillstream"))
        except urllib.error.HTTPError as exc:
            return -exc.code

    name, _, password = loaded.url(role).removeprefix("amqp://").partition("@")[0].partition(":")
    assert await asyncio.to_thread(ask, name, password) == -401
    operator = (loaded.folder / "rabbitmq-admin-password").read_text().strip()
    assert await asyncio.to_thread(ask, "operator", operator) == len(QUEUES)


async def test_without_a_password_of_its_own_a_user_cannot_log_in(loaded: Loaded) -> None:
    """What is in the repository lets nobody in: an empty hash is no password, not even the empty one."""
    text = json.dumps(definitions(TOPOLOGY, vhost="bare")).replace("tillstream-", "bare-")
    bare = template(loaded.folder, json.loads(text))
    await asyncio.to_thread(loaded.server.ctl, "import_definitions", str(bare))
    for password in ("", "bare-worker", "guest"):
        with pytest.raises(BrokerError):
            await connect(f"amqp://bare-worker:{password}@127.0.0.1:{loaded.server.port}/bare")


async def test_what_is_loaded_is_what_processes_would_declare(loaded: Loaded) -> None:
    """A user who may declare finds nothing to object to, and says what differs where the limits do."""
    ours = await connect(loaded.operator())
    await ours.close()
    with pytest.raises(TopologyMismatchError) as caught:
        await connect(loaded.operator(), receipts_topology(delivery_limit=5))
    assert str(caught.value) == (
        "queue 'receipts.work' in vhost 'tillstream' exists with another x-delivery-limit: ours is '5', it has '1000'"
    )


async def test_a_missing_queue_is_one_line_that_says_what_to_load(loaded: Loaded) -> None:
    """At once, not after waiting: a user who may not declare cannot mend it."""
    operator = await connect(loaded.operator())
    await operator.close()
    await asyncio.to_thread(loaded.delete, "tillstream/receipts.dead")
    try:
        with pytest.raises(TopologyMissingError) as caught:
            await brokers.connect(loaded.url("worker"), TOPOLOGY, wait=30.0)
    finally:
        await asyncio.to_thread(loaded.load)
    assert str(caught.value) == (
        "queue 'receipts.dead' is not there, and this user may not make it: load what `tillstream definitions` prints"
    )
    ours = await connect(loaded.url("worker"))
    await ours.close()


async def test_the_roles_carry_a_frame_from_end_to_end_and_survive_a_restart(loaded: Loaded) -> None:
    """Published, consumed, announced, heard; and again after RabbitMQ was restarted, without a refusal repeated."""
    opened = {role: await connect(loaded.url(role)) for role in ALLOWED}
    try:
        work = await opened["worker"].consume(TOPOLOGY.work, prefetch=10)
        partials = await opened["totals"].consume(TOPOLOGY.partials, prefetch=10, exclusive=True)
        with pytest.raises(ConsumerRefusedError):
            await opened["storm"].consume(TOPOLOGY.partials, prefetch=10, exclusive=True)
        heard = await opened["dashboard"].subscribe("dashboard", {"count": "receipts", "metrics": "receipts.*"})
        rejected = await opened["dashboard"].subscribe("dashboard-rejected", {"rejected": "receipts.*"})
        watched = await opened["tools"].subscribe("watch", {"count": "receipts"})

        async def carry(body: bytes) -> None:
            """Through all of them; what earlier tests left, or an attempt that was cut short, is passed over."""
            await opened["entrypoint"].publish(Message(exchange="receipts", routing_key="receipts", body=body))
            await reach(work, body)
            for exchange, key in (("partials", "receipts"), ("rejected", "receipts.undecodable")):
                await opened["worker"].announce(Message(exchange=exchange, routing_key=key, body=body))
            await reach(partials, body)
            await opened["totals"].announce(Message(exchange="count", routing_key="receipts", body=body))
            for listener in (heard, watched, rejected):
                await reach(listener, body)

        async with asyncio.timeout(30):
            await carry(b"before")
        states = {queue.name: await opened["totals"].state(queue) for queue in TOPOLOGY.needs.queues}
        assert states["receipts.work"].consumers == 1
        for broker in opened.values():
            await broker.ping()

        await asyncio.to_thread(loaded.server.stop)
        await asyncio.to_thread(loaded.server.start)

        async def again() -> bool:
            try:
                async with asyncio.timeout(30):
                    await carry(b"after")
            except (BrokerError, TimeoutError):  # not all of them are back
                return False
            return True

        await eventually(again, timeout=60.0)
    finally:
        for broker in opened.values():
            await broker.close()


async def test_a_frame_at_its_delivery_limit_is_kept_even_while_its_queue_of_dead_letters_is_away(
    loaded: Loaded, tmp_path: Path
) -> None:
    """RabbitMQ with the definitions loaded drops nothing: the frame waits for the queue that it belongs into."""
    limit = 2
    topology = receipts_topology(delivery_limit=limit)
    small = json.loads(json.dumps(definitions(topology, vhost="small", operator="operator")))
    folder = tmp_path / "secrets"
    # How long RabbitMQ waits before it tries a dead letter again; three minutes otherwise.
    wait = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000)."
    await asyncio.to_thread(loaded.server.ctl, "eval", wait)
    there = await asyncio.to_thread(Loaded.into, loaded.server, folder, "--definitions", str(template(tmp_path, small)))
    try:
        urls = {role: there.url(role, "small") for role in ("entrypoint", "worker", "tools")}
        entrypoint, worker = await connect(urls["entrypoint"], topology), await connect(urls["worker"], topology)
        tools = await connect(urls["tools"], topology)
        try:
            consumer = await worker.consume(topology.work, prefetch=1)
            await asyncio.to_thread(there.delete, "small/receipts.dead")
            await entrypoint.publish(Message(exchange="receipts", routing_key="receipts", body=b"poison"))
            for _ in range(limit + 1):
                async with asyncio.timeout(30):
                    await (await anext(aiter(consumer))).nack()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await anext(aiter(consumer))
            await asyncio.to_thread(there.load)
            dead = await tools.consume(topology.dead, prefetch=1)
            async with asyncio.timeout(60):
                assert (await anext(aiter(dead))).body == b"poison"
        finally:
            for broker in (entrypoint, worker, tools):
                await broker.close()
    finally:
        await asyncio.to_thread(loaded.load)  # the users' passwords are those of the other folder again


async def test_a_rotated_password_is_the_one_that_holds(loaded: Loaded) -> None:
    """The old one is refused at the next connection; connections that are open stay."""
    before = loaded.url("entrypoint")
    ours = await connect(before)
    try:
        await asyncio.to_thread(Loaded.into, loaded.server, loaded.folder, "--rotate", "broker-entrypoint")
        await ours.publish(Message(exchange="receipts", routing_key="receipts", body=b"still"))
        with pytest.raises(BrokerError, match="ACCESS_REFUSED"):
            await connect(before)
        after = await connect(loaded.url("entrypoint"))
        await after.close()
    finally:
        await ours.close()


def test_the_exchanges_tried_are_all_there_are() -> None:
    """Another one has to be tried, too."""
    from tests.integration.broker import roles_of

    assert {exchange.name for exchange in EXCHANGES} == set(roles_of.EXCHANGES)
    assert {queue.name for queue in TOPOLOGY.needs.queues} == set(QUEUES)
