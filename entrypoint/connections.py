"""Connections: how many there may be, how slow they may be, and errors below our handlers as problem documents.

What bodies may be is in `entrypoint.bodies`.
"""

import asyncio
import contextlib
import re
import resource
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from entrypoint.config import EntrypointConfig
from entrypoint.problems import HEADERS_TOO_LARGE, INTERNAL, MALFORMED, OVERLOADED, PATH_TOO_LONG, ProblemError

log = structlog.get_logger()

#: How long a connection whose body was refused is read on, so that its answer is not lost to a reset.
_LINGER_SECONDS = 5.0
#: Refusals under way beyond which a connection is closed without a word.
_MAX_REFUSALS = 100
#: How long a connection beyond the limit may take to ask, and to read that it is one too many.
_REFUSAL_SECONDS = 5.0
#: File descriptors of the process that are for something else than connections.
_OTHER_DESCRIPTORS = 256
#: Of a request line, and of one header. They differ because aiohttp's error names the limit, and not the place.
_LINE_MAX_BYTES = 8192
_HEADER_MAX_BYTES = 8190
_TOO_MANY_HEADERS = "Too many headers"
#: How aiohttp goes on after it has said what is wrong: with the bytes in question, as Python writes them.
_QUOTED = re.compile(r":\s*(?:bytearray\()?b['\"].*", re.DOTALL)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def room_for(connections: int) -> int:
    """How many connections there may be: as many as are asked for, or as the system's limit of open files allows.

    Raises that limit for this process as far as it may.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    room = max(soft - _OTHER_DESCRIPTORS, 1)
    log.warning("the limit of open files allows fewer connections", wanted=connections, allowed=room)
    return room


class _Request(web.BaseRequest):
    """A request whose answer does not say which versions of what gave it."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall(hdrs.SERVER, None)


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """aiohttp's factory of requests, errors below our handlers included."""
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())


class ConnectionServer(web.Server):
    """aiohttp's low-level server with our connections, and no more of them than there may be.

    Arguments:
        handler: answers requests.
        config: the limits.
        on_refused: called for each connection that is refused because there are too many.
    """

    def __init__(self, handler: Handler, config: EntrypointConfig, on_refused: Callable[[], None]) -> None:
        super().__init__(
            handler,
            request_factory=_request,
            access_log=None,
            auto_decompress=False,  # ours is bounded
            keepalive_timeout=config.idle_timeout_seconds,
            lingering_time=_LINGER_SECONDS,
            max_line_size=_LINE_MAX_BYTES,
            max_field_size=_HEADER_MAX_BYTES,
        )
        self.head_timeout_seconds = config.head_timeout_seconds
        self.unread_timeout_seconds = config.unread_timeout_seconds
        self._max = room_for(config.connections_max)
        self._on_refused = on_refused
        self._refusals: set[_Refusal] = set()

    def __call__(self) -> Any:
        """The protocol of a connection that was just accepted."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def refuse(self, transport: asyncio.Transport) -> bool:
        """Take a new connection over if it is one too many."""
        if len(self._connections) < self._max:
            return False
        self._on_refused()
        refusal = _Refusal(self._refusals)
        transport.set_protocol(refusal)
        refusal.connection_made(transport)
        return True

    async def shutdown(self, timeout: float | None = None) -> None:
        for refusal in tuple(self._refusals):
            refusal.abort()
        await super().shutdown(timeout)


class _Connection(web.RequestHandler):
    """A connection that has to get on, and whose errors are problem documents and no tracebacks in the log.

    It is closed when the head of a request has begun and does not end, and when nothing of a large answer is read.
    """

    __slots__ = ("_head_timer", "_limits", "_unread_timer")

    def __init__(self, manager: ConnectionServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._limits = manager
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Here, and not where connections are accepted: of a burst all may be before the first is made.
        if not self._limits.refuse(cast(asyncio.Transport, transport)):
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if waiter is None:  # a request is being answered
            return
        if waiter.done():  # a head is complete
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and data.strip(b"\r\n"):  # some send a line end behind a body
            self._head_timer = self._loop.call_later(self._limits.head_timeout_seconds, self.force_close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread(None)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _watch_unread(self, before: int | None) -> None:
        """Give a client up that has read nothing for as long as it may."""
        transport = self.transport
        if transport is None:
            return
        unread = transport.get_write_buffer_size()
        if unread == before:
            transport.abort()
        else:
            seconds = self._limits.unread_timeout_seconds
            self._unread_timer = self._loop.call_later(seconds, self._watch_unread, unread)

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading where it was paused; where it was not, aiohttp would run its parser on nothing instead.

        It asks for this with every body that is read (measured: a tenth of what it takes to serve a receipt).
        """
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status < 500:
            problem = _unreadable(exc, (message or str(exc)).partition("\n")[0])
        else:
            log.error("a connection failed unexpectedly", exc_info=exc)
            problem = ProblemError(INTERNAL, "see the log")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = problem.response()
        response.force_close()
        return response


def _unreadable(error: BaseException | None, said: str) -> ProblemError:
    """The problem of a request whose head aiohttp cannot read, or does not want to."""
    if isinstance(error, LineTooLong):
        if error.args[1] == _LINE_MAX_BYTES:
            return ProblemError(PATH_TOO_LONG, f"the request line is longer than {_LINE_MAX_BYTES} bytes")
        return ProblemError(HEADERS_TOO_LARGE, f"a header is larger than {_HEADER_MAX_BYTES} bytes")
    if said.startswith(_TOO_MANY_HEADERS):
        return ProblemError(HEADERS_TOO_LARGE, "there are too many headers")
    return ProblemError(MALFORMED, _QUOTED.sub("", said).rstrip(" :")[:300] or "not HTTP")


class _Refusal(asyncio.Protocol):
    """A connection beyond the limit: when it asks for something it is told so, then it is closed.

    Nothing of what it sends is kept, and it lasts `_REFUSAL_SECONDS` at most.
    """

    def __init__(self, refusals: "set[_Refusal]") -> None:
        self._refusals = refusals
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._refusals) >= _MAX_REFUSALS:
            self._transport.abort()
        else:
            self._refusals.add(self)
            self._timer = asyncio.get_running_loop().call_later(_REFUSAL_SECONDS, self.abort)

    def data_received(self, data: bytes) -> None:
        if self._answered or self._transport is None:
            return
        self._answered = True
        self._transport.write(_refusal())
        # What it still sends is read and dropped for a moment: closing at once could cost it this answer.
        self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._refusals.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()


def _refusal() -> bytes:
    """The whole answer to a connection beyond the limit."""
    response = ProblemError(OVERLOADED, "too many connections at once").response()
    body = response.body
    assert isinstance(body, bytes)
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}\r\n".encode() + body
