"""Three RabbitMQ nodes, of which one is killed, frozen or cut off: what goes on, and what does not stop others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

import broker
from broker import amqp_consumer, amqp_link
from broker.errors import BrokerError, BrokerFullError, BrokerUnavailableError, ConsumerRefusedError
from broker.exchanges import receipts_topology
from broker.protocol import Broker, Consumer, Delivery, Message
from tests.servers.cluster import RabbitCluster
from tests.servers.rabbit import PrivateRabbit
from tests.support import eventually

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(240)]

TOPOLOGY = receipts_topology()
#: Quick enough for tests, longer than a confirm ever takes here.
PUBLISH_TIMEOUT_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Cluster:
    """The session's cluster, and a vhost of the test's own."""

    server: RabbitCluster
    url: str

    def by(self, *nodes: PrivateRabbit) -> str:
        """An address that names these nodes alone."""
        return self.server.url_by([node.port for node in nodes], self.url)


@pytest.fixture
async def cluster(rabbit_cluster: RabbitCluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """All three nodes run before and after each test, and clients begin with the first of their addresses."""
    monkeypatch.setattr(amqp_link, "first_address", lambda _: 0)
    monkeypatch.setattr(amqp_consumer, "WATCHDOG_SECONDS", 1.0)
    url = await asyncio.to_thread(rabbit_cluster.vhost)
    yield Cluster(rabbit_cluster, url)
    await asyncio.to_thread(rabbit_cluster.heal)
    await asyncio.to_thread(rabbit_cluster.drop_vhost, url)


async def connect(url: str, role: str) -> Broker:
    """As a process of this role does, but always to the first node of the URL that answers."""
    return await broker.connect(
        url, TOPOLOGY, publish_timeout=PUBLISH_TIMEOUT_SECONDS, wait=PATIENCE_SECONDS, role=role
    )


def receipt(body: bytes) -> Message:
    """A frame, as far as the broker is concerned."""
    return Message(exchange="receipts", routing_key="receipts", body=body)


async def publish(ours: Broker, body: bytes) -> None:
    """Publish as a till does: again and again, until it is taken."""

    async def taken() -> bool:
        try:
            await ours.publish(receipt(body))
        except (BrokerUnavailableError, BrokerFullError):
            return False
        return True

    await eventually(taken, timeout=PATIENCE_SECONDS)


async def take(consumer: Consumer, body: bytes) -> Delivery:
    """The delivery of this body; repetitions of others before it are acknowledged."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for delivery in consumer:
            if delivery.body == body:
                return delivery
            await delivery.ack()
    raise AssertionError("the consumer ended")


async def hold(ours: Broker) -> Consumer:
    """Become the active totals, as soon as nobody is."""

    async def held() -> Consumer | None:
        try:
            return await ours.consume(TOPOLOGY.partials, prefetch=10, exclusive=True)
        except BrokerError:
            return None

    consumer = await eventually(held, timeout=PATIENCE_SECONDS, every=0.2)
    assert consumer is not None
    return consumer


@pytest.mark.parametrize("how", ["killed", "cut off"])
async def test_a_lost_node_stops_nobody(cluster: Cluster, how: str) -> None:
    """The node to which all are connected goes: they go on, others start anew, and a standby becomes active.

    A worker at a node that is cut off is left out: it receives nothing, and nobody can tell that it should.
    """
    first, second, third = cluster.server.nodes
    lonely = cluster.by(first, second, third)
    tills = await connect(lonely, "entrypoint")
    worker = await connect(lonely if how == "killed" else cluster.by(second, third), "worker")
    active, standby = await connect(cluster.by(first), "totals"), await connect(cluster.by(second), "totals")
    late: list[Broker] = []
    try:
        frames = await worker.consume(TOPOLOGY.work, prefetch=10)
        await hold(active)
        with pytest.raises(ConsumerRefusedError):
            await standby.consume(TOPOLOGY.partials, prefetch=10, exclusive=True)
        await publish(tills, b"before")
        await (await take(frames, b"before")).ack()

        await asyncio.to_thread(first.kill if how == "killed" else lambda: cluster.server.cut_off(first))
        await publish(tills, b"after")
        await (await take(frames, b"after")).ack()
        partials = await hold(standby)
        await standby.announce(Message(exchange="partials", routing_key="receipts", body=b"news"))
        assert (await take(partials, b"news")).body == b"news"

        for role in ("entrypoint", "worker", "totals", "dashboard"):  # started while the node is away
            late.append(await connect(lonely, role))
            await late[-1].ping()
        await publish(late[0], b"of a new process")
        await (await take(frames, b"of a new process")).ack()
    finally:
        for each in (tills, worker, active, standby, *late):
            await each.close()


async def test_a_frozen_node_is_left_for_another(cluster: Cluster) -> None:
    """It keeps its connections and answers nothing: each publish ends, and soon one gets through by another node."""
    first, *others = cluster.server.nodes
    tills = await connect(cluster.by(first, *others), "entrypoint")
    worker = await connect(cluster.by(*others), "worker")
    try:
        frames = await worker.consume(TOPOLOGY.work, prefetch=10)
        await publish(tills, b"before")
        await asyncio.to_thread(first.pause)
        await publish(tills, b"while it is frozen")
        late = await connect(cluster.by(first, *others), "entrypoint")
        try:
            await publish(late, b"of a new process")
        finally:
            await late.close()
        await asyncio.to_thread(first.resume)
        for body in (b"while it is frozen", b"of a new process"):
            await (await take(frames, body)).ack()
    finally:
        await tills.close()
        await worker.close()
