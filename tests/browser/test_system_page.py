"""The page of the system in a real browser: each figure and its state, what was rejected, alarms."""

from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from engine.prepare import rejected
from store.protocol import RejectedStep
from tests.browser.conftest import Dashboard, Publisher, laid_out
from tests.browser.posting import SOON
from tests.browser.test_stores import fits, opened

pytestmark = pytest.mark.browser

NONE = {"mean": None, "max": None, "p50": None, "p99": None}
FINE: dict[str, Any] = {
    "engine": {
        "writers": 2, "lag": 3, "queueDepth": 12, "deadLetters": 0, "consumers": 2,
        "workers": [
            {"worker": "bakery-17-a1", "events": 90, "share": 0.75},
            {"worker": "<i>odd</i>", "events": 30, "share": 0.25},
        ],
    },
    "delay": {
        "connectionDelay": {"mean": 2.5, "max": 30.0, "p50": 1.5, "p99": 12.0},
        "networkDelay": {"mean": 0.02, "max": 2.0, "p50": 0.01, "p99": 0.3},
        "recent": {
            "connectionDelay": {"mean": 1.5, "max": 8.0, "p50": 1.0, "p99": 7.5},
            "networkDelay": {"mean": 0.03, "max": 0.9, "p50": 0.02, "p99": 0.25},
            "seconds": 60,
        },
    },
}  # fmt: skip


def tell(publisher: Publisher, engine: dict[str, Any] | None = None) -> None:
    """A system that is fine but for what is said."""
    publisher.tell(
        total=1234.5, count=120, per_minute=118, milliseconds=20, minutes={"12:38": 50, "12:40": 68},
        metrics={**FINE, "engine": {**FINE["engine"], **(engine or {})}},
    )  # fmt: skip


def card(page: Page, heading: str) -> Any:
    """A section of the page."""
    return page.locator("main > section").filter(has=page.get_by_role("heading", name=heading, exact=True, level=2))


async def test_every_figure_and_its_state(browser: Browser, publisher: Publisher, dashboard: Dashboard) -> None:
    """What the engine says is on the page, judged; when something is wrong, it is at the top within two seconds."""
    tell(publisher)
    seen = await opened(browser, f"{dashboard.url}system")
    page = seen.page
    await expect(card(page, "Live").locator(".value").first).to_have_text("live", timeout=5 * SOON)
    await expect(card(page, "Live")).to_contain_text("12:40:00")
    await expect(card(page, "Receipts coming in").locator(".value")).to_have_text("118")
    await expect(card(page, "Receipts coming in").locator("svg[role=img]")).to_have_attribute(
        "aria-label", "Receipts per minute from 11:40 to 12:39, at most 50"
    )
    await expect(card(page, "Receipts coming in")).to_contain_text("Since 12:40: 68.")
    await expect(card(page, "Delays").locator(".value")).to_have_text(["250 ms", "7.5 s"])
    rows = [await row.locator("td").all_inner_texts() for row in await card(page, "Delays").locator("tbody tr").all()]
    assert rows == [
        ["20 ms", "250 ms", "30 ms", "900 ms"],
        ["10 ms", "300 ms", "20 ms", "2 s"],
        ["1 s", "7.5 s", "1.5 s", "8 s"],
        ["1.5 s", "12 s", "2.5 s", "30 s"],
    ]
    await expect(card(page, "Queues and ledger").locator(".value")).to_have_text(["12", "0", "3"])
    workers = card(page, "Workers")
    await expect(workers.locator(".value")).to_have_text("2")
    await expect(workers.locator("li .name")).to_have_text(["bakery-17-a1", "<i>odd</i>"])
    await expect(workers.locator("li .share")).to_have_text(["75.0%", "25.0%"])
    await expect(card(page, "Rejected").locator(".value")).to_have_text("0", timeout=2 * SOON)
    await expect(page.locator(".verdict")).to_have_text("Everything is as it should be.", timeout=SOON)
    await expect(card(page, "Versions")).to_contain_text("Bokeh")

    tell(publisher, {"deadLetters": 2, "consumers": 0, "queueDepth": 500})
    verdict = page.locator(".verdict li")
    await expect(verdict).to_have_count(3, timeout=SOON)
    await expect(verdict.first).to_contain_text("Dead letters: 2.")
    await expect(verdict.first).to_contain_text("tillstream rejected replay --reason poison")
    await expect(card(page, "Queues and ledger").locator(".state")).to_have_text(["have a look", "trouble", "good"])
    await expect(workers.locator(".state")).to_have_text("trouble")

    publisher.speaking = False
    await expect(page.locator(".verdict")).to_contain_text("Totals: silent for", timeout=4 * SOON)
    assert seen.complaints == []


