"""The sender against a server on a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import structlog.testing
from aiohttp import web

from feeds import Generator, GeneratorOptions, Sender, SenderOptions, SendingError, run_feed, run_generator
from feeds.counts import Reason
from runtime import Backoff
from streams.errors import ConfigurationError, TillstreamError
from tests.integration.feeds.server import StandIn, Taken, accepted, busy, refuse, stand_in
from tests.support import eventually, free_port

QUICK = Backoff(base_s=0.005, cap_s=0.02)


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """A stand-in that accepts everything."""
    async with stand_in() as running:
        yield running


def sender_to(server: StandIn, **options: Any) -> Sender:
    """A sender that does not wait long between attempts."""
    return Sender(SenderOptions(**{"url": server.url, "backoff": QUICK, **options}))


def events(*numbers: int) -> list[bytes]:
    """Events by number."""
    return [b'{"n": %d}' % number for number in numbers]


async def send(sender: Sender, batches: Iterable[list[bytes]]) -> None:
    """Send all and wait for their fate."""
    async with asyncio.timeout(30), sender:
        for batch in batches:
            assert await sender.submit(batch)
        await sender.drain()


async def test_a_single_event_is_posted_as_json(server: StandIn) -> None:
    """To /receipts, with its content type and the token."""
    sender = sender_to(server, token="secret")
    await send(sender, [events(1)])
    (request,) = server.requests
    assert request.path == "/receipts"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer secret"
    assert sender.counts.summary() == "1 accepted, 0 refused"
    assert "secret" not in repr(sender.options)


async def test_many_events_are_posted_as_ndjson(server: StandIn) -> None:
    """In one request, in order; a path in the address is used as it is."""
    sender = sender_to(server, url=server.url + "/receipt")
    await send(sender, [events(1, 2, 3)])
    (request,) = server.requests
    assert request.path == "/receipt"
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert server.accepted == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert sender.counts.accepted == 3


async def test_no_more_requests_are_under_way_than_allowed(server: StandIn) -> None:
    """Submitting waits for a place."""

    async def slow(taken: Taken) -> web.Response:
        await asyncio.sleep(0.005)
        return accepted(taken)

    server.answer = slow
    await send(sender_to(server, concurrency=3), [events(n) for n in range(40)])
    assert server.busiest == 3
    assert len(server.accepted) == 40


async def test_a_busy_server_is_asked_again_not_earlier_than_it_wants(server: StandIn) -> None:
    """503 with Retry-After: every event arrives, once, after that time."""
    times: list[float] = []

    def answer(taken: Taken) -> web.Response:
        times.append(time.monotonic())
        return busy("1") if len(times) == 1 else accepted(taken)

    server.answer = answer
    sender = sender_to(server)
    await send(sender, [events(1, 2)])
    assert times[1] - times[0] >= 1.0
    assert server.accepted == [{"n": 1}, {"n": 2}]
    assert (sender.counts.accepted, sender.counts.retried) == (2, 1)


async def test_trouble_is_logged_once_and_its_end_too(server: StandIn) -> None:
    """Not at each attempt of each request."""
    attempts = 0

    def answer(taken: Taken) -> web.Response:
        nonlocal attempts
        attempts += 1
        return busy() if attempts <= 30 else accepted(taken)

    server.answer = answer
    sender = sender_to(server)
    with structlog.testing.capture_logs() as logs:
        await send(sender, [events(n) for n in range(10)])
    assert [entry["event"] for entry in logs] == ["sending fails, trying again", "sending works again"]
    assert sender.counts.accepted == 10
    assert sender.counts.retried == 30


async def test_refused_events_are_left_out_and_the_others_sent(server: StandIn) -> None:
    """The problem document names them, a hundred at most; each is counted with its reason."""

    def answer(taken: Taken) -> web.Response:
        return refuse(taken, lambda event: event["n"] % 3 == 0, most=10)

    server.answer = answer
    sender = sender_to(server)
    await send(sender, [events(*range(1, 101))])
    assert [event["n"] for event in server.accepted] == [n for n in range(1, 101) if n % 3]
    assert sender.counts.accepted == 67
    assert sender.counts.refused == 33
    assert sender.counts.reasons == {"$.n: a good number": Reason(count=33, first=3)}
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [400, 413])
async def test_a_refusal_that_names_nothing_is_halved(server: StandIn, status: int) -> None:
    """The one culprit is found, the others are accepted."""

    def answer(taken: Taken) -> web.Response:
        bad = any(event["n"] == 37 for event in taken.events)
        return web.Response(status=status, text="no") if bad else accepted(taken)

    server.answer = answer
    sender = sender_to(server)
    await send(sender, [events(*range(64))])
    assert sorted(event["n"] for event in server.accepted) == [n for n in range(64) if n != 37]
    assert (sender.counts.accepted, sender.counts.refused) == (63, 1)
    ((reason, known),) = sender.counts.reasons.items()
    assert reason.endswith("no")
    assert known.first == 38


async def test_a_wrong_token_ends_everything(server: StandIn) -> None:
    """Every other request would get the same answer: one error, and nothing is lost from the counts."""
    server.answer = lambda _: web.Response(status=401)
    sender = sender_to(server, concurrency=2)
    with pytest.raises(SendingError, match=r"valid token \(401\)$"):
        await send(sender, [events(n, n) for n in range(50)])
    assert sender.counts.summary() == "0 accepted, 0 refused, 100 not sent"
    assert len(server.requests) <= 4


async def test_a_token_with_its_name_is_told_to_be_sent_without(server: StandIn) -> None:
    """A line of the tokens file is easily taken for the token; neither is shown."""
    server.answer = lambda _: web.Response(status=401)
    with pytest.raises(SendingError, match="send only what is behind the colon") as caught:
        await send(sender_to(server, token="lyon:s3cret"), [events(1)])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 417, 421, 431])
async def test_an_answer_that_takes_nothing_leaves_nothing_unknown(server: StandIn, status: int) -> None:
    """The server said what became of the request: it was not taken. After an attempt without an answer, that is not
    known all the same."""
    server.answer = lambda _: web.Response(status=status)
    sender = sender_to(server)
    with pytest.raises(SendingError):
        await send(sender, [events(1, 2, 3)])
    assert (sender.counts.unsent, sender.counts.unknown) == (3, 0)

    def broken_first(_: Taken) -> web.Response:
        if len(server.requests) == 1:
            raise asyncio.CancelledError  # the server closes the connection without an answer
        return web.Response(status=status)

    server.requests.clear()
    server.answer = broken_first
    sender = sender_to(server, first_patience_s=None)
    with pytest.raises(SendingError):
        await send(sender, [events(1, 2, 3)])
    assert (sender.counts.unsent, sender.counts.unknown) == (0, 3)


async def test_a_kind_of_content_that_is_not_taken_is_final(server: StandIn) -> None:
    """415 is the answer to every event of a request: each counts as refused, once, and the feed goes on."""
    server.answer = lambda _: web.Response(status=415, text="no NDJSON")
    sender = sender_to(server)
    await send(sender, [events(1, 2, 3), events(4)])
    assert sender.counts.reasons == {"no NDJSON": Reason(count=4, first=1)}
    assert len(server.requests) == 2


async def test_an_unreachable_server_is_an_error_soon() -> None:
    """Nothing was sent, and the counts say so."""
    sender = Sender(SenderOptions(url=f"http://127.0.0.1:{free_port()}", backoff=QUICK, first_patience_s=0.2))
    with pytest.raises(SendingError, match="Connection refused"):
        await send(sender, [events(1, 2)])
    assert sender.counts.unsent == 2
    assert sender.counts.unknown == 0


async def test_a_server_that_fails_for_too_long_ends_everything(server: StandIn) -> None:
    """Patience is bounded; what was sent without a good answer is unknown, not lost from the counts."""
    server.answer = lambda _: busy()
    sender = sender_to(server, patience_s=0.2)
    with pytest.raises(SendingError, match="503: try later"):
        await send(sender, [events(1, 2, 3)])
    assert sender.counts.unknown == 3


async def test_a_broken_connection_is_tried_again(server: StandIn) -> None:
    """Whether the server took the events before or not: identity makes the repetition safe."""
    times = 0

    def answer(taken: Taken) -> web.Response:
        nonlocal times
        times += 1
        if times == 1:
            raise asyncio.CancelledError  # the server closes the connection without an answer
        return accepted(taken)

    server.answer = answer
    sender = sender_to(server)
    await send(sender, [events(1)])
    assert (sender.counts.accepted, sender.counts.retried) == (1, 1)


async def test_a_silent_server_is_tried_again(server: StandIn) -> None:
    """No answer within the time limit is a failure like any other."""
    times = 0

    async def answer(taken: Taken) -> web.Response:
        nonlocal times
        times += 1
        if times == 1:
            await asyncio.sleep(30)
        return accepted(taken)

    server.answer = answer
    sender = sender_to(server, timeout_s=0.2)
    await send(sender, [events(1)])
    assert (sender.counts.accepted, sender.counts.retried) == (1, 1)


async def test_leaving_counts_what_is_under_way_as_unknown(server: StandIn) -> None:
    """Every event that was handed over has a fate, however the sender ends."""
    server.answer = lambda _: asyncio.sleep(30, web.Response())
    sender = sender_to(server, concurrency=4)
    async with sender:
        await sender.submit(events(1, 2, 3))
        await sender.submit(events(4))
        await eventually(lambda: len(server.requests) == 2)
        await sender.submit(events(5))  # never gets to run: the block ends before
    assert sender.counts.unknown == 4
    assert sender.counts.unsent == 1
    assert sender.counts.settled == 5


async def test_a_stop_takes_no_more_and_waits_for_answers(server: StandIn) -> None:
    """Requests under way are answered and counted; the feed ends."""
    under_way = asyncio.Event()
    go_on = asyncio.Event()

    async def answer(taken: Taken) -> web.Response:
        under_way.set()
        await go_on.wait()
        return accepted(taken)

    server.answer = answer
    sender = sender_to(server, concurrency=1)
    stop = asyncio.Event()

    async def feed() -> str:
        while await sender.submit(events(1)):
            pass
        return "stopped"

    async with asyncio.timeout(30), sender:
        running = asyncio.create_task(run_feed(sender, feed(), stop))
        await under_way.wait()
        stop.set()
        await asyncio.sleep(0)
        go_on.set()
        await running
    assert sender.counts.accepted == 1
    assert sender.counts.settled == 1


async def test_a_stop_ends_retries_at_once() -> None:
    """While the server is away, stopping does not wait for it."""
    hourly = Backoff(base_s=3600.0, cap_s=3600.0)
    url = f"http://127.0.0.1:{free_port()}"
    sender = Sender(SenderOptions(url=url, patience_s=None, first_patience_s=None, backoff=hourly))
    stop = asyncio.Event()

    async def feed() -> None:
        while await sender.submit(events(1)):
            pass

    async with asyncio.timeout(30), sender:
        running = asyncio.create_task(run_feed(sender, feed(), stop))
        await eventually(lambda: sender.outstanding == sender.options.concurrency)
        stop.set()
        await running
    assert sender.counts.settled == sender.counts.unsent == 8


async def test_a_failing_feed_is_not_swallowed(server: StandIn) -> None:
    """A bug or a damaged file ends the run with its own error, after what was submitted is settled."""
    sender = sender_to(server)

    async def feed() -> None:
        await sender.submit(events(1))
        raise LookupError("broken feed")

    with pytest.raises(LookupError, match="broken feed"):
        async with asyncio.timeout(30), sender:
            await run_feed(sender, feed(), asyncio.Event())
    assert sender.counts.accepted == 1


async def test_a_demo_outlives_its_server() -> None:
    """The generator goes on after the server was away, with a bounded number outstanding, and stops when asked."""
    port = free_port()
    stop = asyncio.Event()
    url = f"http://127.0.0.1:{port}"
    with structlog.testing.capture_logs() as logs:
        demo = asyncio.create_task(run_generator(url, stop, rate=500, generator=GeneratorOptions(seed=1)))
        await eventually(lambda: logs)
        async with stand_in(port) as server:
            await eventually(lambda: len(server.accepted) > 100)
            assert server.busiest <= 16
        async with stand_in(port) as server:
            await eventually(lambda: len(server.accepted) > 100)
            stop.set()
            counts = await asyncio.wait_for(demo, 30)
    assert counts.accepted > 200
    assert [entry["event"] for entry in logs][:2] == ["sending fails, trying again", "sending works again"]
    assert len(logs) < 10


async def test_generated_receipts_arrive_whole(server: StandIn) -> None:
    """What the server reads is what was made."""
    made = list(Generator(GeneratorOptions(seed=5), lambda: 1.7e9).requests(300, 40))
    await send(sender_to(server), made)
    sent = sorted(line for request in server.requests for line in request.lines)
    assert sent == sorted(line for request in made for line in request)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3000", "ftp://host/", "http://", "http://host:0/", "http://h:x/", "http://[/"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent, in one line."""
    with pytest.raises(ConfigurationError, match="expected an address"):
        SenderOptions(url=url)


@pytest.mark.parametrize("url", ["http://ann:hunter2@127.0.0.1:{port}", "http://ann:hun/ter2@127.0.0.1:{port}"])
async def test_an_address_is_shown_without_its_password(url: str) -> None:
    """In the error that ends the sending, or that refuses the address."""
    with pytest.raises(TillstreamError) as caught:
        async with Sender(SenderOptions(url=url.format(port=free_port()), first_patience_s=0.0)) as sender:
            await sender.submit([b"{}"])
            await sender.drain()
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
