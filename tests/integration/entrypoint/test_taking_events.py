"""POST /receipt and /receipts over the embedded broker: every form that is taken, and every one that is refused."""

import asyncio
import gzip
import json
import resource
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from entrypoint import EntrypointConfig
from streams import DateWindow, ReceiptStream
from tests.integration.entrypoint.harness import JSON, LINES, WAIT, Entry, body, entrypoint, lines, receipt
from tests.support import eventually

HEAD = "POST /receipt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint with the usual limits."""
    async with entrypoint(tmp_path) as running:
        yield running


@pytest.mark.parametrize("path", ["/receipt", "/receipts"])
@pytest.mark.parametrize(
    ("data", "headers", "numbers"),
    [
        pytest.param(body(1), JSON, [1], id="object"),
        pytest.param(body(1), {"Content-Type": "application/json; charset=UTF-8"}, [1], id="charset"),
        pytest.param(body(1), {"Content-Type": 'Application/JSON;charset="utf-8"'}, [1], id="odd-header"),
        pytest.param(b"\xef\xbb\xbf" + body(1), JSON, [1], id="byte-order-mark"),
        pytest.param(json.dumps(receipt(1), indent=2).encode(), JSON, [1], id="pretty"),
        pytest.param(b" \n[" + body(1) + b", " + body(2) + b"]\n", JSON, [1, 2], id="array"),
        pytest.param(lines(range(1, 4)), LINES, [1, 2, 3], id="ndjson"),
        pytest.param(
            b"\r\n" + lines(range(1, 3)).replace(b"\n", b"\r\n\r\n  \r\n") + b"\r\n\r\n", LINES, [1, 2], id="blank"
        ),
        pytest.param(lines(range(1, 3)), {"Content-Type": "application/jsonl"}, [1, 2], id="jsonl"),
        pytest.param(lines(range(1, 3)), {"Content-Type": "application/ndjson"}, [1, 2], id="ndjson-short"),
        pytest.param(gzip.compress(body(1)), {**JSON, "Content-Encoding": "gzip"}, [1], id="gzip-object"),
        pytest.param(
            gzip.compress(lines(range(1, 2000))),
            {**LINES, "Content-Encoding": "gzip"},
            [*range(1, 2000)],
            id="gzip-lines",
        ),
        pytest.param(
            gzip.compress(lines(range(1, 3))) + gzip.compress(b"\n" + body(3)),
            {**LINES, "Content-Encoding": "x-gzip"},
            [1, 2, 3],
            id="gzip-members",
        ),
        pytest.param(gzip.compress(lines(range(1, 3))), {"Content-Type": "application/gzip"}, [1, 2], id="gz-file"),
        pytest.param(body(1), {**JSON, "Content-Encoding": "identity"}, [1], id="identity"),
        pytest.param(body("a-1", storeID="F 612"), JSON, ["a-1"], id="string-ids"),
        pytest.param(body(1, anything={"else": [1, None]}), JSON, [1], id="unknown-field"),
        pytest.param(body(1, receivedTime=12.5), JSON, [1], id="their-received-time"),
    ],
)
async def test_every_form_is_taken(
    entry: Entry, path: str, data: bytes, headers: dict[str, str], numbers: list[Any]
) -> None:
    """The broker has the events, each on one line, stamped, in order, in the frame that the answer names."""
    answer = await entry.post(data, headers, path)
    assert answer.status == 202, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Date" in answer.headers
    assert answer.json == {"accepted": len(numbers), "frame": entry.gate.published[0].message_id}
    assert entry.numbers() == numbers
    assert not any(b'"receivedTime": 12.5' in message.body for message in entry.gate.published)


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        pytest.param(body(1), [1], id="object"),
        pytest.param(json.dumps(receipt(1), indent=2).encode(), [1], id="pretty"),
        pytest.param(b"[" + body(1) + b"," + body(2) + b"]", [1, 2], id="array"),
        pytest.param(lines(range(1, 3)) + b"\n", [1, 2], id="ndjson"),
        pytest.param(gzip.compress(lines(range(1, 3))), [1, 2], id="gz-file"),
    ],
)
async def test_a_body_without_content_type_is_told_by_its_bytes(entry: Entry, data: bytes, numbers: list[int]) -> None:
    """Nothing said: JSON object, array, lines and gzip are recognised."""
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    writer.write(b"POST /receipt HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    async with asyncio.timeout(WAIT):
        assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
    writer.close()
    assert entry.numbers() == numbers


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        ({"storeID": None}, "$.storeID", "int"),
        ({"date": "2026-02-30 10:00:00"}, "$.date", ""),
        ({"documentTotal": {"taxPayable": 0, "netTotal": "NaN", "grossTotal": 1}}, "$.documentTotal.netTotal", "10^9"),
        ({"lines": [{}]}, "$.lines[0].lineNumber", ""),
        (
            {"settlements": [{"paymentMechanism": "CB", "settlementAmount": 1e10}]},
            "$.settlements[0].settlementAmount",
            "10^9",
        ),
    ],
)
async def test_an_invalid_event_is_refused_with_field_and_expectation(
    entry: Entry, fields: dict[str, Any], path: str, expected: str
) -> None:
    """The problem document says which event, which field, and what was expected."""
    for data, headers, index in (
        (body(1, **fields), JSON, 0),
        (b"[" + body(1) + b"," + body(2, **fields) + b"]", JSON, 1),
        (body(1) + b"\n\n" + body(2, **fields), LINES, 1),
    ):
        document = (await entry.post(data, headers)).problem(400, "invalid-event")
        [error] = document["errors"]
        assert error["event"] == index
        assert error["field"] == path
        assert expected in error["expected"]
    assert entry.numbers() == []


