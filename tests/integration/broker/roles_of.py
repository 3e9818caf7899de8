"""A RabbitMQ that has loaded the definitions, and what each role's user tries to do there, one thing at a time."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from broker.definitions import VHOST
from deploy import make_secrets
from tests.servers.rabbit import Api, PrivateRabbit

#: For one try; RabbitMQ answers within milliseconds.
TRY_SECONDS = 20.0


@dataclass(frozen=True)
class Loaded:
    """RabbitMQ with the definitions of a folder of secrets, as Compose has it but for the host's name.

    Attributes:
        folder: as `scripts/secrets` made it.
    """

    server: PrivateRabbit
    folder: Path

    @classmethod
    def into(cls, server: PrivateRabbit, folder: Path, *arguments: str) -> "Loaded":
        """Make secrets and load the definitions; blocks."""
        assert make_secrets.main(["--folder", str(folder), *arguments]) == 0
        loaded = cls(server, folder)
        loaded.load()
        return loaded

    def load(self) -> None:
        """Load the definitions as the documentation says; blocks."""
        self.server.ctl("import_definitions", str(self.folder / "rabbitmq-definitions.json"))

    def url(self, role: str, vhost: str = VHOST) -> str:
        """Where a role's process connects to; blocks."""
        url = self._here((self.folder / f"broker-{role}-url").read_text().strip())
        return url.removesuffix(VHOST) + vhost

    def operator(self) -> str:
        """The same for the operator; blocks."""
        password = (self.folder / "rabbitmq-admin-password").read_text().strip()
        return self._here(f"amqp://operator:{password}@rabbitmq:5672/tillstream")

    def delete(self, queue: str) -> None:
        """Delete a queue, as the operator; blocks. `queue` is its vhost, a slash, and its name."""
        password = (self.folder / "rabbitmq-admin-password").read_text().strip()
        Api(self.server.api.url, "operator", password).delete(f"/queues/{queue}")

    def _here(self, url: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.server.port}").geturl()


Try = Callable[[AbstractChannel], Awaitable[object]]


def _publish(exchange: str, key: str) -> Try:
    return lambda channel: channel.basic_publish(b"", exchange=exchange, routing_key=key)


async def _ignore(_: object) -> None:
    """A delivery that nobody wants; its channel is closed at once."""


async def _subscribe(channel: AbstractChannel, role: str) -> None:
    name = f"{role}.{uuid.uuid4()}"
    await channel.queue_declare(name, exclusive=True, auto_delete=True)
    for exchange in ("count", "categories", "metrics"):
        await channel.queue_bind(name, exchange, "receipts.#")
    await channel.basic_consume(name, _ignore, no_ack=True)


def _listen_to(exchange: str) -> Try:
    """Bind a queue of one's own to an exchange; `dashboard.…` and `watch.…` are the only ones that anybody may have."""

    async def attempt(channel: AbstractChannel) -> None:
        for role in ("dashboard", "watch"):
            name = f"{role}.{uuid.uuid4()}"
            with suppress(ChannelAccessRefused):
                await channel.queue_declare(name, exclusive=True, auto_delete=True)
                await channel.queue_bind(name, exchange, "#")
                return
            channel = await channel.connection.channel()
        raise ChannelAccessRefused("neither")

    return attempt


EXCHANGES = ("receipts", "partials", "count", "categories", "metrics", "rejected")
QUEUES = ("receipts.work", "receipts.dead")


def _of_a_queue(name: str) -> dict[str, Try]:
    return {
        f"put into {name}": _publish("", name),
        f"consume {name}": lambda channel: channel.basic_consume(name, _ignore),
        f"get from {name}": lambda channel: channel.basic_get(name),
        f"purge {name}": lambda channel: channel.queue_purge(name),
        f"bind {name}": lambda channel: channel.queue_bind(name, "count", "#"),
        f"unbind {name}": lambda channel: channel.queue_unbind(name, "count", "#"),
        f"declare {name}": lambda channel: channel.queue_declare(name, durable=True),
        f"delete {name}": lambda channel: channel.queue_delete(name),
    }


def _of_an_exchange(name: str) -> dict[str, Try]:
    return {
        f"publish to {name}": _publish(name, "receipts"),
        f"publish past {name}": _publish(name, "elsewhere"),
        f"listen to {name}": _listen_to(name),
        f"declare {name}": lambda channel: channel.exchange_declare(name, exchange_type="topic", durable=True),
        f"delete {name}": lambda channel: channel.exchange_delete(name),
    }


#: What there is to try, by name.
TRIES: dict[str, Try] = {
    **{name: attempt for queue in QUEUES for name, attempt in _of_a_queue(queue).items()},
    **{name: attempt for exchange in EXCHANGES for name, attempt in _of_an_exchange(exchange).items()},
    "publish to amq.topic": _publish("amq.topic", "receipts"),
    "declare a queue": lambda channel: channel.queue_declare("mine", durable=True),
    "declare a nameless queue": lambda channel: channel.queue_declare("", exclusive=True),
    "declare an exchange": lambda channel: channel.exchange_declare("mine"),
    "subscribe as dashboard": lambda channel: _subscribe(channel, "dashboard"),
    "subscribe as dashboard-rejected": lambda channel: _subscribe(channel, "dashboard-rejected"),
    "subscribe as watch": lambda channel: _subscribe(channel, "watch"),
    "subscribe as worker": lambda channel: _subscribe(channel, "worker"),
}


async def allowed(url: str) -> set[str]:
    """Which of TRIES a user may do; each on a channel of its own, which is closed after it."""
    connection = await aio_pika.connect(url)
    found = set()
    try:
        assert connection.transport is not None
        for name, attempt in TRIES.items():
            channel = await connection.transport.connection.channel(publisher_confirms=True)
            async with asyncio.timeout(TRY_SECONDS):
                try:
                    await attempt(channel)
                except ChannelAccessRefused:
                    continue
                found.add(name)
                await channel.close()
    finally:
        await connection.close()
    return found


def template(folder: Path, content: object) -> Path:
    """A file of definitions to be loaded instead of the usual ones."""
    path = folder / "template.json"
    path.write_text(json.dumps(content))
    return path
