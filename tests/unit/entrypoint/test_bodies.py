"""Decompression within bounds, and what large requests may hold together."""

import asyncio
import gzip
import zlib

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from broker.errors import OverloadedError
from entrypoint.bodies import Bodies
from entrypoint.config import Bound, EntrypointConfig
from entrypoint.problems import ProblemError
from tests.support import eventually


def bodies(max_bytes: int = 1_000_000, held: int = 10_000_000) -> Bodies:
    """With limits of their own."""
    return Bodies(EntrypointConfig(body_max_bytes=max_bytes, receiving_max_bytes=held))


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 262_144, 999_999, 1_000_000])
async def test_gzip_comes_out_as_it_went_in(size: int) -> None:
    """At every size up to the limit, compressible or not, in one member or several."""
    subject = bodies()
    data = bytes(number * number % 251 for number in range(size))
    half = size // 2
    for packed in (
        gzip.compress(data, mtime=0),
        gzip.compress(data, 0, mtime=0),
        gzip.compress(data[:half], mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(data[half:], mtime=0),
    ):
        with subject.hold() as hold:
            assert await subject.gunzip(packed, hold) == data


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (gzip.compress(b"x" * 1_000_001, mtime=0), 413),
        (gzip.compress(b"x" * 600_000, mtime=0) * 2, 413),
        (gzip.compress(b"x" * 1000, mtime=0)[:-1], 400),
        (gzip.compress(b"x" * 1000, mtime=0)[:5], 400),
        (gzip.compress(b"x", mtime=0) + b"tail", 400),
        (zlib.compress(b"x"), 400),
        (gzip.compress(b"", mtime=0) * 10_001, 400),
    ],
)
async def test_what_is_damaged_or_too_large_is_refused(packed: bytes, status: int) -> None:
    """With the status that fits."""
    subject = bodies()
    with subject.hold() as hold, pytest.raises(ProblemError) as caught:
        await subject.gunzip(packed, hold)
    assert caught.value.type.status == status


def test_large_requests_share_a_bound_and_give_back_what_they_held() -> None:
    """Beyond it a further one is refused, but never the only one."""
    subject = bodies(held=100)
    with subject.hold() as first, subject.hold() as second:
        first.grow(60)
        first.grow(50)  # less than it holds already
        second.grow(40)
        with pytest.raises(OverloadedError):
            second.grow(41)
    with subject.hold() as alone:
        alone.grow(1000)


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        (Bound("127.0.0.1", 3000), "http://127.0.0.1:3000"),
        (Bound("0.0.0.0", 80), "http://127.0.0.1:80"),
        (Bound("::", 80), "http://[::1]:80"),
        (Bound("fd00::1", 80), "http://[fd00::1]:80"),
    ],
)
def test_an_address_to_open(bound: Bound, url: str) -> None:
    """Where it listens on all addresses, the one to open is this machine's own."""
    assert bound.url == url


async def test_a_connection_that_was_lost_before_its_body_is_no_defect() -> None:
    """Whoever begins to wait for a body then learns that it does not come; nothing is logged as a failure of ours."""
    begun, lost = asyncio.Event(), asyncio.Event()
    outcome: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await lost.wait()
        await eventually(lambda: request.transport is None)
        # A body of which nothing says that its connection is gone, as when that happens between two of its parts.
        loop = asyncio.get_running_loop()
        request._payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        try:
            with bodies().hold() as hold:
                await bodies().receive(request, hold)
        except BaseException as exc:  # noqa: BLE001 - any
            outcome.set_result(exc)
        else:
            outcome.set_result(None)
        return web.Response()

    server = await asyncio.get_running_loop().create_server(web.Server(handle), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    await begun.wait()
    writer.close()
    lost.set()
    async with asyncio.timeout(30):
        found = await outcome
    server.close()
    assert isinstance(found, ProblemError)
    assert "lost before the body" in str(found)