@pytest.mark.parametrize(
    ("data", "headers", "words"),
    [
        (
            b"[%b,%b]" % (body(1), body(2, storeID="a\ud83d")),
            JSON,
            "event 1: $.storeID: expected text, got half a surr",
        ),
        (b"[%b,%b]" % (body(1), body(2, more=["\ud800"])), JSON, "event 1: $.more[0]: expected text, got half a surr"),
        (body(1) + b"\n" + body(2, more="\ud800"), LINES, "event 1: $.more: expected text, got half a surrogate pair"),
        (body(1, more="\udc00\ud800"), JSON, "event 0: $.more: expected text, got half a surrogate pair"),
        (gzip.compress(body(1)), JSON, "got gzip data: add the header Content-Encoding: gzip"),
        (body(1).decode().encode("utf-16"), JSON, "expected JSON in UTF-8, got UTF-16"),
        (body(1)[:-1], JSON, "event 0: $: expected JSON: input data was truncated"),
    ],
    ids=range(7),
)
async def test_errors_of_decoders_are_told_in_words_that_help(
    entry: Entry, data: bytes, headers: dict[str, str], words: str
) -> None:
    """Half a surrogate pair is named with its event and field, gzip as what it is; only cut data are called cut."""
    assert words in (await entry.post(data, headers)).problem(400, "invalid-event")["detail"]
    assert entry.numbers() == []


