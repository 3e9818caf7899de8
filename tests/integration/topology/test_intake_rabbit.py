import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

import broker as brokers
import store as stores
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from engine import FrameCheck
from tests.servers.rabbit import Rabbit
from tests.support import eventually
from topology.intake import Intake


def cut(rabbit: Rabbit, url: str) -> bool:
    """Have the server close all connections to a vhost; say whether there were any."""
    vhost = url.rpartition("/")[2]
    names = [each["name"] for each in rabbit.api.get("/connections") if each.get("vhost") == vhost]
    for name in names:
        rabbit.api.delete(f"/connections/{quote(name, safe='')}")
    return bool(names)


@pytest.mark.rabbit
async def test_a_late_ack_after_a_lost_connection_acknowledges_nothing(rabbit: Rabbit, tmp_path: Path) -> None:
    """The frame comes again under another id, and only that one's ack takes it from the queue."""
    url, queues = rabbit.vhost(), receipts_topology()
    broker = await brokers.connect(url, queues)
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    check = FrameCheck(store, "receipts")
    frame = Frame.of("receipts", [b"{}"])
    message = Message(
        exchange="receipts", routing_key="receipts", body=frame.body, headers=frame.headers, message_id=frame.id
    )
    await broker.publish(message)
    intake, stop = Intake(prefetch=10), asyncio.Event()
    intake.activate()
    running = asyncio.create_task(intake.run(broker, queues.work, check, stop))
    try:
        ((first, _),) = await eventually(lambda: intake.take(5))
        await eventually(lambda: asyncio.to_thread(cut, rabbit, url), timeout=30, every=0.2)
        ((second, delivery),) = await eventually(lambda: intake.take(5), timeout=30)
        assert second != first
        assert delivery.redelivered
        intake.ack(first)
        intake.ack(first)
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running

    again, stop = Intake(prefetch=10), asyncio.Event()
    again.activate()
    running = asyncio.create_task(again.run(broker, queues.work, check, stop))
    ((third, delivery),) = await eventually(lambda: again.take(5), timeout=30)
    assert delivery.message_id == frame.id
    again.ack(third)
    stop.set()
    async with asyncio.timeout(30):
        await running
    consumer = await broker.consume(queues.work, prefetch=1)
    await broker.publish(message)  # the next is the first in the queue: the one before it is gone
    async for delivery in consumer:
        assert not delivery.redelivered
        await delivery.ack()
        break
    await consumer.close()
    await broker.close()
    await store.close()
    rabbit.drop_vhost(url)
