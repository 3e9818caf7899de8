"""GET: totals, stored events, and what an entrypoint says about itself."""

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.errors import BrokerUnavailableError
from store import StoreTimeoutError, StoreUnavailableError
from tests.integration.entrypoint.harness import DAY, Entry, body, entrypoint, receipt


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint with the usual limits."""
    async with entrypoint(tmp_path) as running:
        yield running


async def keep(entry: Entry, *bodies: bytes) -> list[str]:
    """Store receipts as a worker would; return their ids."""
    events = [entry.stream.parse(entry.stream.accept(each, 1000.0 + number)) for number, each in enumerate(bodies)]
    encoded = [entry.store.encode(event, "f" * 32) for event in events]
    assert await entry.store.insert_events("receipts", encoded, 2000.0) == set()
    return [event.id for event in events]


async def test_totals_of_today_and_of_a_day(entry: Entry) -> None:
    """The reader is asked for the day of the path, or for the current one, and its answer is passed on."""
    assert (await entry.get("/totals")).json["sum"] == 2.41
    assert (await entry.get("/totals/2026-01-31")).json["day"] == "2026-01-31"
    assert entry.asked_days == [None, "2026-01-31"]
    for bad in ("2026-02-30", "2026-1-1", "today", "20260131", "2026-01-31T00", "%20"):
        (await entry.get(f"/totals/{bad}")).problem(400, "invalid-query")
    (await entry.get("/totals?day=2026-01-31")).problem(400, "invalid-query")


async def test_one_stored_receipt(entry: Entry) -> None:
    """All that is kept of it, with the receipt as it was sent and stamped; 404 for one that is not there."""
    [id] = await keep(entry, body(40213, storeID="Ä/ 1"))
    answer = await entry.get(f"/receipts/{quote(id, safe='')}")
    assert answer.status == 200
    found = answer.json
    assert {name: found[name] for name in found if name != "receipt"} == {
        "id": id,
        "frame": "f" * 32,
        "day": DAY,
        "received": 1000.0,
        "stored": 2000.0,
    }
    assert found["receipt"]["cashReceiptID"] == 40213
    assert found["receipt"]["receivedTime"] == 1000.0
    (await entry.get("/receipts/1:2:3:4")).problem(404, "not-found")
    (await entry.get(f"/receipts/{quote(id)}?x=1")).problem(400, "invalid-query")


async def test_a_list_is_filtered_and_paged(entry: Entry) -> None:
    """Filters all hold together; following `next` gives every receipt once, and ends."""
    bodies = [
        body(number, storeID=number % 2, customerID=number % 3 or None, date=f"{DAY} 11:06:{number:02}")
        for number in range(1, 8)
    ]
    ids = await keep(entry, *bodies, body(8, date="2026-11-19 08:00:00"))
    seen: list[str] = []
    after = ""
    for _ in range(5):
        page = (await entry.get(f"/receipts?limit=3{after}")).json
        seen += [each["id"] for each in page["receipts"]]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'], safe='')}"
    assert seen == ids[::-1]  # newest first

    async def numbers(query: str) -> list[int]:
        return sorted(
            each["receipt"]["cashReceiptID"] for each in (await entry.get(f"/receipts?{query}")).json["receipts"]
        )

    assert await numbers("store=1") == [1, 3, 5, 7]
    assert await numbers("store=1&customer=1") == [1, 7]
    assert await numbers("terminal=3&receipt=4") == [4]
    assert await numbers("day=2026-11-19") == [8]
    assert await numbers("day=2026-11-19&store=1") == []
    assert (await entry.get("/receipts?limit=8")).json["next"] is None


async def test_filters_compare_ids_and_names_exactly(entry: Entry) -> None:
    """Blanks around an id or a name belong to it: each spelling finds its own receipt, and no other one."""
    spellings = [
        "612",
        "612 ",
        " 612",
        "612   ",
        "\u00a0612",
        "0612",
        "Café",
        "CAFÉ",
        "Cafe\u0301",
        "a+b",
        "a b",
        "a%20b",
    ]
    lines = receipt(1)["lines"]
    bodies = [
        body(
            f"{text}",
            storeID=text,
            customerID=text,
            terminalID=text,
            lines=[{**lines[0], "productCategoryName": text}],
        )
        for text in spellings
    ]
    ids = await keep(entry, *bodies)
    for id, text in zip(ids, spellings, strict=True):
        for name in ("store", "terminal", "customer", "receipt", "category"):
            found = (await entry.get(f"/receipts?{name}={quote(text, safe='')}")).json
            assert [each["id"] for each in found["receipts"]] == [id], (name, text)
        assert (await entry.get(f"/receipts/{quote(id, safe='')}")).json["receipt"]["storeID"] == text
    assert (await entry.get("/receipts?store=612+++")).json["receipts"][0]["id"] == ids[3]
    assert (await entry.get("/receipts?store=")).json["receipts"] == []


async def test_a_list_is_filtered_by_category_and_amount(entry: Entry) -> None:
    """The exact name of a category, amounts with both bounds included, together with each other and with a day."""
    line = receipt(0)["lines"][0]

    def sold(number: int, total: float, *categories: str, **fields: Any) -> bytes:
        lines = [{**line, "productCategoryName": each} for each in categories]
        return body(number, lines=lines, documentTotal={"taxPayable": 0, "netTotal": 0, "grossTotal": total}, **fields)

    await keep(
        entry,
        sold(1, 12.5, "Pain", "Menu"),
        sold(2, 12.5001, "Pain"),
        sold(3, -3, "Menu & more"),
        sold(4, 0),
        sold(5, 12.5, "Pain", date="2026-11-19 08:00:00"),
    )

    async def numbers(query: str) -> list[int]:
        return sorted(
            each["receipt"]["cashReceiptID"] for each in (await entry.get(f"/receipts?{query}")).json["receipts"]
        )

    assert await numbers("category=Pain") == [1, 2, 5]
    assert await numbers("category=Menu%20%26%20more") == [3]
    assert await numbers("category=Men") == []
    assert await numbers("min=12.5&max=12.50") == [1, 5]
    assert await numbers("min=12.5001") == [2]
    assert await numbers("max=0") == [3, 4]
    assert await numbers("min=-3.0000&max=-0.0001") == [3]
    assert await numbers(f"category=Pain&max=12.5&day={DAY}&store=612") == [1]


@pytest.mark.parametrize("name", ["min", "max"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1,5",
        "1.",
        ".5",
        "1.00001",
        "1e3",
        "NaN",
        "0x1",
        "1_0",
        "--1",
        "%2B1",
        "%201",
        "%C2%B2",
        "1" * 11,
        "1%0A",
    ],
)
async def test_an_amount_that_is_none_is_refused(entry: Entry, name: str, text: str) -> None:
    """By the name of the parameter, with what was expected."""
    problem = (await entry.get(f"/receipts?{name}={text}")).problem(400, "invalid-query")
    assert f"at most 4 digits after the point as {name}" in problem["detail"]


async def test_an_empty_page_is_the_end_of_the_list(entry: Entry) -> None:
    """Behind the last receipt there is nothing; behind one that is not stored is no place."""
    [first, last] = await keep(entry, body(1), body(2))
    assert (await entry.get(f"/receipts?after={quote(first)}")).json == {"receipts": [], "next": None}
    assert (await entry.get(f"/receipts?after={quote(last)}&category=x")).json == {"receipts": [], "next": None}
    for unknown in ("", "x", last[:-1]):
        (await entry.get(f"/receipts?after={quote(unknown)}")).problem(400, "invalid-query")


@pytest.mark.parametrize(
    "query",
    [
        "shop=1",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=%C2%B2",
        "day=yesterday",
        "store=1&store=2",
        "min=2&max=1.9999",
        "category=a&category=b",
    ],
)
async def test_a_query_that_is_not_known_is_refused(entry: Entry, query: str) -> None:
    """Rather an error than an answer to another question."""
    (await entry.get(f"/receipts?{query}")).problem(400, "invalid-query")


async def test_a_store_that_cannot_be_read_is_503(entry: Entry) -> None:
    """Reading says when to try again; taking events goes on."""
    entry.store.refuse = StoreUnavailableError("gone")
    for path in ("/totals", "/receipts", "/receipts/x"):
        answer = await entry.get(path)
        answer.problem(503, "store-unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await entry.post(body(1))).status == 202


async def test_a_query_that_takes_too_long_is_503(entry: Entry) -> None:
    """It says so, and what to do."""
    entry.store.refuse = StoreTimeoutError("could not list events: the query took too long: ask for less")
    answer = await entry.get("/receipts?min=1")
    answer.problem(503, "store-unavailable")
    assert "ask for less" in answer.json["detail"]


async def test_a_page_of_large_receipts_ends_early(entry: Entry) -> None:
    """At 8 MiB, whatever the limit; following `next` gives every receipt once, and ends."""
    ids = await keep(entry, *(body(n, filling="x" * 3 * 1024**2) for n in range(10, 15)))
    seen, after = [], ""
    while True:
        page = (await entry.get(f"/receipts?limit=1000{after}")).json
        seen.append([each["id"] for each in page["receipts"]])
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'], safe='')}"
    assert [len(each) for each in seen] == [2, 2, 1]
    assert [id for each in seen for id in each] == ids[::-1]


async def test_readiness_asks_broker_and_store(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready while the broker answers; whether queries are answered is said beside; alive in any case."""
    answer = await entry.get("/readyz")
    assert (answer.status, answer.json["takesReceipts"], answer.json["answersQueries"]) == (200, True, True)
    await entry.store.inner.close()
    answer = await entry.get("/readyz")
    assert (answer.status, answer.json["takesReceipts"], answer.json["answersQueries"]) == (200, True, False)
    assert set(answer.json["failing"]) == {"store"}
    assert (await entry.post(body(1))).status == 202
    queries = await entry.get("/receipts")
    queries.problem(503, "store-unavailable")
    assert int(queries.headers["Retry-After"]) >= 1

    async def gone() -> None:
        raise BrokerUnavailableError("gone")

    monkeypatch.setattr(entry.gate.inner, "_check_open", lambda: (_ for _ in ()).throw(BrokerUnavailableError("gone")))
    answer = await entry.get("/readyz")
    assert answer.status == 503
    assert (answer.json["failing"]["broker"], answer.json["takesReceipts"]) == ("gone", False)
    assert (await entry.get("/healthz")).status == 200


