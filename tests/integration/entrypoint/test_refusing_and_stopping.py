"""What an entrypoint says when it cannot or may not, how it lets in only whom it should, and how it stops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    BrokerUnavailableError,
    PublishUnknownError,
    UnroutableError,
)
from entrypoint import EntrypointConfig
from streams import ConfigurationError
from tests.integration.entrypoint.harness import JSON, WAIT, Entry, body, entrypoint, lines
from tests.support import eventually, free_port


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint with the usual limits."""
    async with entrypoint(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (BrokerUnavailableError("gone"), "broker-unavailable"),
        (PublishUnknownError("no answer"), "broker-unconfirmed"),
        (BrokerBlockedError("alarm"), "broker-blocked"),
        (BrokerFullError("full"), "broker-full"),
        (UnroutableError("no queue"), "broker-unavailable"),
    ],
)
async def test_a_broker_that_does_not_confirm_is_503_with_retry_after(
    entry: Entry, error: BrokerError, slug: str
) -> None:
    """Whatever keeps the broker from confirming, the client is told when to try again, and may."""
    entry.gate.refuse = error
    answer = await entry.post(body(1))
    answer.problem(503, slug)
    assert int(answer.headers["Retry-After"]) >= 1
    entry.gate.refuse = None
    assert (await entry.post(body(1))).status == 202
    figures = await entry.metrics()
    name = type(error).__name__
    assert figures[f'tillstream_frames_failed_total{{error="{name}",stream="receipts"}}'] == 1
    assert figures['tillstream_http_requests_total{route="/receipts",status="503"}'] == 1


async def test_a_blocked_broker_is_answered_at_once(entry: Entry) -> None:
    """Nothing is published, nobody waits, while the broker asks for a pause."""
    entry.gate.blocked_now = True
    entry.gate.open.clear()
    (await entry.post(body(1))).problem(503, "broker-blocked")
    assert not entry.gate.waiting.is_set()


