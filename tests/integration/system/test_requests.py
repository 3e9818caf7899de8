"""Every way of sending a receipt, and every bad receipt, over HTTP to the whole system."""

import gzip
import json
from typing import Any

import aiohttp

from tests.integration.system.harness import System, running
from tests.unit.streams.sample import MISSING, SAMPLE, receipt

DAY = "2026-11-18"
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"storeID": MISSING}, "$.storeID"),
    ({"lines.0.settlementAmount": MISSING}, "$.lines[0].settlementAmount"),
    ({"lines.0.productDescription": 5}, "$.lines[0].productDescription"),
    ({"terminalID": True}, "$.terminalID"),
    ({"lines.1.quantity": float("nan")}, "$.lines[1].quantity"),
    ({"settlements.0.settlementAmount": float("inf")}, "$.settlements[0].settlementAmount"),
    ({"documentTotal.netTotal": float("-inf")}, "$.documentTotal.netTotal"),
    ({"documentTotal.grossTotal": "NaN"}, "$.documentTotal.grossTotal"),
    ({"lines.0.unitPrice": "-Infinity"}, "$.lines[0].unitPrice"),
    ({"date": "2026-02-30 10:00:00"}, "$.date"),
    ({"documentTotal.grossTotal": 1_000_000_001}, "$.documentTotal.grossTotal"),
    ({"lines": [SAMPLE["lines"][0]] * 1001}, "$.lines"),
]


async def post(session: aiohttp.ClientSession, system: System, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """Status and JSON of the answer."""
    async with session.post(f"{system.url}/receipt", data=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


def encoded(number: int, **changes: Any) -> bytes:
    """A receipt with a number of its own."""
    return json.dumps(receipt({"cashReceiptID": number, **changes})).encode()


async def test_bad_receipts_are_named_and_good_ones_count(embedded_system: System) -> None:
    """Alone, in an array and as lines: 400 with event and field, nothing of it stored; all good forms are counted."""
    system = embedded_system
    async with running(system), aiohttp.ClientSession() as session:
        for changes, field in BAD:
            bad, good = encoded(1, **changes), encoded(2)
            for body, headers, event in (
                (bad, JSON, 0),
                (b"[" + good + b"," + bad + b"]", JSON, 1),
                (good + b"\n" + good + b"\n" + bad, NDJSON, 2),
            ):
                status, problem = await post(session, system, body, headers)
                assert status == 400
                assert [(one["event"], one["field"]) for one in problem["errors"]] == [(event, field)]
        strings = {"storeID": "612", "terminalID": "3", "cashReceiptID": "r-1", "customerID": "c", "agentID": "a"}
        good_bodies = [
            (encoded(10), JSON),
            (json.dumps(receipt(strings)).encode(), JSON),
            (encoded(11, **{"settlements.0.settlementAmount": 20.000000000000004}), JSON),
            (encoded(12, extra={"kept": [1, 2]}), JSON),
            (b"[" + encoded(13) + b"," + encoded(14) + b"]", JSON),
            (encoded(15) + b"\n" + encoded(16) + b"\n", NDJSON),
            (gzip.compress(encoded(17)), {**JSON, "Content-Encoding": "gzip"}),
        ]
        for body, headers in good_bodies:
            assert (await post(session, system, body, headers))[0] == 202
        await system.counted(9, [DAY])
        totals = await system.get(f"/totals/{DAY}")
        assert (totals["count"], totals["sum"]) == (9, 238.77)
        assert len((await system.get("/receipts?limit=100"))["receipts"]) == 9
