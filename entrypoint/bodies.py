"""A request's body: bounded in size, in time and in memory, and decompressed. What is in it is for `entrypoint.intake`.

Most bodies are complete when their request is; only what is not, or is compressed, comes here.
"""

import asyncio
import zlib
from types import TracebackType
from typing import Self

from aiohttp import ClientConnectionError, hdrs, web

from broker.errors import OverloadedError
from entrypoint.config import EntrypointConfig
from entrypoint.problems import EXPECTATION_FAILED, INVALID_BODY, TIMEOUT, TOO_LARGE, UNSUPPORTED_TYPE, ProblemError

GZIP_MAGIC = b"\x1f\x8b"
#: zlib's window bits for a gzip header and trailer.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
#: Handed to zlib at once; it copies what is left over at the end of a member, so this bounds what many members cost.
_INPUT_BYTES = 8 * 1024
#: Far more than any compressor makes of a body within the limits.
_MAX_MEMBERS = 10_000
#: Decompressed in one go, between which others have their turn: about a millisecond's work.
_TURN_BYTES = 256 * 1024
_CLOSE = {"Connection": "close"}


class Hold:
    """What one large request holds in memory, as a context manager that lets go of it."""

    def __init__(self, bodies: "Bodies") -> None:
        self._bodies = bodies
        self._bytes = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes from now on, if that is more. Raises OverloadedError where all requests hold too much."""
        if size > self._bytes:
            self._bodies.reserve(size - self._bytes)
            self._bytes = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bodies.release(self._bytes)
        self._bytes = 0


class Bodies:
    """Reads bodies within the limits of the configuration, and bounds what large requests hold together."""

    def __init__(self, config: EntrypointConfig) -> None:
        self.max_bytes = config.body_max_bytes
        self._timeout_seconds = config.body_timeout_seconds
        self._held_max_bytes = config.receiving_max_bytes
        self._held_bytes = 0

    def hold(self) -> Hold:
        """Begin to count what a large request holds."""
        return Hold(self)

    def reserve(self, size: int) -> None:
        """Count bytes as held. Raises OverloadedError unless they fit, or are the only ones."""
        if self._held_bytes and self._held_bytes + size > self._held_max_bytes:
            raise OverloadedError("too many large requests at once")
        self._held_bytes += size

    def release(self, size: int) -> None:
        """Count bytes as held no longer."""
        self._held_bytes -= size

    def too_large(self) -> ProblemError:
        """The problem of a body beyond the limit."""
        return ProblemError(TOO_LARGE, f"the body is larger than {self.max_bytes} bytes")

    async def receive(self, request: web.BaseRequest, hold: Hold) -> bytes:
        """Wait for the rest of a body that is still coming in.

        Raises ProblemError (too large, too slow, cut off) or OverloadedError; the connection is then not used again.
        """
        announced = request.content_length
        if announced is not None:
            if announced > self.max_bytes:
                raise self.too_large()
            hold.grow(announced)
        await _continue(request)
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > self.max_bytes:
                        raise self.too_large()
                    hold.grow(len(body))
        except TimeoutError:
            raise ProblemError(
                TIMEOUT, f"the body was not complete after {self._timeout_seconds:g} s", headers=_CLOSE
            ) from None
        except (web.RequestPayloadError, ClientConnectionError, ConnectionError) as exc:
            raise ProblemError(INVALID_BODY, "the body ended before it was complete", headers=_CLOSE) from exc
        except RuntimeError as exc:
            if request.transport is not None:
                raise
            # So aiohttp calls a connection that was lost before anybody waited for its body.
            raise ProblemError(INVALID_BODY, "the connection was lost before the body", headers=_CLOSE) from exc
        return bytes(body)

    async def decompress(self, body: bytes, encoding: str, hold: Hold) -> bytes:
        """Undo a `Content-Encoding`. Raises ProblemError: not known, damaged, or too large once decompressed."""
        name = encoding.strip().lower()
        if name == "identity":
            return body
        if name not in ("gzip", "x-gzip"):
            raise ProblemError(
                UNSUPPORTED_TYPE, f"the encoding {name!r} is not known here", headers={"Accept-Encoding": "gzip"}
            )
        return await self.gunzip(body, hold)

    async def gunzip(self, body: bytes, hold: Hold) -> bytes:
        """Decompress gzip of any number of members; memory stays within the limit, whatever they hold."""
        view = memoryview(body)
        out = bytearray()
        position = members = turn = 0
        try:
            while position < len(body) and members < _MAX_MEMBERS:
                member = zlib.decompressobj(_GZIP_WINDOW)
                ended = False
                while not ended:
                    piece = view[position : position + _INPUT_BYTES]
                    data = member.decompress(piece, min(_TURN_BYTES, self.max_bytes + 1 - len(out)))
                    ended = member.eof
                    # At the end of a member what is left over may stand in both.
                    position += len(piece) - len(member.unused_data if ended else member.unconsumed_tail)
                    if not data and not piece and not ended:
                        raise ProblemError(INVALID_BODY, "the gzip data is cut off")
                    out += data
                    if len(out) > self.max_bytes:
                        raise self.too_large()
                    if len(out) - turn > _TURN_BYTES:
                        turn = len(out)
                        hold.grow(turn)
                        await asyncio.sleep(0)
                members += 1
        except zlib.error as exc:
            raise ProblemError(INVALID_BODY, "the gzip data is damaged") from exc
        if position < len(body):
            raise ProblemError(INVALID_BODY, f"the gzip data has more than {_MAX_MEMBERS} members")
        return bytes(out)


def check_transfer(request: web.BaseRequest) -> None:
    """Refuse a body in another transfer coding than `chunked`, which is all that was undone (RFC 9112, section 6.1).

    Raises ProblemError; the connection is not used again, as somebody before us may see another end of the body.
    """
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.strip().lower() != "chunked":
        raise ProblemError(UNSUPPORTED_TYPE, f"the transfer coding {coding[:100]!r} is not known here", headers=_CLOSE)


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to go on and send its body (RFC 9110, section 10.1.1)."""
    expectation = request.headers.get(hdrs.EXPECT)
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise ProblemError(EXPECTATION_FAILED, f"the expectation {expectation!r} is not known here")
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
