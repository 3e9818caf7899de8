"""An entrypoint and a store that comes up later than it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.integration.entrypoint.harness import receipt
from tests.integration.system.harness import Process
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import Rabbit
from tests.support import eventually, free_port

pytestmark = [pytest.mark.rabbit, pytest.mark.mongo]


@asynccontextmanager
async def listening(port: int, target: str) -> AsyncIterator[None]:
    """Pass connections to a port on to another server, while the block runs."""
    host, _, target_port = target.rpartition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(target_port))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def test_an_entrypoint_starts_without_its_store_and_answers_queries_once_it_is_there(
    rabbit: Rabbit, ferret: FerretServer, tmp_path: Path
) -> None:
    """202 and ready while nothing listens at the store's port, queries 503 with Retry-After; later 200, no restart."""
    store = urlsplit(ferret.database())
    closed, port = free_port(), free_port()
    environ = {
        "TILLSTREAM_BROKER": rabbit.vhost(),
        "TILLSTREAM_STORE": f"mongodb://127.0.0.1:{closed}{store.path}?serverSelectionTimeoutMS=500",
    }
    process = Process(("entrypoint", "--port", str(port)), environ, tmp_path / "entrypoint.log")
    url = f"http://127.0.0.1:{port}"
    try:
        await process.start("receipts go to")
        async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=40)) as session:
            async with session.post("/receipt", json=receipt(1)) as answer:
                assert answer.status == 202
            async with session.get("/readyz") as answer:
                body = await answer.json()
                assert (answer.status, body["takesReceipts"], body["answersQueries"]) == (200, True, False)
            for path in ("/receipts", "/rejected", "/totals"):
                async with session.get(path) as answer:
                    assert answer.status == 503
                    assert (await answer.json())["type"] == "/docs#problem-store-unavailable"
                    assert int(answer.headers["Retry-After"]) >= 1
            async with listening(closed, store.netloc):

                async def answered() -> bool:
                    async with session.get("/receipts") as answer, session.get("/totals") as totals:
                        return (answer.status, totals.status) == (200, 200)

                await eventually(answered, timeout=60, every=0.2)
                async with session.get("/readyz") as answer:
                    body = await answer.json()
                    assert (answer.status, body["takesReceipts"], body["answersQueries"]) == (200, True, True)
        assert await process.stop() == 0
    finally:
        await process.discard()
