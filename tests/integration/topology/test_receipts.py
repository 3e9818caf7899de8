"""The topology on a real cluster, with real servers: what it counts is published, stored, and adds up."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

import broker as brokers
import store as stores
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from cli.settings import read_settings
from cli.storm import topology_config
from engine import audit, read_totals
from tests.integration.workers.conftest import STREAM
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import Rabbit
from tests.servers.storm import StormServer
from tests.support import eventually
from tests.unit.streams.sample import receipt
from topology import storm_topology

pytestmark = [pytest.mark.storm, pytest.mark.rabbit, pytest.mark.mongo, pytest.mark.timeout(400)]

#: The sample receipt's.
DAY = "2026-11-18"


def frame(first: int, count: int) -> Frame:
    """So many receipts of 26.53, and one line that is not even text."""
    lines = [
        STREAM.accept(json.dumps(receipt({"cashReceiptID": number})).encode(), 1_795_003_200.0)
        for number in range(first, first + count)
    ]
    return Frame.of(STREAM.name, [*lines, b"\xff\xfe"])


async def test_receipts_are_counted_once(storm_cluster: StormServer, rabbit: Rabbit, ferret: FerretServer) -> None:
    """Frames of all sizes, some of them twice; the totals are right to the cent, and the audit finds nothing."""
    environ = {
        "TILLSTREAM_BROKER": rabbit.vhost(),
        "TILLSTREAM_STORE": ferret.database(),
        "TILLSTREAM_LOG_LEVEL": "info",
    }
    settings = read_settings({**environ, "TILLSTREAM_STORM_BOLTS": "2"}).settings
    store = await stores.connect(settings.store, [STREAM])
    await store.prepare(STREAM.name, STREAM.key_names)
    queues = receipts_topology()
    broker = await brokers.connect(settings.broker, queues)
    topology, conf = storm_topology(topology_config(settings))
    await asyncio.to_thread(storm_cluster.submit, "receipts", topology, conf, environ=environ)
    try:
        frames = [frame(number * 1000, 1 if number % 2 else 50) for number in range(40)]
        for each in [*frames, *frames[::4]]:
            message = Message(
                exchange=STREAM.name,
                routing_key=STREAM.name,
                body=each.body,
                headers=each.headers,
                message_id=each.id,
            )
            await broker.publish(message)

        async def counted() -> Any:
            found = await read_totals(store, STREAM, DAY)
            assert found["count"] == 20 * 51
            return found

        found = await eventually(counted, timeout=120, every=0.5)
        assert Decimal(bytes(found["sum"]).decode()) == 20 * 51 * Decimal("26.53")
        ids = await asyncio.to_thread(storm_cluster.component_pids, "LedgerBolt")
        assert len(ids) == 2
        report = await audit(store, STREAM)
        assert (report.differences, report.open) == (0, 0), report.listed
    finally:
        await asyncio.to_thread(storm_cluster.kill, "receipts")
        await broker.close()
        await store.close()
