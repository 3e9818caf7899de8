"""The Storm engine in a whole system: a topology on a real cluster, `tillstream` processes beside it, a listener."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import broker as brokers
from broker.exchanges import receipts_topology
from cli.settings import read_settings
from cli.storm import topology_config
from feeds import Copies, Generator, GeneratorOptions, Sender, SenderOptions, send_requests
from tests.integration.system.harness import System
from tests.integration.system.test_exactness import identity
from tests.servers.rabbit import Rabbit
from tests.servers.storm import StormServer
from tests.support import eventually
from tests.support_expected import Expected
from topology import storm_topology

#: Until what was sent is counted again: a worker JVM starts anew, with both cores busy.
RECOVERY_S = 180.0

#: For `tillstream audit`, which reads all there is: 20,000 receipts and more, on a server that shares two cores.
AUDIT_S = 300.0


@dataclass
class StormSystem:
    """A topology, and whoever shares broker and store with it.

    Attributes:
        cluster: what it runs on.
        name: of the topology.
        environ: the settings of all of them.
    """

    cluster: StormServer
    name: str
    environ: dict[str, str]

    def submit(self) -> None:
        """Submit the topology, and wait until all of it runs."""
        topology, conf = storm_topology(topology_config(read_settings(self.environ).settings))
        self.cluster.submit(self.name, topology, conf, environ=self.environ)

    def kill(self, wait_s: int = 1) -> None:
        """Kill the topology if it is there, and wait until it is gone."""
        if any(line.name == self.name for line in self.cluster.nimbus.topologies()):
            self.cluster.kill(self.name, wait_s=wait_s)

    def system(self, folder: Path) -> System:
        """The other processes: an entrypoint, and those of the asyncio engine for who wants them; none is started."""
        folder.mkdir(exist_ok=True)
        system = System(dict(self.environ), folder)
        system.add("entrypoint", "entrypoint", "--port", str(system.port))
        system.add("worker", "worker")
        system.add("totals", "totals")
        return system


def environ_of(broker: str, store: str) -> dict[str, str]:
    """Settings for tests of a system at these addresses."""
    return {
        "TILLSTREAM_BROKER": broker,
        "TILLSTREAM_STORE": store,
        "TILLSTREAM_WORKER_PROBES_PORT": "0",
        "TILLSTREAM_TOTALS_PROBES_PORT": "0",
        "TILLSTREAM_CHECKPOINT_S": "2",
    }


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the totals, and when it was heard, by the monotonic clock."""

    at: float
    exchange: str
    body: dict[str, Any]

    @property
    def order(self) -> tuple[str, int]:
        """By which subscribers order messages."""
        return self.body["day"], self.body["revision"]


@dataclass
class Heard:
    """All that the totals have said."""

    said: list[Said] = field(default_factory=list)

    def counts(self, since: float = 0.0) -> list[Said]:
        """What came on `count`, from a moment on."""
        return [each for each in self.said if each.exchange == "count" and each.at >= since]

    def last(self, exchange: str) -> dict[str, Any]:
        """The last message on an exchange; an AssertionError before the first."""
        found = [each.body for each in self.said if each.exchange == exchange]
        assert found
        return found[-1]

    def silence(self, since: float, until: float | None = None) -> float:
        """The longest time without a message on `count`, seconds."""
        until = time.monotonic() if until is None else until
        moments = [since, *(each.at for each in self.counts(since) if each.at <= until), until]
        return max(after - before for before, after in itertools.pairwise(moments))


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Heard]:
    """Listen to the totals as a subscriber does, while the block lasts."""
    broker = await brokers.connect(url, receipts_topology())
    consumer = await broker.subscribe("test", {"count": "#", "categories": "#"})
    heard = Heard()

    async def listen() -> None:
        async for delivery in consumer:
            body = json.loads(delivery.body, parse_float=Decimal)
            heard.said.append(Said(time.monotonic(), delivery.exchange, body))

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        await broker.close()
        async with asyncio.timeout(30):
            await task


class Traffic:
    """Receipts of one business day posted at a rate, 5 % of them twice, until it is told to end.

    Arguments:
        system: where they go.
        rate: receipts a second, in requests of five.
        days_ago: their business day, so that tests which share a store are told apart.
    """

    def __init__(self, system: System, *, rate: float, seed: int, days_ago: int = 0) -> None:
        self._system = system
        self._rate = rate
        options = GeneratorOptions(seed=seed, copies=Copies(duplicates=0.05))
        moment = time.time() - days_ago * 86_400
        self.day = time.strftime("%Y-%m-%d", time.gmtime(moment))
        self._generator = Generator(options, clock=lambda: moment)
        self._over = False
        self.sent: list[bytes] = []
        self.identities: set[tuple[str, str, str, str]] = set()

    def _requests(self) -> Iterator[list[bytes]]:
        for request in self._generator.requests(1_000_000, 5):
            if self._over:
                return
            self.sent += request
            self.identities.update(map(identity, request))
            yield request

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Post while the block lasts; then wait until every receipt was answered with 202."""
        options = SenderOptions(url=self._system.url, concurrency=4, first_patience_s=60.0)
        async with Sender(options) as sender:
            posting = asyncio.create_task(send_requests(sender, self._requests(), rate=self._rate))
            try:
                yield
                self._over = True
                async with asyncio.timeout(60):
                    await posting
                    await sender.drain()
            finally:
                posting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await posting
        assert sender.counts.complete, sender.counts.summary()
        assert sender.counts.accepted == len(self.sent)

    async def counted(self) -> int:
        """How many receipts of the day the totals have, by `GET /totals`."""
        count: int = (await self._system.get(f"/totals/{self.day}"))["count"]
        return count

    async def caught_up(self, within: float = RECOVERY_S) -> float:
        """Wait until all that was sent until now is counted, and something since; the seconds that it took."""
        began, before = time.monotonic(), len(self.identities)

        async def enough() -> bool:
            return await self.counted() > before

        await eventually(enough, timeout=within, every=0.25)
        return time.monotonic() - began

    def expected(self) -> Expected:
        """What all of it adds up to."""
        expected = Expected()
        expected.add_all(self.sent)
        return expected


async def at_rest(system: System, rabbit: Rabbit) -> str:
    """Wait until the queues are empty and the audit agrees; what it printed."""
    url = system.environ["TILLSTREAM_BROKER"]

    async def empty() -> bool:
        for name in ("receipts.work", "receipts.dead"):
            assert (await asyncio.to_thread(rabbit.queue, url, name))["messages"] == 0
        return True

    await eventually(empty, timeout=150, every=0.5)
    began = time.monotonic()
    code, printed = await system.run("audit", within=AUDIT_S)
    print(f"audited in {time.monotonic() - began:.1f} s")
    assert code == 0, printed
    assert "everything adds up" in printed, printed
    return printed


def assert_monotone(heard: Heard) -> None:
    """What subscribers see never goes back: neither the revision nor, within a day, the count."""
    counts = heard.counts()
    assert [each.order for each in counts] == sorted(each.order for each in counts)
    pairs = itertools.pairwise(each.body for each in counts)
    assert all(one["day"] != then["day"] or one["count"] <= then["count"] for one, then in pairs)
