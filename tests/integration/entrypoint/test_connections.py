"""Connections that do not get on, and more connections than there may be."""

import asyncio
import resource
from pathlib import Path

import pytest

from entrypoint import EntrypointConfig
from entrypoint.connections import room_for
from tests.integration.entrypoint.harness import WAIT, body, entrypoint
from tests.support import eventually

REQUEST = b"GET /totals HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_head_that_trickles_in_is_given_up(tmp_path: Path) -> None:
    """Bytes now and then do not keep a connection: from its first byte a request's head has a time limit."""
    async with entrypoint(tmp_path, EntrypointConfig(head_timeout_seconds=0.3)) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        writer.write(REQUEST)  # a request before it changes nothing
        async with asyncio.timeout(WAIT):
            assert (await reader.readuntil(b"\n")).startswith(b"HTTP/1.1 200 ")
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(WAIT):
            for byte in REQUEST.replace(b"x", b"x" * 10_000):
                writer.write(bytes([byte]))
                await asyncio.wait({ended}, timeout=0.02)
                if ended.done():
                    break
        assert ended.done()
        writer.close()
        assert (await entry.get("/totals")).status == 200


async def test_a_connection_between_requests_is_not_hurried(tmp_path: Path) -> None:
    """The limit is for heads that have begun: idle connections, also behind a stray line end, have more time."""
    async with entrypoint(tmp_path, EntrypointConfig(head_timeout_seconds=1.0)) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        async with asyncio.timeout(WAIT):
            for _ in range(2):
                writer.write(REQUEST[:9])
                await asyncio.sleep(0.02)  # two reads, and far less than a head may take
                writer.write(REQUEST[9:])
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readline()
                writer.write(b"\r\n")
                await asyncio.sleep(1.2)  # longer than a head may take
        writer.close()


async def test_a_client_that_reads_nothing_of_its_answer_is_given_up(tmp_path: Path) -> None:
    """A large answer is kept for a client only as long as it reads on."""
    config = EntrypointConfig(unread_timeout_seconds=0.2)
    async with entrypoint(tmp_path, config) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port, limit=1024)
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)  # some 60 MB to read

        async def gone() -> bool:
            return (await entry.metrics())["tillstream_http_connections"] == 1  # that of this question

        await eventually(gone)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with asyncio.timeout(WAIT):
                await reader.readexactly(1 << 30)
        writer.close()


async def test_a_client_that_reads_slowly_gets_its_whole_answer(tmp_path: Path) -> None:
    """As long as it reads on it is waited for."""
    async with entrypoint(tmp_path, EntrypointConfig(unread_timeout_seconds=1.0)) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port, limit=1024)
        asked = 300
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * asked)
        length = len((await entry.get("/openapi.json")).body)
        begun = asyncio.get_running_loop().time()
        read = 0
        async with asyncio.timeout(3 * WAIT):
            while read < asked * length:
                piece = await reader.read(1 << 20)
                assert piece, "cut off"
                read += len(piece)
                if asyncio.get_running_loop().time() - begun < 2.0:
                    await asyncio.sleep(0.01)  # for longer than a client may read nothing
        writer.close()


async def test_connections_beyond_the_limit_are_told_so(tmp_path: Path) -> None:
    """503 with Retry-After in the usual form, then closed; those within the limit are served, and make room."""
    async with entrypoint(tmp_path, EntrypointConfig(connections_max=3)) as entry:
        within = [await asyncio.open_connection(entry.bound.host, entry.bound.port) for _ in range(3)]
        for reader, writer in within:  # served, so counted
            writer.write(REQUEST)
            async with asyncio.timeout(WAIT):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readline()
        answer = await entry.post(body(1, text="x" * 100_000))
        answer.problem(503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Connection"] == "close"
        assert entry.numbers() == []
        reader, writer = within.pop()
        writer.write(REQUEST)
        async with asyncio.timeout(WAIT):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()

        async def room() -> bool:
            return (await entry.post(body(2))).status == 202

        await eventually(room)
        figures = await entry.metrics()
        assert figures['tillstream_http_requests_total{route="connection",status="503"}'] >= 1
        for _, writer in within:
            writer.close()


async def test_a_flood_of_connections_is_closed_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more connections than the limit, all silent: none is kept for long, and afterwards all is well."""
    monkeypatch.setattr("entrypoint.connections._REFUSAL_SECONDS", 0.5)
    async with entrypoint(tmp_path, EntrypointConfig(connections_max=5)) as entry:
        flood = await asyncio.gather(
            *(asyncio.open_connection(entry.bound.host, entry.bound.port) for _ in range(300)), return_exceptions=True
        )
        opened = [each for each in flood if isinstance(each, tuple)]

        async def ended(reader: asyncio.StreamReader) -> bool:
            try:
                return await reader.read() == b""
            except ConnectionError:
                return True

        ends = {asyncio.create_task(ended(reader)) for reader, _ in opened}
        await eventually(lambda: sum(end.done() and end.result() for end in ends) >= len(opened) - 5)
        for end in ends:
            end.cancel()
        for _, writer in opened:
            writer.close()

        async def room() -> bool:
            return (await entry.post(body(1))).status == 202

        await eventually(room)


def test_the_limit_of_open_files_is_raised_or_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many connections as are asked for where there may be descriptors for them, else as many as fit."""
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[0], limits[1]))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: limits.__setitem__(slice(None), wanted))
    assert room_for(500) == 500
    assert limits[0] == 1024
    assert room_for(2000) == 2000
    assert limits[0] > 2000
    assert room_for(10_000) == 4096 - 256
    assert limits == [4096, 4096]
