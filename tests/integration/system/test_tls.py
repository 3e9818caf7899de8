"""Errors of TLS are told in words, by everything that connects: a real listener, a certificate that nobody signed."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import broker
import store
from broker.exchanges import receipts_topology
from feeds import Sender, SenderOptions
from streams.errors import TillstreamError

Connect = Callable[[int], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for `localhost` that is signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    name = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*request.split(), *name, *files], check=True, capture_output=True)
    return folder


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _answer_in_clear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"AMQP\x00\x00\x09\x01 HTTP/1.1 400 no\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.fixture
async def tls(certificate: Path) -> AsyncIterator[int]:
    """The port of a TLS listener."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    async with await asyncio.start_server(_hang_up, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def clear() -> AsyncIterator[int]:
    """The port of a listener that knows no TLS."""
    async with await asyncio.start_server(_answer_in_clear, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def amqp(port: int) -> None:
    """Connect as a worker does."""
    await broker.connect(f"amqps://u:p@localhost:{port}/", receipts_topology(), wait=0)


async def mongodb(port: int) -> None:
    """Ask as a worker does."""
    opened = await store.connect(f"mongodb://localhost:{port}/x?tls=true&serverSelectionTimeoutMS=500")
    try:
        await opened.ping()
    finally:
        await opened.close()


async def https(port: int) -> None:
    """Post as `tillstream post` does."""
    options = SenderOptions(url=f"https://localhost:{port}", first_patience_s=0.0)
    async with Sender(options) as sender:
        await sender.submit([b"{}"])
        await sender.drain()


@pytest.mark.parametrize("connect", [amqp, mongodb, https])
async def test_a_certificate_that_is_not_trusted_is_called_that(connect: Connect, tls: int) -> None:
    """With OpenSSL's reason, and not as the system's error of the same number."""
    with pytest.raises(TillstreamError) as caught:
        await connect(tls)
    assert "the server's certificate is not trusted: self-signed certificate" in str(caught.value)
    assert "_ssl.c" not in str(caught.value)


async def test_a_certificate_for_another_name_is_called_that(certificate: Path, tls: int) -> None:
    """The one who signed it is known here."""
    url = f"amqps://u:p@127.0.0.1:{tls}/?cafile={certificate / 'certificate.pem'}"
    with pytest.raises(TillstreamError, match="not trusted: IP address mismatch, certificate is not valid for"):
        await broker.connect(url, receipts_topology(), wait=0)


@pytest.mark.parametrize("connect", [amqp, mongodb, https])
async def test_a_port_without_tls_is_called_that(connect: Connect, clear: int) -> None:
    """As where the port of the unencrypted listener was given."""
    with pytest.raises(TillstreamError, match="the server does not speak TLS on this port"):
        await connect(clear)
