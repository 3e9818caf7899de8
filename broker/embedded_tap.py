"""The embedded broker's tap: other processes of this user listen on a Unix socket beside the file, and only listen.

One connection is one subscription. The listener sends one line of JSON (`Request`); the answer is one line (`Answer`),
then one line per message (`Line`). Nothing can be published or taken through it.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import structlog

from broker.embedded_file import Record
from broker.embedded_mailbox import EmbeddedDelivery, Mailbox
from broker.embedded_subscriptions import Hub
from broker.errors import BrokerError, BrokerUnavailableError
from broker.protocol import Delivery

log = structlog.get_logger()

#: The kernel's limit for a socket's path is 108 bytes, on some systems 104, with the final zero.
SOCKET_PATH_BYTES = 100
#: The longest line: a message of the largest size in base64, with room for its names.
LINE_BYTES = 192 * 1024**2
#: A listener has to say what it wants within this time, and the broker to answer.
HANDSHAKE_SECONDS = 5.0
#: Pause of a listener between tries while no broker runs.
RETRY_SECONDS = 1.0


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a listener wants: as in `broker.protocol.Broker.subscribe`."""

    role: str
    bindings: dict[str, str]
    max_length: int = 1000


class Answer(msgspec.Struct):
    """Whether it gets it."""

    error: str | None = None


class Line(msgspec.Struct):
    """One message; the body in base64."""

    exchange: str
    routing_key: str
    message_id: str | None
    headers: msgspec.Raw
    body: bytes


_encode = msgspec.json.Encoder().encode
_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)
_lines = msgspec.json.Decoder(Line)


def socket_path(path: Path) -> Path:
    """Where the tap of a broker file is: beside it, or where a note beside it says if that path is too long.

    Raises BrokerUnavailableError if neither is there.
    """
    beside, note = path.with_suffix(".sock"), path.with_suffix(".sock.path")
    if len(os.fsencode(beside)) <= SOCKET_PATH_BYTES:
        return beside
    try:
        return Path(os.fsdecode(note.read_bytes()))
    except OSError as exc:
        raise BrokerUnavailableError(f"no embedded broker runs on {path}") from exc