async def test_a_date_far_from_now_is_refused_by_the_clock_of_the_entrypoint(tmp_path: Path) -> None:
    """400 that names field and setting; nothing is published."""
    window = DateWindow(past_days=10, future_days=2)
    async with entrypoint(tmp_path, stream=ReceiptStream(ZoneInfo("UTC"), window)) as entry:
        now = datetime.now(UTC)
        for days, setting in ((-11, "TILLSTREAM_PAST_DAYS"), (3, "TILLSTREAM_FUTURE_DAYS")):
            date = (now + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")
            problem = (await entry.post(body(1, date=date))).problem(400, "invalid-event")
            assert problem["errors"][0]["field"] == "$.date"
            assert setting in problem["errors"][0]["expected"]
        for number, days in enumerate((-9, 0, 1)):
            date = (now + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")
            assert (await entry.post(body(number, date=date))).status == 202
        assert entry.numbers() == [0, 1, 2]


async def test_a_hundred_errors_are_listed_and_nothing_is_taken(entry: Entry) -> None:
    """All errors are told up to a hundred; the valid events between them are not taken either."""
    data = b"\n".join(body(number) if number % 2 else b'{"storeID": 1}' for number in range(300))
    document = (await entry.post(data, LINES)).problem(400, "invalid-event")
    assert [error["event"] for error in document["errors"]] == [*range(0, 200, 2)]
    assert entry.numbers() == []
    assert (await entry.metrics())['tillstream_events_invalid_total{stream="receipts"}'] == 100


@pytest.mark.parametrize(
    ("data", "headers", "slug"),
    [
        pytest.param(b"", JSON, "invalid-body", id="empty"),
        pytest.param(b" \n ", LINES, "invalid-body", id="blank"),
        pytest.param(b"[]", JSON, "invalid-body", id="empty-array"),
        pytest.param(b"[1", JSON, "invalid-body", id="cut-array"),
        pytest.param(b"[" * 100_000, JSON, "invalid-body", id="deep-array"),
        pytest.param(lines(range(1, 3)), JSON, "invalid-body", id="lines-as-json"),
        pytest.param(gzip.compress(body(1))[:-9], {**JSON, "Content-Encoding": "gzip"}, "invalid-body", id="cut-gzip"),
        pytest.param(body(1), {**JSON, "Content-Encoding": "gzip"}, "invalid-body", id="no-gzip"),
        pytest.param(body(1), {"Content-Type": "application/gzip"}, "invalid-body", id="no-gzip-file"),
        pytest.param(
            gzip.compress(body(1)) + b"rubbish", {**JSON, "Content-Encoding": "gzip"}, "invalid-body", id="gzip-tail"
        ),
        pytest.param(b"{", JSON, "invalid-event", id="cut-object"),
        pytest.param(b"null", JSON, "invalid-event", id="null"),
        pytest.param(b"[null]", JSON, "invalid-event", id="array-of-null"),
        pytest.param(b'{"storeID": "\xff"}', JSON, "invalid-event", id="not-utf8"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    entry: Entry, data: bytes, headers: dict[str, str], slug: str
) -> None:
    """Empty, cut off, damaged: 400, and nothing is taken."""
    (await entry.post(data, headers)).problem(400, slug)
    assert entry.numbers() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {**JSON, "Content-Encoding": "br"},
    ],
)
async def test_other_types_and_encodings_are_refused(entry: Entry, headers: dict[str, str]) -> None:
    """What is not known here is 415."""
    (await entry.post(body(1), headers)).problem(415, "unsupported-type")


async def test_a_body_beyond_the_limit_is_refused_whether_announced_or_not(tmp_path: Path) -> None:
    """More bytes than allowed: 413, with a length announced, without one, and within one packet."""

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    async with entrypoint(tmp_path, EntrypointConfig(body_max_bytes=100_000)) as entry:
        large = body(1, more="x" * 100_000)
        (await entry.post(large)).problem(413, "too-large")
        (await entry.post(chunks(large))).problem(413, "too-large")
        assert (await entry.post(chunks(body(2, more="x" * 50_000)))).status == 202
        assert entry.numbers() == [2]
    (tmp_path / "small").mkdir()
    async with entrypoint(tmp_path / "small", EntrypointConfig(body_max_bytes=500)) as entry:
        (await entry.post(body(1))).problem(413, "too-large")


async def test_a_gzip_bomb_does_not_grow_memory(entry: Entry) -> None:
    """A small body that decompresses to a gigabyte is stopped at the limit, member by member, too."""
    member = gzip.compress(b" " * 50_000_000, 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in (member * 20, gzip.compress(b"") * 100_000):
        answer = await entry.post(bomb, {**JSON, "Content-Encoding": "gzip"})
        assert answer.status in {400, 413}
    (await entry.post(member * 20, {**JSON, "Content-Encoding": "gzip"})).problem(413, "too-large")
    (await entry.post(member, {"Content-Type": "application/gzip"})).problem(413, "too-large")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert (await entry.post(body(1))).status == 202


@pytest.mark.parametrize(("numbers", "status"), [(range(50), 202), (range(51), 413)])
async def test_a_request_holds_a_limited_number_of_events(tmp_path: Path, numbers: range, status: int) -> None:
    """As many as the limit are taken, one more is not, in an array as in lines; blank lines do not count."""
    array = b"[" + b",".join(body(number) for number in numbers) + b"]"
    blank = lines(numbers).replace(b"\n", b"\n \n\n")
    async with entrypoint(tmp_path, EntrypointConfig(events_max=50)) as entry:
        for data, headers in ((array, JSON), (lines(numbers), LINES), (blank, LINES)):
            answer = await entry.post(data, headers)
            assert answer.status == status, answer.body
        assert entry.numbers() == ([*numbers] * 3 if status == 202 else [])


async def test_ten_thousand_events_are_taken_and_one_more_is_not(entry: Entry) -> None:
    """The limit that users meet: 10,000 events or 10 MiB."""
    small = [body(number) for number in range(10_001)]
    assert sum(map(len, small)) < 10 * 1024 * 1024
    answer = await entry.post(b"\n".join(small[:-1]), LINES)
    assert answer.json["accepted"] == 10_000
    assert len(entry.gate.published) == 1  # a request is never split
    (await entry.post(b"\n".join(small), LINES)).problem(413, "too-large")
    (await entry.post(b"[" + b"{}," * 3_000_000 + b"{}]", JSON)).problem(413, "too-large")
    (await entry.post(b"{}\n" * 3_000_000, LINES)).problem(413, "too-large")


async def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    """A body that does not come to its end in time is 408, and its connection is closed."""
    async with entrypoint(tmp_path, EntrypointConfig(body_timeout_seconds=0.2)) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        writer.write(
            b"POST /receipt HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
        )
        async with asyncio.timeout(WAIT):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nConnection: close\r\n" in head
        writer.close()


async def test_slow_headers_are_given_up(tmp_path: Path) -> None:
    """A connection whose request does not get beyond its headers in time is closed."""
    async with entrypoint(tmp_path, EntrypointConfig(idle_timeout_seconds=0.2)) as entry:
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        writer.write(b"POST /receipt HTTP/1.1\r\nHost: localhost\r\n")
        async with asyncio.timeout(WAIT):
            assert await reader.read() == b""
        writer.close()


async def test_a_client_that_waits_to_be_told_to_go_on_is_told(entry: Entry) -> None:
    """Expect: 100-continue, as curl sends it with large bodies; what is too large is refused before it is sent."""
    data = body(1)
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    head = f"{HEAD}Expect: 100-continue\r\nContent-Length: "
    writer.write(f"{head}{len(data)}\r\n\r\n".encode())
    async with asyncio.timeout(WAIT):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(data)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
        await reader.readline()
        writer.write(f"{head}{11 * 1024 * 1024}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_http_1_0_and_closing_clients_are_answered(entry: Entry) -> None:
    """Clients that want no further request on a connection see it closed after the answer."""
    data = body(1)
    for version, more in (("1.0", ""), ("1.1", "Connection: close\r\n")):
        reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
        writer.write(
            f"POST /receipt HTTP/{version}\r\nHost: localhost\r\n{more}Content-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        async with asyncio.timeout(WAIT):
            answer = await reader.read()
        assert b" 202 " in answer.partition(b"\r\n")[0]
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["accepted"] == 1
        writer.close()


async def test_pipelined_requests_are_answered_in_order(entry: Entry) -> None:
    """Several requests in one packet: as many answers, in the same order."""
    head = f"{HEAD}Content-Length: "
    reader, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    requests = [body(1), b"{}", body(2)]
    writer.write(b"".join(f"{head}{len(data)}\r\n\r\n".encode() + data for data in requests))
    statuses = []
    async with asyncio.timeout(WAIT):
        for _ in requests:
            top = await reader.readuntil(b"\r\n\r\n")
            statuses.append(int(top.split()[1]))
            length = next(line for line in top.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(int(length.split()[1]))
    writer.close()
    assert statuses == [202, 400, 202]
    assert entry.numbers() == [1, 2]


async def test_requests_that_share_a_frame_are_told_the_same_name(entry: Entry) -> None:
    """While a frame is in flight, others wait and then leave together."""
    entry.gate.open.clear()
    first = asyncio.create_task(entry.post(body(1)))
    await asyncio.wait_for(entry.gate.waiting.wait(), WAIT)
    others = [asyncio.create_task(entry.post(body(number))) for number in range(2, 10)]

    async def pending() -> bool:
        return (await entry.metrics())['tillstream_pending_events{stream="receipts"}'] == 9

    await eventually(pending)
    entry.gate.open.set()
    alone = (await first).json["frame"]
    shared = {(await other).json["frame"] for other in others}
    assert len(shared) == 1
    assert shared != {alone}
    assert [message.headers["events"] for message in entry.gate.published] == [1, 8]
    assert sorted(entry.numbers()) == [*range(1, 10)]


async def test_a_client_that_leaves_does_not_cancel_the_commit(entry: Entry) -> None:
    """Its events, and those of others in the same frame, are published all the same."""
    entry.gate.open.clear()
    staying = asyncio.create_task(entry.post(body(1)))
    await asyncio.wait_for(entry.gate.waiting.wait(), WAIT)
    data = body(2)
    _, writer = await asyncio.open_connection(entry.bound.host, entry.bound.port)
    writer.write(f"{HEAD}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    also = asyncio.create_task(entry.post(body(3)))

    async def pending() -> bool:
        return (await entry.metrics())['tillstream_pending_events{stream="receipts"}'] == 3

    await eventually(pending)
    writer.transport.abort()
    for _ in range(2):  # whatever the server does about it, it has done when it answers others
        await entry.get("/healthz")
    entry.gate.open.set()
    assert {(await staying).status, (await also).status} == {202}
    assert sorted(entry.numbers()) == [1, 2, 3]