async def test_metrics_count_what_happened(entry: Entry) -> None:
    """Requests by route and status, events, frames, and how long publishing took."""
    for number in range(3):
        await entry.post(body(number))
    await entry.post(
        b"[" + body(4) + b"," + body(5) + b"]", path="/receipt", headers={"Content-Type": "application/json"}
    )
    await entry.post(b"{}")
    figures = await entry.metrics()
    assert figures['tillstream_http_requests_total{route="/receipts",status="202"}'] == 3
    assert figures['tillstream_http_requests_total{route="/receipt",status="202"}'] == 1
    assert figures['tillstream_http_requests_total{route="/receipts",status="400"}'] == 1
    assert figures['tillstream_events_accepted_total{stream="receipts"}'] == 5
    assert figures['tillstream_events_invalid_total{stream="receipts"}'] == 1
    assert figures['tillstream_frames_published_total{stream="receipts"}'] == 4
    assert figures['tillstream_publish_seconds_count{stream="receipts"}'] == 4
    assert figures['tillstream_pending_events{stream="receipts"}'] == 0
    assert figures["tillstream_http_connections"] >= 1


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(_references(each) for each in node.values()))
    return set().union(*(_references(each) for each in node)) if isinstance(node, list) else set()


async def test_the_description_names_every_route_and_holds_together(entry: Entry) -> None:
    """Each path answers with a status that is described, and every reference leads somewhere."""
    document = (await entry.get("/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            real = path.replace("{day}", DAY).replace("{id}", "x")
            answer = await entry.request(method.upper(), real, b"", {"Content-Type": "application/json"})
            assert str(answer.status) in operation["responses"], (path, method, answer.status)
    operations = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(operations) == len(set(operations))


async def test_the_described_example_is_a_valid_receipt(entry: Entry) -> None:
    """What the description shows can be sent as it is."""
    document = (await entry.get("/openapi.json")).json
    content = document["paths"]["/receipts"]["post"]["requestBody"]["content"]
    assert (await entry.post(json.dumps(content["application/json"]["example"]))).status == 202
    lines = content["application/x-ndjson"]["example"]
    assert (await entry.post(lines, {"Content-Type": "application/x-ndjson"})).status == 202


class _Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.targets += [value for name in ("href", "src") if (value := given.get(name))]
        if identity := given.get("id"):
            self.ids.add(identity)


async def test_the_page_of_documentation_needs_no_other_host(entry: Entry) -> None:
    """It names every operation, runs no script, and what it links to is on it or on this server."""
    answer = await entry.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = _Links()
    page.feed(answer.body.decode())
    assert not page.tags & {"script", "img", "iframe"}
    for target in page.targets:
        assert target in {"/openapi.json", "data:,"} or target.removeprefix("#") in page.ids, target
    problem = (await entry.get("/nothing")).json["type"]
    assert problem.removeprefix("/docs#") in page.ids