class Tap:
    """The serving side; one per broker, which holds the file's lock."""

    def __init__(self, hub: Hub) -> None:
        """Use `serve`."""
        self._hub = hub
        self._listeners: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._leftovers = contextlib.ExitStack()

    @classmethod
    async def serve(cls, path: Path, hub: Hub) -> "Tap":
        """Listen for listeners. Raises BrokerUnavailableError if the socket cannot be made."""
        tap = cls(hub)
        try:
            listener = tap._bind(path)
            tap._server = await asyncio.start_unix_server(tap._greet, sock=listener, limit=64 * 1024)
        except OSError as exc:
            tap._leftovers.close()
            raise BrokerUnavailableError(f"no socket can be made for {path}: {exc.strerror}") from exc
        return tap

    def _bind(self, path: Path) -> socket.socket:
        """A socket for this user only; one that a killed owner left is replaced, since we hold the file's lock."""
        where, note = path.with_suffix(".sock"), path.with_suffix(".sock.path")
        if len(os.fsencode(where)) > SOCKET_PATH_BYTES:
            folder = tempfile.mkdtemp(prefix="tillstream-", dir="/tmp")  # private (0700), and short
            self._leftovers.callback(shutil.rmtree, folder, ignore_errors=True)
            where = Path(folder, "broker.sock")
            note.write_bytes(os.fsencode(where))
            self._leftovers.callback(note.unlink, missing_ok=True)
        where.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(os.fspath(where))
            where.chmod(0o600)  # before anyone can connect: it does not listen yet
        except OSError:
            listener.close()
            raise
        self._leftovers.callback(where.unlink, missing_ok=True)
        return listener

    async def close(self) -> None:
        """Send the listeners away and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._listeners:
            task.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        self._leftovers.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served by a task")
        task.set_name("embedded broker listener")
        self._listeners.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it went away, said nothing, or the broker closes: nobody is left to tell
        finally:
            self._listeners.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                request = _requests.decode(await reader.readuntil(b"\n"))
            if request.max_length < 1:
                raise ValueError("max_length has to be at least 1")
        except (msgspec.MsgspecError, asyncio.LimitOverrunError, ValueError) as exc:
            writer.write(_encode(Answer(error=f"not a request: {exc}")) + b"\n")
            await writer.drain()
            return
        subscription = self._hub.subscribe(request.role, request.bindings, request.max_length)
        gone = asyncio.create_task(reader.read(1), name="embedded broker listener left")  # it has nothing more to say
        gone.add_done_callback(lambda _: subscription.mailbox.end(discard=True))
        try:
            writer.write(_encode(Answer()) + b"\n")
            async for delivery in subscription:
                writer.write(_line(delivery))
                await writer.drain()  # a slow listener loses the oldest of its own messages, nobody else's
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            await subscription.close()


def _line(delivery: Delivery) -> bytes:
    headers = msgspec.Raw(_encode(dict(delivery.headers)))
    return _encode(Line(delivery.exchange, delivery.routing_key, delivery.message_id, headers, delivery.body)) + b"\n"


async def listen(
    path: Path, bindings: Mapping[str, str], *, role: str = "listener", max_length: int = 1000
) -> AsyncIterator[Delivery]:
    """What the broker on `path`, in another process, announces from now on; ends with an error when it goes away.

    Raises BrokerUnavailableError if no broker runs there (any more), BrokerError if it refuses.
    """
    reader, writer = await _connect(path)
    try:
        writer.write(_encode(Request(role, dict(bindings), max_length)) + b"\n")
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            answer = _answers.decode(await reader.readuntil(b"\n"))
        if answer.error is not None:
            raise BrokerError(answer.error)
        while True:
            line = _lines.decode(await reader.readuntil(b"\n"))
            record = Record(line.exchange, line.routing_key, line.message_id, bytes(line.headers).decode(), line.body)
            yield EmbeddedDelivery(record, redelivered=False, settle=None)
    except (OSError, EOFError, TimeoutError, msgspec.MsgspecError, asyncio.LimitOverrunError) as exc:
        raise BrokerUnavailableError(f"the embedded broker on {path} has gone") from exc
    finally:
        writer.close()


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(socket_path(path), limit=LINE_BYTES)
    except OSError as exc:
        raise BrokerUnavailableError(
            f"no embedded broker runs on {path} ({exc.strerror or exc}); start one with `tillstream up`"
        ) from exc


class TapConsumer:
    """A subscription over the tap that survives restarts of the broker; see `broker.protocol.Consumer`."""

    def __init__(self, path: Path, role: str, bindings: Mapping[str, str], max_length: int) -> None:
        """Use `TapClient.subscribe`."""
        self._mailbox: Mailbox[Delivery] = Mailbox(max_length)
        self._path = path
        self._listening = asyncio.create_task(
            self._listen(role, dict(bindings), max_length), name=f"{role}.{uuid.uuid4()}"
        )

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self._mailbox

    async def cancel(self) -> None:
        """Receive nothing more; what is here can still be read."""
        await self._stop(discard=False)

    async def close(self) -> None:
        """End the iteration."""
        await self._stop(discard=True)

    async def _stop(self, *, discard: bool) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._mailbox.end(discard=discard)

    async def _listen(self, role: str, bindings: Mapping[str, str], max_length: int) -> None:
        while True:
            try:
                async for delivery in listen(self._path, bindings, role=role, max_length=max_length):
                    self._mailbox.put(delivery)
            except BrokerUnavailableError as exc:
                log.debug("embedded broker gone, trying again", error=str(exc), delay_s=RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)


class TapClient:
    """A connection to another process' embedded broker that can subscribe, and nothing else."""

    def __init__(self, path: Path) -> None:
        """Use `open`."""
        self._path = path
        self._consumers: list[TapConsumer] = []

    @classmethod
    async def open(cls, path: Path) -> "TapClient":
        """Look whether a broker runs on `path`. Raises BrokerUnavailableError if none does."""
        client = cls(path)
        await client.ping()
        return client

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> TapConsumer:
        """Listen; messages are kept here, the oldest dropped beyond `max_length`."""
        consumer = TapConsumer(self._path, role, bindings, max_length)
        self._consumers.append(consumer)
        return consumer

    async def ping(self) -> None:
        """Connect to the broker. Raises BrokerUnavailableError if it is not there."""
        _, writer = await _connect(self._path)
        writer.close()

    async def close(self) -> None:
        """Close the subscriptions."""
        for consumer in self._consumers:
            await consumer.close()
