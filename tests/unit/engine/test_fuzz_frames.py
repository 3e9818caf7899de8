"""Frames of any bytes: every line becomes an event or something rejected, with its bytes; nothing raises."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import store as stores
from broker.frames import Frame, frame_id
from engine import prepare
from store import Store
from streams import ReceiptStream
from tests.unit.streams.sample import SAMPLE, receipt

Place = tuple[asyncio.Runner, Store]
STREAM = ReceiptStream(ZoneInfo("UTC"))
GOOD = STREAM.accept(json.dumps(SAMPLE, ensure_ascii=False).encode(), 1_763_725_200.25)
#: Lines as they may stand in a frame that somebody else published, or that was damaged.
LINES = st.sampled_from(
    [
        GOOD,
        STREAM.accept(json.dumps(receipt({"cashReceiptID": "é"})).encode(), 1.0),
        GOOD[:-1],
        GOOD[:300],
        GOOD.replace(b"1763725200.250", b"-1"),
        GOOD.replace(b"1763725200.250", b"1e999"),
        GOOD.replace(b'"receivedTime":1763725200.250,', b""),
        GOOD.replace(b"26.53", b"NaN"),
        GOOD.replace(b"26.53", b'"1_0"'),
        GOOD.replace(b"Menu", b"\xff\xfe"),
        GOOD.replace(b"Menu", b"\\ud800"),
        GOOD.replace(b"2026-11-18", b"2026-02-30"),
        GOOD[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}",
        GOOD[:-1] + b',"x":' + b"[" * 5000,
        GOOD[:-1] + b',"x":"\\ud800"}',
        GOOD[:-1] + b',"x":1' + b"0" * 5000 + b"}",
        GOOD[:-1] + b',"":1,"$a.b":{"":-0.0},"\\u0000":18446744073709551616}',
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"\r",
        GOOD + GOOD,
        b"null",
        b"[]",
        b"{}",
        b"\0",
        b" \t\r\f",
        b"",
    ]
) | st.binary(max_size=60)
BODIES = st.lists(LINES, max_size=8).map(b"\n".join) | st.binary(max_size=300)


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A store that only encodes, no server is asked for anything; and the loop that it lives in."""
    path: Path = tmp_path_factory.mktemp("store") / "store.db"
    address = f"sqlite:{path}" if request.param == "sqlite" else "mongodb://127.0.0.1:1/none"
    with asyncio.Runner() as runner:
        store = runner.run(stores.connect(address))
        yield runner, store
        runner.run(store.close())


def is_blank(line: bytes) -> bool:
    """Whether a line holds nothing but white space."""
    return not line.strip()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES)
def test_every_line_is_an_event_or_rejected(place: Place, body: bytes) -> None:
    """Lines in = events + rejected, in order and with their bytes, and their ids are what the frame says."""
    runner, store = place
    frame = Frame.from_body("receipts", body)
    assert frame.id == frame_id("receipts", body)
    lines = [line for line in body.split(b"\n") if not is_blank(line)]
    assert frame.events == len(lines)
    prepared = runner.run(prepare(frame, STREAM, store, lambda: 5.0))
    assert len(prepared.events) == len(prepared.encoded)
    assert sorted([event.line for event in prepared.events] + [item.body for item in prepared.rejected]) == sorted(
        lines
    )
    assert [event.line for event in prepared.events] == [
        line for line in lines if line in {e.line for e in prepared.events}
    ]
    for item in prepared.rejected:
        assert item.reason in {"undecodable", "invalid"}
        assert item.detail
        item.detail.encode()
        assert "Traceback" not in item.detail
        assert "Error(" not in item.detail, "a defect of ours, not of the line"
        assert (item.source, item.first_seen) == (frame.id, 5.0)
    for event, encoded in zip(prepared.events, prepared.encoded, strict=True):
        assert encoded.id == event.id
    again = runner.run(prepare(frame, STREAM, store, lambda: 5.0))
    assert again.rejected == prepared.rejected
    assert [event.hash for event in again.events] == [event.hash for event in prepared.events]
