"""The embedded broker: RabbitMQ's semantics on one SQLite file, in the process that owns it.

It is the default of `tillstream up`, and real: durable before the confirm, redelivering, dead-lettering, surviving
kill -9. It is not a server: other processes can only listen (`broker.embedded_tap`). Inside:

- `broker.embedded_file`: the tables and the lock
- `broker.embedded_queues`: who gets what next, in turns that are transactions
- `broker.embedded_thread`: the thread that runs the turns
- `broker.embedded_subscriptions`: listeners, in memory
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from broker.embedded_file import FileLock, Record
from broker.embedded_mailbox import EmbeddedDelivery, Mailbox
from broker.embedded_queues import Inspect, Join, Leave, Operation, Publish, Settle
from broker.embedded_subscriptions import Hub, Subscription
from broker.embedded_tap import Tap, TapClient
from broker.embedded_thread import BrokerThread, Report
from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerUnavailableError,
    PublishUnknownError,
    UnroutableError,
)
from broker.exchanges import Queue, Topology
from broker.protocol import Delivery, Message, QueueState, check_size
from broker.topics import matches

#: A disk that takes longer leaves the outcome of a publish unknown.
PUBLISH_TIMEOUT_SECONDS = 10.0
#: Pause between tries while the disk fails.
RETRY_SECONDS = 1.0
#: AMQP's limit for names and routing keys.
NAME_BYTES = 255
#: Announcements on their way to disk; beyond it (a disk that hangs) queues miss some, as they may.
ANNOUNCED_LIMIT = 10_000
#: Routes remembered; see `broker.embedded_subscriptions`.
ROUTES_REMEMBERED = 1024


class EmbeddedConsumer:
    """An open consumer of one queue; see `broker.protocol.Consumer`."""

    def __init__(self, broker: "EmbeddedBroker", id: int) -> None:
        self._broker = broker
        self._id = id
        self._closed = False
        self._mailbox: Mailbox[Delivery] = Mailbox()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self._mailbox

    def offer(self, id: int, record: Record, *, redelivered: bool) -> None:
        """Take a delivery in from the broker."""
        if not self._closed:
            settle = partial(self._settle, id)
            self._mailbox.put(EmbeddedDelivery(record, redelivered=redelivered, settle=settle))

    async def cancel(self) -> None:
        """Stop new deliveries; the iteration ends after those already here."""
        await self._broker.leave(self._id, give_back=False)
        self._mailbox.end(discard=False)

    async def close(self) -> None:
        """Cancel, and give back whatever is unsettled."""
        self._closed = True
        self._mailbox.end(discard=True)
        await self._broker.leave(self._id, give_back=True)

    def end(self) -> None:
        """The broker is closed: nothing comes any more."""
        self._closed = True
        self._mailbox.end(discard=True)

    def _settle(self, id: int, give_back: bool) -> None:
        if not self._closed:
            self._broker.settle(Settle(self._id, id, give_back))


class EmbeddedBroker:
    """A broker on one SQLite file, owned by this process until `close`; see `broker.protocol.Broker`.

    Open it with `open`. Acknowledging returns before it is durable, as with RabbitMQ; `close` carries out what was
    asked for before it. One file keeps the promises of a disk: `synchronous=FULL` before a confirm.
    """

    @classmethod
    async def open(
        cls,
        path: str | Path,
        topology: Topology,
        *,
        publish_timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        tap: bool = True,
    ) -> "EmbeddedBroker":
        """Open the file, made if need be, with its folder.

        Arguments:
            tap: let other processes of this user listen, on a socket beside the file.

        Raises:
            BrokerError: another process has it, or it is not a broker file of ours.
            BrokerUnavailableError: it cannot be opened or written.
        """
        broker = cls(Path(path), topology, publish_timeout_seconds, retry_seconds)
        await broker._open(tap)
        return broker

    @staticmethod
    async def attach(path: str | Path) -> TapClient:
        """Listen to the broker that another process of this user runs on `path`; it can only subscribe.

        Raises BrokerUnavailableError if no broker runs there.
        """
        return await TapClient.open(Path(path))

    def __init__(self, path: Path, topology: Topology, publish_timeout_seconds: float, retry_seconds: float) -> None:
        """Use `open`."""
        self._path = path
        self._topology = topology
        self._queues = {queue.name: queue for queue in topology.queues}
        self._exchanges = {exchange.name for exchange in topology.exchanges}
        self._publish_timeout = publish_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._lock: FileLock | None = None
        self._thread = BrokerThread(path, topology.queues, self._pass_on, retry_seconds=retry_seconds)
        self._hub = Hub()
        self._tap: Tap | None = None
        self._routes: dict[tuple[str, str], tuple[str, ...]] = {}
        self._waiting: dict[Operation, asyncio.Future[Any]] = {}
        self._consumers: dict[int, EmbeddedConsumer] = {}
        self._consumer_ids = itertools.count(1)
        self._announced = 0
        self._failing: str | None = None
        self._closing = False
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def _open(self, tap: bool) -> None:
        self._lock = FileLock(self._path)
        self._thread.start()
        try:
            await self._started
            if tap:
                self._tap = await Tap.serve(self._path, self._hub)
        except BaseException:
            await self.close()
            raise

    @property
    def blocked(self) -> bool:
        """Whether the disk fails right now, or the broker is closed."""
        return self._failing is not None or self._closing

    async def publish(self, message: Message) -> None:
        """Publish: returns when the message is on disk in every queue that is bound for it."""
        self._check_open()
        if self._failing is not None:
            raise BrokerBlockedError(f"the disk fails: {self._failing}")
        record = _record(message)
        queues = self._route(message.exchange, message.routing_key)
        if not queues:
            if not self._hub.wanted(message.exchange, message.routing_key):
                raise UnroutableError(f"nothing is bound to {message.exchange!r} for {message.routing_key!r}")
            self._hub.offer(record)
            return
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._ask(Publish(record, queues))
        except TimeoutError as exc:
            raise PublishUnknownError(f"the disk did not answer within {self._publish_timeout} s") from exc

    async def announce(self, message: Message) -> None:
        """Publish without waiting: subscribers have it at once, queues a moment later, or never if the disk fails."""
        self._check_open()
        record = _record(message)
        queues = self._route(message.exchange, message.routing_key)
        if queues and self._failing is None and self._announced < ANNOUNCED_LIMIT:
            self._announced += 1
            self._thread.submit(Publish(record, queues, announced=True))
        self._hub.offer(record)

    async def consume(self, queue: Queue, *, prefetch: int, exclusive: bool = False) -> EmbeddedConsumer:
        """Take messages from a queue, to be acknowledged."""
        self._check_open()
        if prefetch < 1:
            raise ValueError(f"prefetch has to be at least 1, not {prefetch}")
        number = next(self._consumer_ids)
        join = Join(number, self._declared(queue), prefetch, exclusive)
        consumer = self._consumers[number] = EmbeddedConsumer(self, number)
        try:
            await self._ask(join)
        except BaseException:  # refused, or the caller was cancelled and nobody would ever close it
            del self._consumers[number]
            self._thread.submit(Leave(number, give_back=True))
            raise
        return consumer

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> Subscription:
        """Listen, in memory, dropping the oldest beyond `max_length`."""
        self._check_open()
        for exchange in bindings:
            self._check_exchange(exchange)
        return self._hub.subscribe(role, bindings, max_length)

    async def state(self, queue: Queue) -> QueueState:
        """Messages ready in a queue, and its consumers, exactly."""
        self._check_open()
        state: QueueState = await self._ask(Inspect(self._declared(queue)))
        return state

    async def ping(self) -> None:
        """Ask the thread that owns the file. Raises BrokerError while the disk fails."""
        await self.state(self._topology.dead)

    async def close(self) -> None:
        """Carry out what was asked for, close consumers and file, and let others have it. Idempotent."""
        if self._closing:
            await asyncio.shield(self._ended)
            return
        self._closing = True
        if self._tap is not None:
            await self._tap.close()  # first: its listeners are subscriptions
        await self._hub.close()
        for consumer in list(self._consumers.values()):
            consumer.end()
        if self._lock is not None:
            self._thread.stop()
            await asyncio.shield(self._ended)
            self._thread.join()
            self._lock.release()

    def settle(self, operation: Settle) -> None:
        """Settle a delivery; for consumers."""
        self._thread.submit(operation)

    async def leave(self, consumer: int, *, give_back: bool) -> None:
        """Take a consumer out; for consumers."""
        if self._closing:
            return
        try:
            await self._ask(Leave(consumer, give_back))
        finally:
            if give_back:
                self._consumers.pop(consumer, None)

    async def _ask(self, operation: Operation) -> Any:
        """Submit an operation and wait for its answer; cancelling the caller does not take it back."""
        future = self._waiting[operation] = self._loop.create_future()
        self._thread.submit(operation)
        return await future

    def _pass_on(self, report: Report) -> None:
        """In the thread: hand a report to the event loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, report)

    def _take(self, report: Report) -> None:
        """In the event loop: answer callers, fill mailboxes."""
        self._failing = report.failing
        if not self._started.done():
            self._begin(report)
            return
        for operation, answer in report.outcome.answers:
            self._answer(operation, answer)
        for number, row in report.outcome.handed:
            consumer = self._consumers.get(number)
            if consumer is not None:
                consumer.offer(row.id, row.record, redelivered=row.attempts > 1)
        if report.ended:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(PublishUnknownError("the broker was closed"))
            self._waiting.clear()
            self._finish()

    def _begin(self, report: Report) -> None:
        if report.ended:
            self._started.set_exception(BrokerUnavailableError(f"{self._path} cannot be opened: {report.failing}"))
            self._finish()
        else:
            self._started.set_result(None)

    def _finish(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _answer(self, operation: Operation, answer: Any) -> None:
        refused = isinstance(answer, BrokerError)
        if isinstance(operation, Publish):
            if operation.announced:
                self._announced -= 1
            elif not refused:
                self._hub.offer(operation.record)
        future = self._waiting.pop(operation, None)
        if future is None or future.done():
            return
        if refused:
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _route(self, exchange: str, routing_key: str) -> tuple[str, ...]:
        """The queues bound for a routing key; the default exchange leads to the queue of that name."""
        route = self._routes.get((exchange, routing_key))
        if route is None:
            self._check_exchange(exchange)
            if len(self._routes) >= ROUTES_REMEMBERED:
                self._routes.clear()
            route = tuple(self._bound(exchange, routing_key))
            self._routes[exchange, routing_key] = route
        return route

    def _bound(self, exchange: str, routing_key: str) -> Iterable[str]:
        for queue in self._topology.queues:
            bindings = (("", queue.name), *queue.bindings)
            if any(name == exchange and matches(pattern, routing_key) for name, pattern in bindings):
                yield queue.name

    def _declared(self, queue: Queue) -> str:
        if queue.name not in self._queues:
            raise BrokerError(f"there is no queue {queue.name!r} here")
        return queue.name

    def _check_exchange(self, exchange: str) -> None:
        if exchange and exchange not in self._exchanges:
            raise BrokerError(f"there is no exchange {exchange!r} here")

    def _check_open(self) -> None:
        if self._closing:
            raise BrokerUnavailableError("the broker is closed")


def _record(message: Message) -> Record:
    """A message as the file keeps it. Raises BrokerError for what RabbitMQ would not take either."""
    for name in (message.routing_key, message.message_id or ""):
        if len(name.encode(errors="replace")) > NAME_BYTES:
            raise BrokerError(f"{name[:32]!r}… is longer than {NAME_BYTES} bytes")
    check_size(message)
    headers = msgspec.json.encode(message.headers).decode() if message.headers else "{}"
    return Record(message.exchange, message.routing_key, message.message_id, headers, bytes(message.body))
