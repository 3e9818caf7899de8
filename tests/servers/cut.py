"""A TCP proxy that breaks on purpose: between two parts of a system, it cuts, swallows, delays or loses answers.

It knows nothing of what passes through it. Healing it is what a network does: bytes that were held go on, connections
that were reset stay reset.
"""

import asyncio
import contextlib
import enum
import socket
import struct
from types import TracebackType
from typing import Self

#: Read at once; small enough that a slow link is slow, not stuck.
_CHUNK_BYTES = 64 * 1024
#: Closing with this sends a reset, as a cut by a firewall or a dead host does, instead of a goodbye.
_RESET = struct.pack("ii", 1, 0)


class Mode(enum.Enum):
    """What becomes of bytes and connections."""

    PASS = "pass"
    #: Connections are reset, new ones too.
    CUT = "cut"
    #: Connections stay (new ones are taken as well), and no byte passes.
    HOLE = "hole"
    #: Requests pass, answers don't: what was asked for happens, and nobody hears of it.
    DEAF = "deaf"
    #: Each piece of bytes is late.
    SLOW = "slow"


class CutProxy:
    """One listening port of 127.0.0.1 that leads to another; an async context manager.

    Arguments:
        port: where it leads to.

    Attributes:
        port: where it listens.
        connections: open right now.
        passed_bytes: in both directions.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._mode = Mode.PASS
        self._delay_s = 0.0
        self._changed = asyncio.Event()
        self._generation = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.passed_bytes = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._reset()
        for task in self._pairs:
            task.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    @property
    def connections(self) -> int:
        """Open right now."""
        return len(self._pairs)

    def set(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        """Change what it does, for open connections as well.

        Arguments:
            delay_s: for `Mode.SLOW`, by how much each piece of at most 64 KiB is late.
        """
        self._mode, self._delay_s = mode, delay_s
        self._changed.set()
        self._changed = asyncio.Event()
        if mode is Mode.CUT:
            self._reset()

    def heal(self) -> None:
        """Let everything pass again."""
        self.set(Mode.PASS)

    def silence(self) -> None:
        """Pass no byte on connections that are open now, ever again, and leave them open: a network that was changed
        under them. New ones pass."""
        self._generation += 1

    def _reset(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        self._writers.add(writer)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy is closing: an ending like any other, for the server that called us
        finally:
            _reset(writer)
            self._writers.discard(writer)
            self._pairs.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect on, and pass bytes until one side ends."""
        if self._mode is Mode.CUT:
            return
        born = self._generation
        await self._may_pass(born, answers=False)
        try:
            onward, out = await asyncio.open_connection("127.0.0.1", self._target, limit=_CHUNK_BYTES)
        except OSError:
            return  # nobody listens there: whoever asked is reset, which comes close to being refused
        self._writers.add(out)
        pumps = [
            asyncio.create_task(self._pump(reader, out, born, answers=False)),
            asyncio.create_task(self._pump(onward, writer, born, answers=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            _reset(out)
            self._writers.discard(out)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, born: int, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                if self._mode is Mode.SLOW:
                    await asyncio.sleep(self._delay_s)
                await self._may_pass(born, answers=answers)
                sink.write(chunk)
                await sink.drain()
                self.passed_bytes += len(chunk)

    async def _may_pass(self, born: int, *, answers: bool) -> None:
        """Wait while bytes of this direction are held, for connections of before a silence for good."""
        while born != self._generation or self._mode is Mode.HOLE or (self._mode is Mode.DEAF and answers):
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, without a goodbye."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError, ValueError):  # it may be closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
