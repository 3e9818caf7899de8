"""The answer 202, written in one piece.

Building a Response, its headers and their bytes costs as much as checking a receipt, and is the same work each time;
here the bytes are made once per second (the header Date) and once per frame (the body), which requests share.
"""

from email.utils import formatdate

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

CONTENT_TYPE = "application/json; charset=utf-8"
#: Unread answers of one connection beyond which its next request has to wait until they are read.
_UNREAD_BYTES = 64 * 1024


class AcceptedWriter:
    """Makes answers to accepted requests."""

    def __init__(self) -> None:
        self._second = 0
        self._head = b""
        self._frame = ""
        self._single = b""

    def answer(self, request: web.BaseRequest, events: int, frame: str, now: float) -> web.StreamResponse:
        """The answer to a request whose events were confirmed in a frame.

        Arguments:
            now: about the present time, epoch seconds, for the header Date.
        """
        # Rare: let the framework say so in its headers, or the application what a page of another site may read.
        if not request.keep_alive or request.version != (1, 1) or hdrs.ORIGIN in request.headers:
            return web.Response(status=202, body=_body(events, frame), headers={"Content-Type": CONTENT_TYPE})
        if int(now) != self._second:
            self._second = int(now)
            self._head = (
                f"HTTP/1.1 202 Accepted\r\nContent-Type: {CONTENT_TYPE}\r\n"
                f"Date: {formatdate(self._second, usegmt=True)}\r\nContent-Length: "
            ).encode()
            self._frame = ""
        if events != 1:
            return _WrittenResponse(self._whole(events, frame))
        if frame != self._frame:
            self._frame = frame
            self._single = self._whole(1, frame)
        return _WrittenResponse(self._single)

    def _whole(self, events: int, frame: str) -> bytes:
        body = _body(events, frame)
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)


def _body(events: int, frame: str) -> bytes:
    return b'{"accepted": %d, "frame": "%b"}\n' % (events, frame.encode())


class _WrittenResponse(web.StreamResponse):
    """A whole answer as bytes, status line and headers included, for a connection that is kept.

    It has of a StreamResponse only what the protocol calls; the rest is never made, which is the point.
    """

    def __init__(self, data: bytes) -> None:  # the base's is left out on purpose: it makes headers
        self._data = data
        self._writer: AbstractStreamWriter | None = None

    @property
    def status(self) -> int:
        return 202

    @property
    def keep_alive(self) -> bool | None:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        writer = self._writer
        assert writer is not None
        await writer.write(self._data)
        transport = writer.transport
        if transport is not None and transport.get_write_buffer_size() > _UNREAD_BYTES:
            await writer.drain()
