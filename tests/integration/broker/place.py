"""Where a broker under test lives: a file for the embedded one, a vhost of its own on RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from broker.embedded import EmbeddedBroker
from broker.exchanges import Queue, Topology, receipts_topology
from broker.protocol import Broker


class Place(Protocol):
    """Somewhere that keeps messages while no broker is open there."""

    @property
    def name(self) -> str:
        """`embedded` or `amqp`, for the few answers that may differ."""

    async def open(self, topology: Topology) -> Broker:
        """Open a broker on this place; the caller closes it before the next."""


class EmbeddedPlace:
    """A SQLite file."""

    name = "embedded"

    def __init__(self, path: Path) -> None:
        self.path = path

    async def open(self, topology: Topology) -> Broker:
        """Open the file's broker."""
        return await EmbeddedBroker.open(self.path, topology)


class AmqpPlace:
    """A vhost."""

    name = "amqp"

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self, topology: Topology) -> Broker:
        """Connect to the vhost."""
        import broker

        return await broker.connect(self.url, topology)


@asynccontextmanager
async def opened(place: Place, topology: Topology | None = None) -> AsyncIterator[Broker]:
    """A broker that is closed at the end, with the receipts' topology if none is given."""
    broker = await place.open(topology or receipts_topology())
    try:
        yield broker
    finally:
        await broker.close()


def topology(
    *, limit: int = 1000, max_bytes: int | None = None, max_length: int | None = None, pattern: str = "receipts"
) -> Topology:
    """The receipts' topology with small limits, any pattern before its queue, and partials that are kept."""
    dead = Queue(name="receipts.dead", quorum=True)
    work = Queue(
        name="receipts.work",
        bindings=(("receipts", pattern),),
        quorum=True,
        delivery_limit=limit,
        dead_letter=dead.name,
        max_bytes=max_bytes,
    )
    partials = Queue(name="partials.kept", bindings=(("partials", "receipts"),), max_length=max_length)
    return Topology(dead=dead, work=work, partials=partials)
