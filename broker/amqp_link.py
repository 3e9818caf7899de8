"""A link: one connection to RabbitMQ that is kept, made again with back-off whenever it is lost.

aio-pika's robust classes are not used: their consumers do not resume reliably after a reconnect or after the broker
cancelled them. Here whoever uses a link sees each connection end, and starts afresh on the next.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aio_pika
import structlog
from aio_pika.abc import ConnectionParameter
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Channel
from yarl import URL

from broker.amqp_errors import reason, translated
from broker.errors import BrokerError, BrokerUnavailableError
from runtime.addresses import split_address
from runtime.retry import Backoff
from streams.errors import ConfigurationError

log = structlog.get_logger()

#: The broker drops a silent peer after two of them, the driver a silent broker after three.
HEARTBEAT_SECONDS = 10
#: For TCP, TLS and the AMQP handshake together.
CONNECT_TIMEOUT_SECONDS = 10.0
#: The same where another address can be tried instead: a node that is frozen takes connections, and does not answer.
CONNECT_TIMEOUT_OF_SEVERAL_SECONDS = 4.0
#: A connection is not given up before it is so old: what keeps it from working may be quicker than a new one.
YOUNG_SECONDS = 1.0
#: A broker that does not answer our goodbye is left without.
CLOSE_TIMEOUT_SECONDS = 5.0
#: For what is asked of the broker besides publishing and consuming.
ASK_TIMEOUT_SECONDS = 10.0
#: Read ahead of the parser: several whole AMQP frames of 128 KiB (the default of 64 KiB pauses within each).
READ_BUFFER_BYTES = 1024 * 1024

Answer = TypeVar("Answer")

RECONNECT = Backoff(base_s=0.1, cap_s=2.0)


class _Connection(aio_pika.Connection):
    """aio-pika's plain connection, with a read buffer that large frames fit in."""

    PARAMETERS = (*aio_pika.Connection.PARAMETERS, ConnectionParameter(name="limit", parser=int, is_kwarg=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the broker is, and how we introduce ourselves.

    Attributes:
        urls: one for each node that may be connected to, with user and password; never logged.
        name: shown in the broker's list of connections.
    """

    urls: tuple[URL, ...] = field(repr=False)
    name: str

    @classmethod
    def parse(cls, url: str, name: str) -> "Endpoint":
        """Read an `amqp:` or `amqps:` URL that names one host, or several separated by commas.

        Raises ConfigurationError, which does not repeat it (it has a password).
        """
        try:
            address = split_address(url)
            urls = tuple(_one(address.of_host(host)) for host in address.hosts)
        except ValueError:
            raise ConfigurationError(
                "the broker's URL is not of the form amqp://user:password@host:port/vhost, where several hosts may be "
                "named: host1:port,host2:port"
            ) from None
        return cls(urls=urls, name=name)

    @property
    def connect_timeout(self) -> float:
        """How long to wait for one of them, seconds."""
        return CONNECT_TIMEOUT_SECONDS if len(self.urls) == 1 else CONNECT_TIMEOUT_OF_SEVERAL_SECONDS

    def __str__(self) -> str:
        first = self.urls[0]
        return f"{first.scheme}://{','.join(map(_place, self.urls))}{first.path}"


def _one(url: str) -> URL:
    """A URL of one host, with a heartbeat. Raises ValueError."""
    parsed = URL(url)
    if not parsed.host or parsed.path.startswith("//"):
        raise ValueError("no host")
    if "heartbeat" not in parsed.query:
        parsed = parsed.update_query(heartbeat=HEARTBEAT_SECONDS)
    return parsed


def _place(url: URL) -> str:
    """Host and port."""
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{host}:{url.port or (5671 if url.scheme == 'amqps' else 5672)}"


def first_address(count: int) -> int:
    """Which of several addresses to begin with: any, so that processes spread over the nodes."""
    return random.randrange(count)


#: Makes a new connection ready for use; returns the channels that it cannot be without.
Setup = Callable[[AbstractConnection], Awaitable[Sequence[Channel]]]


class Link:
    """One connection, kept.

    When the connection, or one of the channels that `setup` returned, is lost, the link closes what is left and
    connects again, until `close`: to the next of several addresses, beginning with any of them, with a pause (back-off
    with jitter) once none of them worked. It goes on after a fault of its own, too, and logs it as an error.

    Arguments:
        endpoint: where to.
        purpose: one word for the logs and the connection's name.
        setup: run on every new connection before it counts as ready.
    """

    def __init__(self, endpoint: Endpoint, purpose: str, setup: Setup) -> None:
        self._endpoint = endpoint
        self._purpose = purpose
        self._setup = setup
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready = asyncio.Event()
        self._deadline: float | None = None
        self._asking: AbstractChannel | None = None
        self._asked: AbstractConnection | None = None
        self._asking_lock = asyncio.Lock()
        self._leaving: set[asyncio.Task[Any]] = set()
        self._turn = first_address(len(endpoint.urls))
        #: why this connection was given up, once it was
        self.given_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._since = 0.0
        self.connection: AbstractConnection | None = None
        self.channels: Sequence[Channel] = ()

    async def open(self, wait: float | None) -> None:
        """Connect for the first time, trying for `wait` seconds (None: for ever; 0: once).

        Raises BrokerUnavailableError after that, and at once what waiting does not mend: a BrokerError for refused
        credentials or a missing vhost, TopologyMismatchError. The link is closed then, as it is when cancelled.
        """
        loop = asyncio.get_running_loop()
        self._deadline = None if wait is None else loop.time() + wait
        self._task = loop.create_task(self._keep(), name=f"amqp link {self._purpose}")
        try:
            await self._opened
        except BaseException:
            await self.close()
            raise

    async def ready(self, timeout: float | None) -> AbstractConnection:
        """The connection, as soon as there is one. Raises BrokerUnavailableError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while (connection := self.connection) is None:
                    if self._task is None or self._task.done():
                        raise BrokerUnavailableError("the broker connection is closed")
                    await self._ready.wait()
        except TimeoutError as exc:
            raise BrokerUnavailableError(f"not connected to {self._endpoint}") from exc
        return connection

    async def ask(self, doing: str, ask: Callable[[AbstractChannel], Awaitable[Answer]]) -> Answer:
        """Ask the broker something on a channel that is kept for that, in bounded time. Raises BrokerError.

        One that a question failed on is not used again: the driver or the broker closes it.
        """
        if (connection := self.connection) is None:
            raise BrokerUnavailableError(f"not connected to {self._endpoint}")
        try:
            async with translated(doing, ASK_TIMEOUT_SECONDS):
                return await self._ask(connection, ask)
        except BrokerError as exc:
            if isinstance(exc.__cause__, TimeoutError):
                self.give_up("it does not answer")
            raise

    async def _ask(self, connection: AbstractConnection, ask: Callable[[AbstractChannel], Awaitable[Answer]]) -> Answer:
        async with self._asking_lock:
            if self._asking is None or self._asked is not connection or self._asking.is_closed:
                self._asking, self._asked = await connection.channel(publisher_confirms=False), connection
            channel = self._asking
        try:
            return await ask(channel)
        except BaseException:
            if self._asking is channel:
                self._asking = None
            raise

    def give_up(self, why: str) -> None:
        """Leave this connection, which is open and of no use, for another node, if there is one.

        One that is a second old is left for later, and one that an alarm holds up is not to blame.
        """
        connection, now = self.connection, asyncio.get_running_loop().time()
        if connection is None or stalled(connection) or now - self._since < YOUNG_SECONDS:
            return
        if len(self._endpoint.urls) == 1:
            return
        if not self.given_up.done():
            self.given_up.set_result(why)

    def leave(self, channel: "AbstractChannel | aio_pika.abc.AbstractConnection") -> "asyncio.Task[Any]":
        """Begin to close a channel or connection; whoever wants to can wait for the task, and must not cancel it.

        The driver sends a cancelled close a second time; RabbitMQ takes that for a fault and ends the connection.
        """
        task = asyncio.create_task(_closed(channel), name="amqp channel closing")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def close(self) -> None:
        """Close the connection, bounded, and stop making new ones. Calls under way on it fail."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._leaving:  # their connection is gone, so they end
            await asyncio.wait(self._leaving, timeout=CLOSE_TIMEOUT_SECONDS)
        self._ready.set()  # whoever waits for a connection learns that there will be none

    async def _keep(self) -> None:
        failures = 0
        refusal: BrokerError | None = None
        while True:
            try:
                await self._connected_once()
                failures, refusal = 0, None
            except Exception as exc:  # noqa: BLE001 - a link that ended would leave its process alive and deaf
                failures += 1
                if not isinstance(exc, BrokerUnavailableError):
                    refusal = refusal or self._fault(exc)
                if failures % len(self._endpoint.urls):
                    continue
                delay = RECONNECT.delay(failures // len(self._endpoint.urls), random.random())
                if not self._opened.done() and (refusal or self._overdue(delay)):
                    self._opened.set_exception(refusal or exc)
                    return
                refusal = None
                log.warning(
                    "broker unavailable, trying again", link=self._purpose, error=str(exc), delay_s=round(delay, 2)
                )
                await asyncio.sleep(delay)

    def _fault(self, exc: Exception) -> BrokerError:
        """What waiting does not mend, as a BrokerError; a fault of ours is logged with all there is to know."""
        if isinstance(exc, BrokerError):
            return exc
        log.error("the broker link failed", link=self._purpose, exc_info=exc)
        return BrokerError(f"the broker link failed: {reason(exc)}")

    def _overdue(self, delay: float) -> bool:
        return self._deadline is not None and asyncio.get_running_loop().time() + delay > self._deadline

    async def _connected_once(self) -> None:
        """Connect to the next address, and offer the connection until it is lost."""
        url = self._endpoint.urls[self._turn]
        self._turn = (self._turn + 1) % len(self._endpoint.urls)
        opened = await self._connect(url)
        try:
            lost = await self._serve(opened, _place(url))
        finally:
            self.connection, self.channels = None, ()
            self._ready.clear()
            closing = self.leave(opened)
            if len(self._endpoint.urls) == 1:  # else the next address need not wait for it
                await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_SECONDS)
        log.warning("broker connection lost, connecting again", link=self._purpose, node=_place(url), error=lost)

    async def _connect(self, url: URL) -> aio_pika.abc.AbstractConnection:
        async with translated(f"connecting to {_place(url)}", self._endpoint.connect_timeout):
            return await aio_pika.connect(
                url,
                client_properties={"connection_name": f"{self._endpoint.name} {self._purpose}"},
                connection_class=_Connection,
                limit=READ_BUFFER_BYTES,
            )

    async def _serve(self, opened: aio_pika.abc.AbstractConnection, node: str) -> str:
        """Offer a connection until it, or a channel it needs, is lost or given up; returns why."""
        if opened.transport is None:
            raise BrokerUnavailableError(f"connecting to {node}: lost at once")
        connection = opened.transport.connection
        async with translated(f"preparing {node}", CONNECT_TIMEOUT_SECONDS):
            self.channels = await self._setup(connection)
        loop = asyncio.get_running_loop()
        self.given_up, self._since = loop.create_future(), loop.time()
        ends = [connection.closing, *(channel.closing for channel in self.channels), self.given_up]
        self.connection = connection
        self._ready.set()
        if not self._opened.done():
            self._opened.set_result(None)
        log.debug("broker connected", link=self._purpose, broker=node)
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.given_up in done:
            return self.given_up.result()
        causes = [end.exception() for end in done if not end.cancelled()]
        return next((reason(cause) for cause in causes if cause), "closed")


async def _closed(channel: "AbstractChannel | aio_pika.abc.AbstractConnection") -> None:
    """Close a channel or connection; one that cannot be closed is gone."""
    with suppress(Exception, asyncio.CancelledError):  # the driver cancels its waiters
        await channel.close()


def stalled(connection: AbstractConnection) -> bool:
    """Whether the broker asked us to stop publishing.

    The driver says so only through `ready()`, which then waits; so run it up to its first wait (about a microsecond).
    """
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    finally:
        waiting.close()
    return True
