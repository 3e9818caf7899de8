"""HTTP as nobody should send it, over a raw socket: shapes of request smuggling, and seeded damage to good requests.

Never an answer 500, never a crash, never an event that was not sent as one, never memory without bound.
"""

import asyncio
import json
import random
import re
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from entrypoint import EntrypointConfig
from tests.integration.entrypoint.harness import WAIT, Entry, body, entrypoint

#: Behind the end of a request, where only somebody who sees its end elsewhere would find it.
HIDDEN = (
    b"POST /receipt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (
        len(body("hidden")),
        body("hidden"),
    )
)
GET = "GET /totals HTTP/1.1"
UPGRADE = b"GET /totals HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#: What damage puts into requests.
ODD = [
    b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\t", b",", b"{", b"0", b"-", b"\xff", b"%00", b"a" * 9000, b"HTTP/1.1",
    b"chunked", b"gzip", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
]  # fmt: skip
STATUS = re.compile(rb"HTTP/[0-9.]{3} ([0-9]{3}) ")


def request(data: bytes, *headers: str, line: str = "POST /receipt HTTP/1.1", length: bool = True) -> bytes:
    """A request with a JSON body."""
    lines = [line, "Host: localhost", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def chunked(data: bytes, *, size: str = "", extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """A body in chunks, correct unless it is told otherwise."""
    first = size.encode() or b"%x" % len(data)
    return b"%b%b\r\n%b\r\n0\r\n%b\r\n" % (first, extension, data, trailer)


def in_chunks(data: bytes, coding: str = "chunked", **shape: Any) -> bytes:
    """A request in chunks."""
    return request(chunked(data, **shape), f"Transfer-Encoding: {coding}", length=False)


def plain(*lines: str) -> bytes:
    """A request without a body, or anything else that consists of lines."""
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def shapes(one: bytes) -> dict[str, tuple[bytes, list[int], bool]]:
    """Name → the bytes, the answers' statuses, and whether the receipt `one` is taken."""
    size = len(one)
    taken: dict[str, bytes] = {
        "chunks": in_chunks(one),
        "chunks behind a tab": in_chunks(one, "\tchunked"),
        "chunk extension": in_chunks(one, extension=b";a=b"),
        "a long chunk extension": in_chunks(one, extension=b";a=" + b"x" * 100_000),
        "trailer": in_chunks(one, trailer=b"X: y\r\n"),
        "absolute form": request(one, line="POST http://other.example/receipt HTTP/1.1"),
        "line ends before it": b"\r\n" * 1000 + request(one),
        "upgrade": request(one, "Connection: Upgrade", "Upgrade: websocket"),
        "upgrade to HTTP/2": request(one, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
        "expectation with the body": request(one, "Expect: 100-continue"),
        "odd authorization": request(one, "Authorization: Bearer \xed\xa0\x80"),
    }
    refused: dict[str, bytes] = {
        "two lengths, equal": request(one, f"Content-Length: {size}"),
        "two lengths": request(one + HIDDEN, "Content-Length: 5"),
        "list of lengths": request(one, f"Content-Length: {size}, {size}", length=False),
        "length with a sign": request(one, f"Content-Length: +{size}", length=False),
        "negative length": request(one, "Content-Length: -1", length=False),
        "hexadecimal length": request(one, f"Content-Length: 0x{size:x}", length=False),
        "space before the colon": request(one, f"Content-Length : {size}", length=False),
        "space in the length": request(one, "Content-Length: 1 0", length=False),
        "length beyond 64 bits": request(one, f"Content-Length: {10**30}", length=False),
        "no length": request(one, "Content-Length:", length=False),
        "length and chunks": request(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked"),
        "chunks and length": request(chunked(one) + HIDDEN, "Transfer-Encoding: chunked", "Content-Length: 5"),
        "chunked twice": in_chunks(one, "chunked\r\nTransfer-Encoding: chunked"),
        "chunked, chunked": in_chunks(one, "chunked, chunked"),
        "chunked, identity": in_chunks(one, "chunked, identity"),
        "identity": in_chunks(one, "identity"),
        "xchunked": in_chunks(one, "xchunked"),
        "vertical tab": in_chunks(one, "\x0bchunked"),
        "coding with a space before the colon": request(chunked(one), "Transfer-Encoding : chunked", length=False),
        "hexadecimal chunk": in_chunks(one, size=f"0x{size:x}"),
        "chunk beyond 64 bits": in_chunks(one, size="f" * 20),
        "chunk that is shorter": in_chunks(one, size=f"{size - 3:x}"),
        "bare line feeds in chunks": request(
            b"%x\n%b\n0\n\n" % (size, one), "Transfer-Encoding: chunked", length=False
        ),
        "line feed in an extension": in_chunks(one, extension=b";a\nb"),
        "folded header": request(one, "X: a\r\n b"),
        "folded length": request(one, f"Content-Length:\r\n {size}", length=False),
        "bare line feeds": request(one).replace(b"\r\n", b"\n"),
        "bare carriage return": request(one, "X: a\rb"),
        "NUL in a header": request(one, "X: a\0b"),
        "no colon": request(one, "X"),
        "header without a name": request(one, ": x"),
        "a host that is none": request(one, line="POST http://[::1/receipt HTTP/1.1"),
        "a port that is none": request(one, line="POST http://x:99999999/receipt HTTP/1.1"),
        "no host": plain(GET),
        "two hosts": plain(GET, "Host: a", "Host: b"),
        "two types": request(one, "Content-Type: text/plain"),
        "space in the path": plain("GET /receipts/a b HTTP/1.1", "Host: localhost"),
        "bytes in the path": plain("GET /receipts/\xff HTTP/1.1", "Host: localhost"),
        "no slash": plain("GET receipts HTTP/1.1", "Host: localhost"),
        "HTTP/1.2": plain("GET /totals HTTP/1.2", "Host: localhost"),
        "HTTP/9.9": plain("GET /totals HTTP/9.9", "Host: localhost"),
        "HTTP/2": plain("PRI * HTTP/2.0", "", "SM"),
        "TLS": bytes.fromhex("16030100f5010000f10303") + b"\xab" * 200,
        "NULs": b"\0" * 5000,
        "long method": b"A" * 5000 + b" / HTTP/1.1\r\n\r\n",
        "unknown method": plain("FOO /receipt HTTP/1.1", "Host: localhost"),
    }
    others: dict[str, tuple[bytes, list[int], bool]] = {
        "huge trailer": (in_chunks(one, trailer=b"X: " + b"y" * 200_000 + b"\r\n"), [431], False),
        "many trailers": (in_chunks(one, trailer=b"X: y\r\n" * 50_000), [431], False),
        "huge header": (request(one, "X: " + "a" * 70_000), [431], False),
        "endless header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000, [431], False),
        "endless path": (b"GET /" + b"a" * 1_000_000, [414], False),
        "too many headers": (request(one, *(f"X-{number}: a" for number in range(20_000))), [431], False),
        "unknown coding": (in_chunks(one, "gzip, chunked") + HIDDEN, [415], False),
        "length of 63 bits": (request(one, f"Content-Length: {2**63 - 1}", length=False), [413], False),
        "chunk of 63 bits": (in_chunks(one, size="7fffffffffffffff"), [408], False),
        "chunks that end early": (request(b"ff\r\n{", "Transfer-Encoding: chunked", length=False), [408], False),
        "body that is missing": (request(one[:-1], f"Content-Length: {size}", length=False), [408], False),
        "body of a GET that is missing": (request(b"a", "Content-Length: 99", line=GET, length=False), [200], False),
        "body of a GET": (request(b"hello", line=GET) + plain(GET, "Host: localhost"), [200, 200], False),
        "a request hidden in a body": (request(HIDDEN), [400], False),
        "a body without a length": (request(b"", length=False) + b"\0", [400], False),
        "no request behind it, in one packet": (request(one) + plain(GET, "Host: localhost") + b"\0", [400], False),
        "unreadable chunk size": (in_chunks(one, size="zz"), [400], False),
        "negative chunk": (in_chunks(one, size="-5"), [400], False),
        "encoded twice": (request(one, "Content-Encoding: gzip", "Content-Encoding: gzip"), [400], False),
        "unknown encodings": (request(one, "Content-Encoding: gzip, gzip"), [415], False),
        "odd type": (request(one).replace(b"application/json", b"\xff\xfe"), [415], False),
        "CONNECT": (plain("CONNECT x:443 HTTP/1.1", "Host: localhost"), [404], False),
        "OPTIONS *": (plain("OPTIONS * HTTP/1.1", "Host: localhost"), [404], False),
        "TRACE": (plain("TRACE /receipt HTTP/1.1", "Host: localhost"), [405], False),
        "upgrade of a GET": (UPGRADE + plain(GET, "Host: localhost"), [200, 200], False),
        "dots": (plain("GET /../../etc/passwd HTTP/1.1", "Host: localhost"), [404], False),
        "escapes": (plain("GET /receipts/%zz%ff%00%ED%A0%80 HTTP/1.1", "Host: localhost"), [404], False),
        "escapes in the query": (plain("GET /receipts?store=%ED%A0%80%00 HTTP/1.1", "Host: localhost"), [200], False),
        "digits of others": (plain("GET /totals/%D9%A2026-01-01 HTTP/1.1", "Host: localhost"), [400], False),
        "many ampersands": (plain(f"GET /receipts?{'&' * 7000} HTTP/1.1", "Host: localhost"), [200], False),
        "HTTP/1.0 with chunks": (in_chunks(one).replace(b"HTTP/1.1", b"HTTP/1.0"), [202], True),
    }  # fmt: skip
    return {
        **{name: (data, [202], True) for name, data in taken.items()},
        **{name: (data, [400], False) for name, data in refused.items()},
        **others,
    }


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint that does not wait long for the end of a body; whatever its loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with capture_logs() as logs:
        async with entrypoint(tmp_path, EntrypointConfig(body_timeout_seconds=0.3)) as running:
            yield running
    assert complaints == []
    assert [log for log in logs if log["log_level"] in {"error", "critical"}] == []


async def answers(entry: Entry, data: bytes, within: float) -> tuple[list[int], bytes]:
    """The statuses that come within some seconds, or until the connection is closed."""
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    received = bytearray()
    try:
        async with asyncio.timeout(within):
            writer.write(data)
            while piece := await reader.read(65536):
                received += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return [int(status) for status in STATUS.findall(received)], bytes(received)


async def test_odd_shapes_are_answered_as_they_should_be(entry: Entry) -> None:
    """Whoever sees the end of a request elsewhere is refused; what is taken is what was sent as one request's body."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried = shapes(body("shape-000"))
    ids = {name: f"shape-{number:03}" for number, name in enumerate(tried, start=1)}  # of one length
    sent = [data.replace(b"shape-000", ids[name].encode()) for name, (data, _, _) in tried.items()]
    results = await asyncio.gather(*(answers(entry, data, 1.5) for data in sent))
    wrong = {
        name: (statuses, expected, raw[-200:])
        for (name, (_, expected, _)), (statuses, raw) in zip(tried.items(), results, strict=True)
        if statuses != expected
    }
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    assert sorted(entry.numbers()) == [ids[name] for name, (_, _, is_taken) in tried.items() if is_taken]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kB
    assert (await entry.post(body(1))).status == 202


def damaged(chance: random.Random, good: list[bytes]) -> bytes:
    """A few good requests after one another, cut, spliced, repeated and overwritten."""
    data = bytearray(b"".join(chance.choices(good, k=chance.randint(1, 3))))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + chance.randint(0, 4)] = chance.choice(ODD)
            case 1:
                del data[at : at + chance.randint(1, 60)]
            case 2:
                start = chance.randrange(len(data) + 1)
                data[at:at] = data[start : start + chance.randint(1, 200)]
            case _:
                data[at : at + 1] = chance.randbytes(1)
    return bytes(data)


@pytest.mark.parametrize("seed", range(3))
async def test_damaged_requests_are_refused_or_read(entry: Entry, seed: int) -> None:
    """Whatever comes over a connection, it is answered with an answer that is known, or closed; others go on."""
    chance = random.Random(seed)
    good = [request(body(1)), in_chunks(body(2)), request(b"[%b]" % body(3), "Content-Encoding: identity"),
            plain(GET, "Host: localhost"), plain("GET /receipts?limit=1 HTTP/1.1", "Host: localhost")]  # fmt: skip
    sent = [damaged(chance, good) for _ in range(300)]
    limit = asyncio.Semaphore(100)

    async def send(data: bytes) -> None:
        async with limit:
            statuses, raw = await answers(entry, data, 0.5)
        known = {100, 200, 202, 307, 400, 403, 404, 405, 408, 413, 414, 415, 417, 421, 431}
        assert known.issuperset(statuses), (data, raw[:500])

    async with asyncio.timeout(6 * WAIT):
        await asyncio.gather(*(send(data) for data in sent))
    for message in entry.gate.published:
        for line in message.body.split(b"\n"):
            assert entry.stream.parse(line).line == line
            assert json.loads(line)["storeID"] is not None
    assert (await entry.post(body(4))).status == 202