@pytest.mark.parametrize("dark", [True, False])
async def test_it_fits_every_screen(browser: Browser, publisher: Publisher, dashboard: Dashboard, dark: bool) -> None:
    """The system's page, the list of what was rejected, and one item with long lines: nothing to scroll sideways."""
    tell(publisher)
    item = rejected(
        "receipts", "invalid", "x" * 300, source="f" * 32, body=b'{"a": "' + b"y" * 900 + b'"}', first_seen=1.0
    )
    await dashboard.store.reject([item])
    for path in ("system", "rejected", f"rejected-item?id={item.id}"):
        seen = await opened(browser, f"{dashboard.url}{path}", width=390, dark=dark)
        await expect(seen.page.locator("main section").first).to_be_visible()
        if path == "system":
            await expect(seen.page.locator(".verdict")).to_be_visible(timeout=5 * SOON)
            await expect(card(seen.page, "Rejected").locator("tbody tr")).to_have_count(1, timeout=5 * SOON)
        for width in (390, 1920):
            await seen.page.set_viewport_size({"width": width, "height": 900})
            await laid_out(seen.page)
            assert await fits(seen.page), (path, width)
        assert seen.complaints == []
        await seen.page.context.close()


async def test_what_was_rejected_is_listed_and_shown(
    browser: Browser, publisher: Publisher, dashboard: Dashboard
) -> None:
    """Newest first, by reason, in pages; bytes of any kind are shown as text and never as markup."""
    tell(publisher)
    evil = b"<script>alert(1)</script>\xe2\x80\xae"
    items = [
        rejected(
            "receipts", "invalid", f"$.date: is no date ({n})", source="f" * 32, body=b"%d" % n, first_seen=1000.0 + n
        )
        for n in range(51)
    ]
    items.append(rejected("receipts", "undecodable", "<b>bold</b>", source="f" * 32, body=evil, first_seen=5000.0))
    items.append(rejected("receipts", "undecodable", "bytes", source="f" * 32, body=b"\xff\x00", first_seen=4000.0))
    await dashboard.store.reject(items)
    step = RejectedStep(item=items[-1].id, stream="receipts", what="discarded", at=6000.0, note="a <b>mistake</b>")
    await dashboard.store.note([step])
    seen = await opened(browser, f"{dashboard.url}rejected")
    page = seen.page
    await expect(page.locator("tbody tr")).to_have_count(50)
    await expect(page.locator("tbody tr").first).to_contain_text("<b>bold</b>")
    await expect(page.locator("tbody tr").nth(1)).to_contain_text("undecodable, discarded")
    await expect(page.locator(".reasons a")).to_have_text(["all 53", "invalid 51", "undecodable 2"])
    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("tbody tr")).to_have_count(3)
    await page.get_by_role("link", name="Newest").click()
    await page.get_by_role("link", name="undecodable 2").click()
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.locator("tbody a").first.click()
    await expect(page.locator("h1")).to_have_text("Unreadable line")
    await expect(page.locator("pre")).to_have_text("<script>alert(1)</script>\\u202e")
    await expect(page.locator("dl.facts")).to_contain_text(f"tillstream rejected replay --id {items[-2].id}")
    await page.goto(f"{dashboard.url}rejected-item?id={items[-1].id}")
    await expect(page.locator("pre")).to_contain_text("000000  ff 00")
    await expect(page.locator("main")).to_contain_text("bytes, in hexadecimal")
    await expect(page.locator("dl.facts")).to_contain_text("nothing will be done (a <b>mistake</b>)")
    await expect(page.locator("dl.facts")).not_to_contain_text("tillstream rejected")
    assert seen.complaints == []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{dashboard.url}rejected-item?id=<b>none") as answer:
            assert answer.status == 404
            assert "<b>none" not in await answer.text()
        async with session.get(f"{dashboard.url}rejected?after=none") as answer:
            assert answer.status == 200
            assert "There is nothing older" in await answer.text()