async def test_too_much_under_way_is_503_with_retry_after(tmp_path: Path) -> None:
    """Beyond the limit of pending events a request is refused at once; what was pending is not harmed."""
    async with entrypoint(tmp_path, EntrypointConfig(pending_max_events=3)) as entry:
        entry.gate.open.clear()
        pending = asyncio.create_task(entry.post(lines(range(3)), {"Content-Type": "application/x-ndjson"}))
        await asyncio.wait_for(entry.gate.waiting.wait(), WAIT)
        answer = await entry.post(body(4))
        answer.problem(503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        entry.gate.open.set()
        assert (await pending).status == 202
        assert (await entry.post(body(4))).status == 202


async def test_too_many_large_bodies_at_once_are_refused(tmp_path: Path) -> None:
    """What bodies hold while they come in is bounded for all of them together."""
    config = EntrypointConfig(body_max_bytes=1_000_000, receiving_max_bytes=1_000_000)
    async with entrypoint(tmp_path, config) as entry:
        _, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        head = (
            "POST /receipt HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"
        )
        writer.write(head.encode())
        large = body(1, more="x" * 800_000)

        async def refused() -> bool:
            return (await entry.post(large)).status == 503

        await eventually(refused)
        writer.close()

        async def taken() -> bool:
            return (await entry.post(large)).status == 202

        await eventually(taken)


async def test_a_token_is_needed_where_there_are_any(tmp_path: Path) -> None:
    """Without a token or with a wrong one nothing is taken or shown; what says nothing about events stays open."""
    tokens = tmp_path / "tokens"
    tokens.write_text("# tills\n\nshop-612: sesame\nplain-token\n")
    async with entrypoint(tmp_path, EntrypointConfig(tokens_file=tokens)) as entry:
        for wrong in (
            {},
            {"Authorization": "Bearer shop-612"},
            {"Authorization": "Basic sesame"},
            {"Authorization": ""},
        ):
            answer = await entry.post(body(1), {**JSON, **wrong})
            answer.problem(401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            for path in ("/receipts", "/receipts/x", "/totals", "/totals/2026-11-18", "/nothing"):
                (await entry.get(path, wrong)).problem(401, "unauthorized")
        for right in ("Bearer sesame", "bearer plain-token"):
            assert (await entry.post(body(1), {**JSON, "Authorization": right})).status == 202
            assert (await entry.get("/totals", {"Authorization": right})).status == 200
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert (await entry.get(path)).status == 200
        assert len(entry.numbers()) == 2


async def test_tokens_are_read_again_when_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is added works, one that is removed does not, without a restart."""
    monkeypatch.setattr("entrypoint.tokens.CHECK_SECONDS", 0.0)
    tokens = tmp_path / "tokens"
    tokens.write_text("old\n")
    async with entrypoint(tmp_path, EntrypointConfig(tokens_file=tokens)) as entry:
        assert (await entry.get("/totals", {"Authorization": "Bearer old"})).status == 200
        tokens.write_text("newer\n")
        assert (await entry.get("/totals", {"Authorization": "Bearer newer"})).status == 200
        assert (await entry.get("/totals", {"Authorization": "Bearer old"})).status == 401
        tokens.unlink()
        assert (await entry.get("/totals", {"Authorization": "Bearer newer"})).status == 200


@pytest.mark.parametrize("content", [None, "", "# nothing\n"])
async def test_a_tokens_file_without_tokens_stops_the_start(tmp_path: Path, content: str | None) -> None:
    """Missing or empty: one clear line that names the file."""
    tokens = tmp_path / "tokens"
    if content is not None:
        tokens.write_text(content)
    with pytest.raises(ConfigurationError, match=str(tokens)):
        async with entrypoint(tmp_path, EntrypointConfig(tokens_file=tokens)):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_listening_beyond_loopback_has_to_be_meant(tmp_path: Path, host: str) -> None:
    """With neither tokens nor `open` it does not start; with either it does."""
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    with pytest.raises(ConfigurationError, match="--open"):
        async with entrypoint(tmp_path, EntrypointConfig(host=host)):
            pass
    (tmp_path / "open").mkdir()
    async with entrypoint(tmp_path / "open", EntrypointConfig(host=host, open=True)) as entry:
        assert (await entry.post(body(1))).status == 202
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame")
    (tmp_path / "told").mkdir()
    async with entrypoint(tmp_path / "told", EntrypointConfig(host=host, tokens_file=tokens)) as entry:
        (await entry.post(body(1))).problem(401, "unauthorized")


async def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    """One clear line that names host and port."""
    from entrypoint.server import bind

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: address already in use"):
            bind(EntrypointConfig(port=port))


async def test_it_listens_on_sockets_that_it_is_given(tmp_path: Path) -> None:
    """A bound socket replaces host and port."""
    given = socket.socket()
    given.bind(("127.0.0.1", free_port()))
    port = given.getsockname()[1]
    async with entrypoint(tmp_path, sockets=[given]) as entry:
        assert entry.bound.port == port
        assert (await entry.post(body(1))).status == 202


async def test_unknown_paths_and_wrong_methods_are_problems(entry: Entry) -> None:
    """404 for what is not there, 405 with Allow for what is there but not so; HEAD goes wherever GET does."""
    for path in ("/nothing", "/receipts//", "/receipts/a/b", "/totals/2026-11-18/x", "//receipts", "/receipt/1"):
        (await entry.get(path)).problem(404, "not-found")
    for method, path, allowed in (
        ("GET", "/receipt", "POST"),
        ("PUT", "/receipts", "POST, GET, HEAD"),
        ("POST", "/totals", "GET, HEAD"),
        ("DELETE", "/receipts/1", "GET, HEAD"),
        ("OPTIONS", "/receipt", "POST"),
    ):
        answer = await entry.request(method, path)
        answer.problem(405, "method-not-allowed")
        assert answer.headers["Allow"] == allowed
    head = await entry.request("HEAD", "/totals")
    assert (head.status, head.body) == (200, b"")
    home = await entry.get("/")
    assert (home.status, home.headers["Location"]) == (307, "/docs")
    assert (await entry.metrics())['tillstream_http_requests_total{route="other",status="404"}'] == 6


async def test_what_is_not_http_is_a_problem_too(entry: Entry) -> None:
    """A request line or header that cannot be read: a 4xx in the same form, and the connection is closed."""
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    for rubbish, status, slug in (
        (b"rubbish\r\n\r\n", 400, "malformed-request"),
        (get + b"a: " + b"x" * 20_000 + b"\r\n\r\n", 431, "headers-too-large"),
        (get + b"a: b\r\n" * 2_000 + b"\r\n", 431, "headers-too-large"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "path-too-long"),
    ):
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        writer.write(rubbish)
        async with asyncio.timeout(WAIT):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.")
        assert f" {status} ".encode() in answer[:15]
        assert b"application/problem+json" in answer
        assert f"/docs#problem-{slug}".encode() in answer
        writer.close()


async def test_an_error_of_ours_says_nothing_about_itself(entry: Entry) -> None:
    """500 in the same form; the log has the rest."""
    entry.gate.refuse = ZeroDivisionError("a secret")
    answer = await entry.post(body(1))
    answer.problem(500, "internal")
    assert b"secret" not in answer.body


async def test_a_stop_finishes_what_was_accepted(entry: Entry) -> None:
    """Requests in flight and waiting are confirmed and answered; new connections are refused from the beginning."""
    entry.gate.open.clear()
    outstanding = [asyncio.create_task(entry.post(body(number))) for number in range(1, 6)]

    async def pending() -> bool:
        return (await entry.metrics())['tillstream_pending_events{stream="receipts"}'] == 5

    await eventually(pending)
    entry.stop.set()

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    await eventually(refused)
    assert not entry.serving.done()
    entry.gate.open.set()
    assert {(await each).status for each in outstanding} == {202}
    await asyncio.wait_for(entry.serving, WAIT)
    assert sorted(entry.numbers()) == [1, 2, 3, 4, 5]


async def test_a_stop_is_bounded_and_answers_no_202_that_is_not_true(tmp_path: Path) -> None:
    """A broker that never confirms holds a stop up for its time limit, and nobody was told that all is well."""
    async with entrypoint(tmp_path, EntrypointConfig(stop_timeout_seconds=0.2)) as entry:
        entry.gate.open.clear()
        outstanding = asyncio.create_task(entry.post(body(1)))
        await asyncio.wait_for(entry.gate.waiting.wait(), WAIT)
        entry.stop.set()
        await asyncio.wait_for(entry.serving, WAIT)
        (await outstanding).problem(503, "broker-unconfirmed")
        assert entry.numbers() == []


async def test_idle_connections_do_not_hold_up_a_stop(entry: Entry) -> None:
    """A client that keeps its connection open without a request under way is simply closed."""
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    assert (await entry.post(body(1))).status == 202
    entry.stop.set()
    await asyncio.wait_for(entry.serving, 30)
    async with asyncio.timeout(WAIT):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /docs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "POST /receipt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        "GET / HTTP/1.1\r\nno header\r\n\r\n",
        "nonsense\r\n\r\n",
    ],
)
async def test_no_answer_says_which_versions_gave_it(entry: Entry, request_text: str) -> None:
    """Neither good answers nor errors below our handlers have a Server header."""
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    writer.write(request_text.encode())
    async with asyncio.timeout(WAIT):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.")
    for word in (b"server:", b"aiohttp", b"python/"):
        assert word not in head.lower()
