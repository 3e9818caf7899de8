"""A live page whose connection goes silent says so, and is live again by itself once the server can be reached."""

import itertools
import os
import signal
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute, expect

from tests.browser.conftest import Dashboard, Publisher, Visit, watched
from tests.browser.posting import a_receipt, dashboard_of, post
from tests.integration.system.harness import System, running
from tests.servers.cut import CutProxy, Mode

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LIVE = ("", "?kiosk", "stores", "store?id=612", "store?id=612&kiosk", "system", "system?kiosk")
#: A page says within these milliseconds that it is not live: three seconds, and as many times more on a busy machine.
SAID = 30_000
#: And is live again within these after the server can be reached.
BACK = 60_000


def some(publisher: Publisher, count: int = 3) -> None:
    """Totals of three stores."""
    rows = {"612": {"sum": 5.0, "count": 1}, "7": {"sum": 2.5, "count": 1}, "70": {"sum": 9.0, "count": 1}}
    publisher.tell(total=16.5, count=count, metrics={"stores": {"stores": rows}})


async def opened(browser: Browser, address: str) -> Visit:
    """A page that is live."""
    seen = watched(await browser.new_page())
    await seen.page.goto(address)
    await is_live(seen.page)
    return seen


async def is_live(page: Page) -> None:
    """Wait until a page is drawn from the server's figures, with no notice."""
    await expect(page.locator("header")).to_contain_text("updated", timeout=BACK)
    await expect(page.locator("#lost")).to_be_hidden(timeout=BACK)


async def says_that_it_is_lost(page: Page) -> None:
    """Wait for the notice, which is within the window."""
    await expect(page.locator("#lost")).to_contain_text("Not live: the connection", timeout=SAID)
    await expect(page.locator("#lost")).to_be_in_viewport()


async def test_pages_behind_a_silent_connection_say_so_and_come_back(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """A connection that goes silent without a close is noticed on every live page, and the page loads itself again by
    its address."""
    some(publisher)
    async with CutProxy(port_of(dashboard.url)) as proxy:
        addresses = [f"http://127.0.0.1:{proxy.port}/{path}" for path in LIVE]
        pages = [(await opened(browser, address)).page for address in addresses]
        for page in pages:
            await page.evaluate("window.before = true; scrollTo(0, document.body.scrollHeight)")
        proxy.set(Mode.HOLE)
        proxy.silence()
        for page in pages:
            await says_that_it_is_lost(page)
            assert await page.evaluate("window.before"), "a page is not given up while nothing answers"
        proxy.heal()
        for page, address in zip(pages, addresses, strict=True):
            await page.wait_for_function("() => window.before === undefined", timeout=BACK)
            await is_live(page)
            assert page.url == address


async def test_a_network_that_comes_back_soon_costs_no_reload(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """When the same connection goes on, the notice goes, and the page stays as it was."""
    some(publisher)
    async with CutProxy(port_of(dashboard.url)) as proxy:
        seen = await opened(browser, f"http://127.0.0.1:{proxy.port}/")
        await seen.page.evaluate("window.before = true")
        proxy.set(Mode.HOLE)
        await says_that_it_is_lost(seen.page)
        some(publisher, count=1234)
        proxy.heal()
        await is_live(seen.page)
        await expect(seen.page.locator(".receipts .number")).to_have_text("1,234", timeout=BACK)
        assert await seen.page.evaluate("window.before")


async def test_choices_outlive_a_silent_connection(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """The order and the search of the table of stores are the same after the page loaded itself again."""
    some(publisher)
    async with CutProxy(port_of(dashboard.url)) as proxy:
        seen = await opened(browser, f"http://127.0.0.1:{proxy.port}/stores")
        page = seen.page
        await page.locator("#stores thead button").first.click()
        await page.locator("#stores-search").fill("7")
        await page.evaluate("window.before = true")
        proxy.silence()
        await says_that_it_is_lost(page)
        await page.wait_for_function("() => window.before === undefined", timeout=BACK)
        await is_live(page)
        await expect(page.locator("#stores tbody tr:not([hidden]) > :first-child")).to_have_text(["7", "70"])
        await expect(page.locator("#stores thead th").first).to_have_attribute("aria-sort", "ascending")
        await expect(page.locator("#stores-search")).to_have_value("7")


async def test_a_page_notices_a_frozen_server(browser: Browser, tmp_path: Path) -> None:
    """While the server's process is stopped the page says so; when it goes on the page is right again."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data"), "TILLSTREAM_LOG_LEVEL": "info"}, tmp_path)
    server = system.add("up", "up", "--port", str(system.port), "--dashboard-port", "0")
    async with running(system):
        seen = await opened(browser, await dashboard_of(server))
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await says_that_it_is_lost(seen.page)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await is_live(seen.page)
        await post(system, a_receipt("1", 12.5))
        await expect(seen.page.locator(".revenue .number")).to_have_text("€12.50", timeout=BACK)


async def test_a_page_that_reloads_do_not_help_waits_longer_each_time(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """Where connections go silent again and again, reloads are at least 2, 4, 8 … seconds apart from the loss."""
    some(publisher)
    page = await browser.new_page()
    loads: list[float] = []
    page.on("domcontentloaded", lambda _: loads.append(time.monotonic()))

    def silent_at_once(browsers: WebSocketRoute) -> None:
        servers = browsers.connect_to_server()
        passed = 0

        def answer(message: str | bytes) -> None:
            nonlocal passed
            passed += 1
            if passed <= 12:  # the greeting, the document, and a beat
                browsers.send(message)

        servers.on_message(answer)

    await page.route_web_socket("**/ws*", silent_at_once)
    await page.goto(dashboard.url)
    await page.wait_for_function("() => (history.state?.reloads ?? 0) >= 3", timeout=150_000)
    pauses = [later - earlier for earlier, later in itertools.pairwise(loads)]
    assert len(pauses) >= 2
    assert pauses[1] > 3.0 + 2.0
    assert all(pause > 3.0 + 4.0 for pause in pauses[2:])


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.rstrip("/").rpartition(":")[2])
