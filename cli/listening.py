"""Listening to a broker from a process that does nothing else: whatever carries the messages, and without the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import broker as brokers
from broker.exchanges import receipts_topology
from cli.settings import Settings
from dashboard import Subscriber


@asynccontextmanager
async def listening(settings: Settings, name: str, *, wait: float = 30.0) -> AsyncIterator[Subscriber]:
    """What can be subscribed to at the settings' broker, closed at the end.

    On the embedded broker this attaches to the process that runs it.

    Arguments:
        name: how the connection is called in RabbitMQ's lists.
        wait: how long to try while RabbitMQ cannot be reached, seconds; 0 once.

    Raises BrokerUnavailableError if none does, or if RabbitMQ cannot be reached.
    """
    scheme, _, path = settings.broker.partition(":")
    if scheme == "sqlite":
        from broker.embedded import EmbeddedBroker  # noqa: PLC0415 - not needed with RabbitMQ

        tap = await EmbeddedBroker.attach(path)
        try:
            yield tap
        finally:
            await tap.close()
        return
    topology = receipts_topology(work_max_bytes=settings.work_max_bytes, delivery_limit=settings.delivery_limit)
    broker = await brokers.connect(settings.broker, topology, wait=wait, name=f"tillstream {name}", role="dashboard")
    try:
        yield broker
    finally:
        await broker.close()
