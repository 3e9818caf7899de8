"""The proxy that breaks on purpose does what its modes say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.servers.cut import CutProxy, Mode
from tests.support import eventually

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[CutProxy, list[bytes]]]:
    """A server that answers what it is sent, behind a proxy; and all that the server heard."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, CutProxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, heard
        server.close()


async def asked(ends: Ends, line: bytes, within: float = 5.0) -> bytes:
    """What is answered to a line."""
    ends[1].write(line)
    async with asyncio.timeout(within):
        return await ends[0].readline()


async def test_bytes_pass_both_ways() -> None:
    """An undisturbed link is none that anybody notices."""
    async with echo() as (proxy, _):
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        big = b"x" * 60_000 + b"\n"
        assert [await asked(ends, b"one\n"), await asked(ends, big)] == [b"one\n", big]
        assert proxy.connections == 1
        ends[1].close()
        await eventually(lambda: proxy.connections == 0)


async def test_a_cut_resets_what_is_open_and_what_comes() -> None:
    """Both sides see the connection break; after healing new ones work, the old one does not."""
    async with echo() as (proxy, _):
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await asked(ends, b"one\n") == b"one\n"
        proxy.set(Mode.CUT)
        with pytest.raises(ConnectionResetError):
            await ends[0].readexactly(1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            late = await asyncio.open_connection("127.0.0.1", proxy.port)
            await late[0].readexactly(1)
        proxy.heal()
        again = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await asked(again, b"two\n") == b"two\n"
        again[1].close()


async def test_a_black_hole_holds_every_byte_and_gives_them_back() -> None:
    """Nothing reaches the server, connections stay; after healing what was sent meanwhile arrives."""
    async with echo() as (proxy, heard):
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await asked(ends, b"one\n") == b"one\n"
        proxy.set(Mode.HOLE)
        with pytest.raises(TimeoutError):
            await asked(ends, b"two\n", within=0.2)
        assert heard == [b"one\n"]
        proxy.heal()
        async with asyncio.timeout(30):
            assert await ends[0].readline() == b"two\n"
        ends[1].close()


async def test_a_link_that_loses_answers_carries_requests() -> None:
    """The server does what it is asked, and nobody hears of it."""
    async with echo() as (proxy, heard):
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.set(Mode.DEAF)
        with pytest.raises(TimeoutError):
            await asked(ends, b"one\n", within=0.2)
        await eventually(lambda: heard == [b"one\n"])
        ends[1].close()


async def test_a_slow_link_is_late() -> None:
    """Every piece waits, in both directions."""
    async with echo() as (proxy, _):
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.set(Mode.SLOW, delay_s=0.15)
        began = asyncio.get_running_loop().time()
        assert await asked(ends, b"one\n") == b"one\n"
        assert asyncio.get_running_loop().time() - began >= 0.29
        ends[1].close()


async def test_nobody_behind_it_is_a_broken_connection() -> None:
    """A server that is down is noticed at once, not after a time limit."""
    async with CutProxy(1) as proxy:
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with asyncio.timeout(30):
                await ends[0].readexactly(1)
