"""Sessions of the dashboard without browsers: what a page asks and hears, counted, at hardly any cost.

A session opens a live page, takes the token out of its HTML, and speaks Bokeh's websocket protocol as far as a page
does that only looks: it asks for the document, then takes what is pushed. Nothing is drawn.
"""

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

#: One update of a page is several messages, one for each thing that changed. What comes with a shorter pause than this
#: between is one update; a page is updated once a second.
PAUSE_SECONDS = 0.2
#: A page that is not there by then does not come.
OPEN_TIMEOUT_SECONDS = 30.0
#: What a message with a beat, and nothing else, begins with.
_BEAT = '{"events":[{"kind":"MessageSent","msg_type":"beat"'

_TOKEN = re.compile(r'"token":"([^"]+)"')


class SessionError(Exception):
    """A page could not be opened, or its session ended by itself."""


@dataclass(slots=True)
class Session:
    """What one open page heard.

    Attributes:
        path: of the page.
        opened: when its document was there, monotonic seconds; 0 before.
        document_bytes: size of the document.
        updates: when each update began, monotonic seconds.
        messages, pushed_bytes: of what was pushed after the document, the beats that change nothing aside.
    """

    path: str
    opened: float = 0.0
    document_bytes: int = 0
    updates: list[float] = field(default_factory=list)
    messages: int = 0
    pushed_bytes: int = 0
    _last: float = 0.0

    def heard(self, size: int, now: float) -> None:
        """Note a message that changes the page."""
        if now - self._last >= PAUSE_SECONDS:
            self.updates.append(now)
        self._last = now
        self.messages += 1
        self.pushed_bytes += size

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time without an update within a span, in seconds."""
        times = [since, *(each for each in self.updates if since <= each <= until), until]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def rate(self, since: float, until: float) -> float:
        """Updates a second within a span."""
        return sum(since <= each <= until for each in self.updates) / (until - since)


@asynccontextmanager
async def sessions(url: str, paths: Sequence[str], *, pause: float = 0.05) -> AsyncIterator[list[Session]]:
    """Open a session for each path and keep them listening until the block ends.

    Arguments:
        url: of the dashboard, with or without a slash at its end.
        paths: of live pages, from the site's root, such as `/` or `/stores`.
        pause: seconds between two that are opened, as people do not come all at once.

    Raises SessionError when one cannot be opened; one that ends by itself later is an error at the end of the block.
    """
    base = url.rstrip("/")
    opened: list[Session] = []
    listening: list[asyncio.Task[None]] = []
    # All share an address, as behind a proxy; a websocket has no time limit.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        try:
            for path in paths:
                session = Session(path)
                socket = await _open(http, base, session)
                opened.append(session)
                listening.append(asyncio.create_task(_listen(socket, session), name=f"session of {path}"))
                await asyncio.sleep(pause)
            yield opened
            for task in listening:
                if task.done():
                    await task
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)


async def _open(http: aiohttp.ClientSession, base: str, session: Session) -> aiohttp.ClientWebSocketResponse:
    """Get the page, connect as its script does, and wait for the document."""
    parts = urlsplit(base + session.path)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            async with http.get(parts.geturl()) as answer:
                found = _TOKEN.search(await answer.text())
            if found is None:
                raise SessionError(f"{session.path}: answered {answer.status}, without a session")
            address = parts._replace(path=parts.path.rstrip("/") + "/ws").geturl()
            socket = await http.ws_connect(address, protocols=("bokeh", found[1]), max_msg_size=0, compress=0)
            await _message(socket)  # the server greets with ACK
            header = json.dumps({"msgid": "1", "msgtype": "PULL-DOC-REQ"})
            for part in (header, "{}", "{}"):
                await socket.send_str(part)
            kind, size = "", 0
            while kind != "PULL-DOC-REPLY":
                kind, size = await _message(socket)
    except (TimeoutError, aiohttp.ClientError) as exc:
        raise SessionError(f"{session.path}: {str(exc) or type(exc).__name__}") from exc
    session.opened, session.document_bytes = time.monotonic(), size
    return socket


async def _listen(socket: aiohttp.ClientWebSocketResponse, session: Session) -> None:
    """Count what is pushed, until cancelled."""
    try:
        while True:
            kind, size = await _message(socket)
            if kind == "PATCH-DOC":
                session.heard(size, time.monotonic())
    finally:
        await socket.close()


async def _message(socket: aiohttp.ClientWebSocketResponse) -> tuple[str, int]:
    """One message of the protocol: its type (`beat` for what changes nothing) and size in bytes. It is a header,
    metadata and content, each a frame of text, then as many pairs of frames (header, bytes) as the header says."""
    header, metadata, content = [await _frame(socket) for _ in range(3)]
    said = json.loads(header)
    size = len(header) + len(metadata) + len(content)
    for _ in range(2 * int(said.get("num_buffers", 0))):
        size += len(await _frame(socket))
    return "beat" if is_beat(content) else str(said["msgtype"]), size


def is_beat(content: str | bytes) -> bool:
    """Whether the content of a message only says that the connection lives."""
    return isinstance(content, str) and content.startswith(_BEAT)


async def _frame(socket: aiohttp.ClientWebSocketResponse) -> str | bytes:
    message = await socket.receive()
    if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
        raise SessionError(f"the server ended a session: {message.type.name} {message.data or ''}".rstrip())
    frame: str | bytes = message.data
    return frame
