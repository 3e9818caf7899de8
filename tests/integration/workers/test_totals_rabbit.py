import json
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

import broker as brokers
from broker.errors import BrokerError
from broker.exchanges import receipts_topology
from engine import TotalsConfig, TotalsKeeper, TotalsMetrics
from tests.integration.workers.conftest import STREAM, Place
from tests.servers.cut import CutProxy, Mode
from tests.servers.rabbit import Rabbit
from tests.support import eventually


@pytest.mark.rabbit
async def test_totals_that_lost_their_place_stand_by_and_return(rabbit: Rabbit, place: Place) -> None:
    """Whose queue was taken by another while the connection was lost waits, and is active again when that one goes."""
    url = rabbit.vhost()
    topology = receipts_topology()
    parts = urlsplit(url)
    proxy = await CutProxy(parts.port or 0).__aenter__()
    through = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl()
    ours, other = await brokers.connect(through, topology), await brokers.connect(url, topology)
    registry = CollectorRegistry()
    keeper = TotalsKeeper(
        TotalsConfig(publish_s=0.05, sync_s=0.05, checkpoint_s=0.05, standby_s=0.05),
        broker=ours,
        store=place.store,
        stream=STREAM,
        local=STREAM.local,
        topology=topology,
        metrics=TotalsMetrics(registry),
    )

    def active() -> bool:
        return registry.get_sample_value("tillstream_totals_active") == 1.0

    taken = None

    async def usurped() -> bool:
        nonlocal taken
        try:
            taken = await other.consume(topology.partials, prefetch=1, exclusive=True)
        except BrokerError:  # RabbitMQ has not noticed yet that ours is gone
            return False
        return True

    async with place.running(keeper.run):
        await eventually(active, timeout=20)
        proxy.set(Mode.CUT)
        await eventually(usurped, timeout=30)
        proxy.heal()
        await eventually(lambda: not active(), timeout=30)
        assert taken is not None
        await taken.close()
        await eventually(active, timeout=20)
        listener = await other.subscribe("test", {"count": "#"})
        async for delivery in listener:
            assert json.loads(delivery.body)["count"] == 0
            break
    await ours.close()
    await other.close()
    await proxy.__aexit__(None, None, None)
