"""From a till's POST to the screen: `tillstream` as a user runs it, and a browser."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import visit
from tests.integration.system.harness import ROOT, Process, System, running
from tests.servers.rabbit import Rabbit
from tests.support import eventually
from tests.unit.streams.sample import receipt

pytestmark = pytest.mark.browser

#: What was answered 202 has to be on the page within two seconds.
SOON = 2_000


async def test_a_receipt_is_on_the_page_within_two_seconds(browser: Browser, tmp_path: Path) -> None:
    """The page tells where to POST; a receipt posted there is shown, and still is after a restart."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data"), "TILLSTREAM_CHECKPOINT_S": "0.5"}, tmp_path)
    up = system.add("up", "up", "--port", str(system.port), "--dashboard-port", "0", "--currency", "CHF")
    async with running(system):
        seen = await visit(browser, await dashboard_of(up))
        notice = seen.page.locator("#notice")
        await expect(notice).to_contain_text(f"POST one to {system.url}/receipt", timeout=SOON)

        await post(system, a_receipt("till-1", 12.34))
        await expect(seen.page.locator(".revenue .number")).to_have_text("12.34 CHF", timeout=SOON)
        await expect(seen.page.locator(".receipts .number")).to_have_text("1", timeout=SOON)
        await expect(notice).to_have_text("", timeout=SOON)
        await post(system, a_receipt("till-2", 1000.01))
        await expect(seen.page.locator(".revenue .number")).to_have_text("1,012.35 CHF", timeout=SOON)
        assert (await system.get("/totals"))["sum"] == 1012.35
        assert seen.complaints == []
        await seen.page.close()

        assert await up.stop() == 0
        begun = up.log.stat().st_size
        await system.start()
        again = await visit(browser, await dashboard_of(up, begun))
        await expect(again.page.locator(".revenue .number")).to_have_text("1,012.35 CHF", timeout=2 * SOON)


@pytest.mark.rabbit
async def test_the_page_alone_is_live_on_rabbitmq(browser: Browser, rabbit: Rabbit, tmp_path: Path) -> None:
    """`tillstream dashboard` shows what another process counts; `tillstream watch` prints the same."""
    environ = {
        "TILLSTREAM_BROKER": rabbit.vhost(),
        "TILLSTREAM_STORE": f"sqlite:{tmp_path}/store.db",
        "TILLSTREAM_CHECKPOINT_S": "0.5",
    }
    system = System(environ, tmp_path)
    system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    page_alone = Process(
        ("dashboard", "--dashboard-port", "0", "--dashboard-probes-port", "0"), environ, tmp_path / "dashboard.log"
    )
    async with running(system):
        system.processes["dashboard"] = page_alone
        await page_alone.start("the day, live")
        seen = await visit(browser, await dashboard_of(page_alone))
        await post(system, a_receipt("till-1", 12.34))
        await expect(seen.page.locator(".revenue .number")).to_have_text("12.34 EUR", timeout=SOON)
        assert seen.complaints == []
        await seen.page.close()
        assert await page_alone.stop() == 0
        assert {"sum": 12.34, "count": 1}.items() <= (await watched(environ)).items()


async def watched(environ: dict[str, str]) -> dict[str, Any]:
    """The first totals that `tillstream watch --json` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "watch", "--json", cwd=ROOT, env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while True:
                line = json.loads(await process.stdout.readline())
                if line["exchange"] == "count":
                    body: dict[str, Any] = line["body"]
                    return body
    finally:
        process.terminate()
        await process.communicate()


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
