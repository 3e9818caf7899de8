"""GET /rejected: what was taken and cannot be counted, and what was done about it."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store import Rejected, RejectedStep
from tests.integration.entrypoint.harness import Entry, entrypoint


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint with the usual limits."""
    async with entrypoint(tmp_path) as running:
        yield running


def rejected(number: int, reason: str, body: bytes = b"{") -> Rejected:
    """An item; a higher number is newer."""
    return Rejected(
        id=f"{number:032x}",
        stream="receipts",
        reason=reason,
        detail="<b>what is wrong</b>",
        source="f" * 32,
        body=body,
        first_seen=1000.0 + number,
    )


async def test_an_item_is_shown_with_its_bytes_and_history(entry: Entry) -> None:
    """Text as text, other bytes as base64; 404 for one that is not there."""
    text, junk = rejected(1, "invalid", b'{"storeID": "\xc3\xa9"}'), rejected(2, "undecodable", b"\xff\0")
    await entry.store.reject([text, junk])
    await entry.store.note(
        [
            RejectedStep(item=text.id, stream="receipts", what="replayed", at=2000.0004, frame="a" * 32),
            RejectedStep(item=text.id, stream="receipts", what="discarded", at=3000.0, note="a test"),
        ]
    )
    assert (await entry.get(f"/rejected/{text.id}")).json == {
        "id": text.id,
        "stream": "receipts",
        "reason": "invalid",
        "detail": "<b>what is wrong</b>",
        "source": "f" * 32,
        "firstSeen": 1001.0,
        "status": "discarded",
        "bytes": 17,
        "history": [
            {"what": "replayed", "at": 2000.0, "frame": "a" * 32},
            {"what": "discarded", "at": 3000.0, "note": "a test"},
        ],
        "body": '{"storeID": "é"}',
    }
    answer = (await entry.get(f"/rejected/{junk.id}")).json
    assert base64.b64decode(answer["bodyBase64"]) == junk.body
    assert "body" not in answer
    (await entry.get("/rejected/nobody")).problem(404, "not-found")
    (await entry.get(f"/rejected/{junk.id}?x=1")).problem(400, "invalid-query")


async def test_the_list_is_filtered_and_paged(entry: Entry) -> None:
    """Newest first, without the bytes; following `next` gives every item once, and ends."""
    reasons = ("invalid", "conflict", "undecodable")
    items = [rejected(number, reasons[number % 3]) for number in range(7)]
    await entry.store.reject(items)
    await entry.store.note([RejectedStep(item=items[4].id, stream="receipts", what="discarded", at=1.0)])

    async def numbers(query: str) -> list[int]:
        answer = (await entry.get(f"/rejected?{query}")).json
        assert all("body" not in each for each in answer["rejected"])
        return [int(each["id"], 16) for each in answer["rejected"]]

    first = (await entry.get("/rejected?limit=4")).json
    assert await numbers(f"limit=3&after={first['next']}") == [2, 1, 0]
    assert (await entry.get("/rejected?limit=7")).json["next"] is None
    assert await numbers("reason=conflict") == [4, 1]
    assert await numbers("reason=conflict&status=open") == [1]
    assert await numbers("status=discarded") == [4]
    assert await numbers("since=1002&before=1970-01-01T00:16:45Z") == [4, 3, 2]
    assert await numbers("since=1d") == []


@pytest.mark.parametrize(
    "query",
    ["reason=poisonous", "status=done", "since=yesterday", "before=2026-11-21", "after=nobody", "limit=0", "store=1"],
)
async def test_a_filter_that_cannot_be_is_refused(entry: Entry, query: str) -> None:
    """Never taken for another one."""
    (await entry.get(f"/rejected?{query}")).problem(400, "invalid-query")
