"""A till's POST to `tillstream` as a user runs it, and where its dashboard is."""

import time
from typing import Any

import aiohttp

from tests.integration.system.harness import Process, System
from tests.support import eventually
from tests.unit.streams.sample import receipt

#: Receipts that were answered 202 are on the page within this on a busy machine, milliseconds.
SOON = 30_000


async def dashboard_of(process: Process, begun: int = 0) -> str:
    """Where a process says that its page is."""

    def said() -> str | None:
        found = [event["url"] for event in process.events(begun) if event.get("event") == "the day, live"]
        return found[-1] if found else None

    url = await eventually(said, timeout=30)
    assert url is not None
    return url


async def post(system: System, event: dict[str, Any]) -> None:
    """Send a receipt, which has to be accepted."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{system.url}/receipt", json=event) as answer:
            assert answer.status == 202, await answer.text()


def a_receipt(number: str, total: float) -> dict[str, Any]:
    """A receipt of this moment."""
    made = receipt()
    made["cashReceiptID"], made["documentTotal"]["grossTotal"] = number, total
    made["date"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return made
