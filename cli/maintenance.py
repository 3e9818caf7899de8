"""Store and broker for commands that a person runs to put something right: opened at once or not at all."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import broker as brokers
import store as stores
from broker.errors import BrokerError
from broker.exchanges import Topology, receipts_topology
from broker.protocol import Broker
from cli.settings import Settings
from store.errors import StoreMissingError
from store.protocol import Store
from streams.errors import ConfigurationError

#: RabbitMQ's figures of quorum queues are up to 5 s old.
RABBITMQ_LAG_S = 6.0
_IN_USE = re.compile(r"in use by process (\d+)")


class BrokerInUseError(BrokerError):
    """The embedded broker belongs to a `tillstream up` that runs."""


def topology_of(settings: Settings) -> Topology:
    """What the settings say there is at the broker."""
    return receipts_topology(work_max_bytes=settings.work_max_bytes, delivery_limit=settings.delivery_limit)


def is_embedded(settings: Settings) -> bool:
    """Whether the broker is the embedded one, which serves one process."""
    return settings.broker.startswith("sqlite:")


def make_data_folder(settings: Settings) -> None:
    """Make the folder of the embedded broker and store, if either is used. Raises ConfigurationError."""
    if not any(url.startswith("sqlite:") for url in (settings.broker, settings.store)):
        return
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"the data folder {settings.data} cannot be made: {exc.strerror}: "
            "name another with --data or TILLSTREAM_DATA"
        ) from exc


def has_broker(settings: Settings) -> bool:
    """Whether there is a broker to be opened: the file of the embedded one is made by the first `up`."""
    return not is_embedded(settings) or Path(settings.broker.removeprefix("sqlite:")).expanduser().exists()


@contextmanager
def way_out_named() -> Iterator[None]:
    """Add to the error about a store that is not there which settings name another one."""
    try:
        yield
    except StoreMissingError as exc:
        raise StoreMissingError(f"{exc}: name the right one with TILLSTREAM_STORE, --store or --data") from exc


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store, closed at the end; never made. Raises StoreError, and StoreMissingError where there is none."""
    with way_out_named():
        store = await stores.connect(settings.store, create=False)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_broker(settings: Settings, command: str) -> AsyncIterator[Broker]:
    """The broker, closed at the end. Raises BrokerError: it does not answer, or `tillstream up` has it for itself."""
    try:
        broker = await brokers.connect(
            settings.broker, topology_of(settings), wait=0, name=f"tillstream {command}", role="tools"
        )
    except BrokerError as exc:
        if is_embedded(settings) and (found := _IN_USE.search(str(exc))):
            raise BrokerInUseError(
                f"the embedded broker serves one process, and that is {found[1]} now: stop `tillstream up` for as long "
                f"as `tillstream {command}` takes, and start it again afterwards; nothing is lost"
            ) from exc
        raise
    try:
        yield broker
    finally:
        await broker.close()
