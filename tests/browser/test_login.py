"""Logging in and out in a browser, and the dashboard behind a reverse proxy."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from dashboard.passwords import line
from dashboard.throttle import Throttle
from tests.browser.conftest import Publisher, serving
from tests.support_proxy import reverse_proxy

pytestmark = pytest.mark.browser

PASSWORD = "correct horse"
#: The page is there, and live.
LIVE = ".revenue .number"
#: What a browser says of what it may not load. (What else it may say of a page is looked at elsewhere.)
REFUSED = re.compile("Content Security Policy|Failed to load|Refused to")


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with one user, anna."""
    file = tmp_path / "users"
    file.write_text(line("anna", PASSWORD) + "\n")
    return file


@pytest.fixture(autouse=True)
def told(publisher: Publisher) -> None:
    """There is something to show."""
    publisher.tell(total=12.34, count=1)


async def log_in(page: Page, name: str = "anna", password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def test_logging_in_leads_to_the_page_that_was_asked_for(
    browser: Browser, publisher: Publisher, users: Path
) -> None:
    """Wrong: told so, the name is kept. Right: the page that was asked for, live, with its query."""
    async with serving(publisher._broker, users_file=users) as dashboard:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if REFUSED.search(said.text) else None)
        await page.goto(f"{dashboard.url}?kiosk=1")
        await expect(page).to_have_title("Log in · Tillstream")
        assert complaints == []
        await log_in(page, password="wrong horse")
        await expect(page.get_by_role("alert")).to_have_text("This name and this password do not belong together.")
        await expect(page.get_by_label("Name")).to_have_value("anna")
        await expect(page.get_by_label("Password")).to_be_focused()
        complaints.clear()  # the browser complains about the 403 itself
        await log_in(page)
        await expect(page.locator(LIVE)).to_contain_text("12.34")
        assert page.url == f"{dashboard.url}?kiosk=1"
        assert complaints == []
        await page.goto(f"{dashboard.url}login?next=//evil.example/")
        assert page.url == dashboard.url
        await page.close()


async def test_logging_out_ends_the_login_on_every_open_page(
    browser: Browser, publisher: Publisher, users: Path
) -> None:
    """The button leads to the form; a second page that is open finds itself logged out, too; the cookie is worth
    nothing any more, even if somebody kept it."""
    async with serving(publisher._broker, users_file=users) as dashboard:
        context = await browser.new_context()
        page, other = await context.new_page(), await context.new_page()
        await page.goto(dashboard.url)
        await log_in(page)
        await expect(page.locator(LIVE)).to_contain_text("12.34")
        await other.goto(dashboard.url)
        await expect(other.locator(LIVE)).to_contain_text("12.34")
        kept = await context.cookies()
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_title("Log in · Tillstream")
        await expect(other).to_have_title("Log in · Tillstream", timeout=20_000)
        await context.add_cookies(kept)  # type: ignore[arg-type]  # the same keys
        await page.goto(dashboard.url)
        await expect(page).to_have_title("Log in · Tillstream")
        await context.close()


async def test_a_user_who_is_taken_out_loses_the_open_page(browser: Browser, publisher: Publisher, users: Path) -> None:
    """Without a restart, within seconds; who is in the file instead may log in."""
    async with serving(publisher._broker, users_file=users) as dashboard:
        page = await browser.new_page()
        await page.goto(dashboard.url)
        await log_in(page)
        await expect(page.locator(LIVE)).to_contain_text("12.34")
        users.write_text(line("berta", PASSWORD) + "\n")
        await expect(page).to_have_title("Log in · Tillstream", timeout=20_000)
        await log_in(page)
        await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
        await log_in(page, "berta")
        await expect(page.locator(LIVE)).to_contain_text("12.34")
        await page.close()


async def test_a_login_ends_by_itself(browser: Browser, publisher: Publisher, users: Path) -> None:
    """After its time; the page that is asked for then is the form."""
    async with serving(publisher._broker, users_file=users, login_hours=2 / 3600) as dashboard:
        page = await browser.new_page()
        await page.goto(f"{dashboard.url}receipts")
        await log_in(page)
        await expect(page).to_have_title(re.compile("Receipts"))

        async def asked_again() -> None:
            await page.goto(f"{dashboard.url}receipts")
            await expect(page).to_have_title("Log in · Tillstream", timeout=500)

        async with asyncio.timeout(60):
            while True:  # each page that is opened begins the time anew, so: pauses that are longer
                await asyncio.sleep(2.5)
                try:
                    await asked_again()
                    break
                except AssertionError:
                    continue
        await page.close()


async def test_the_form_says_how_long_a_guesser_has_to_wait(
    browser: Browser, publisher: Publisher, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five wrong passwords even the right one is not looked at for a moment; then it is."""
    now = [1000.0]
    monkeypatch.setattr("dashboard.login.Throttle", lambda: Throttle(lambda: now[0]))
    async with serving(publisher._broker, users_file=users) as dashboard:
        page = await browser.new_page()
        await page.goto(dashboard.url)
        for _ in range(5):
            await log_in(page, password="wrong horse")
            await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
        await log_in(page)
        await expect(page.get_by_role("alert")).to_contain_text("Try again in")
        now[0] += 60
        await log_in(page)
        await expect(page.locator(LIVE)).to_contain_text("12.34")
        await page.close()


@pytest.mark.parametrize("path", ["", "receipts", "stores", "store?id=1", "system"])
async def test_behind_a_proxy_all_is_below_the_prefix(
    browser: Browser, publisher: Publisher, users: Path, path: str
) -> None:
    """A reverse proxy under another name, with a prefix and https as far as it says: pages, files, the websocket and
    links are there, and nothing is asked for elsewhere."""
    async with (
        serving(publisher._broker, users_file=users, prefix="/shop", proxy=True) as dashboard,
        reverse_proxy(dashboard.url) as proxy,
    ):
        context = await browser.new_context()
        page = await context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
        page.on("console", lambda said: complaints.append(said.text) if REFUSED.search(said.text) else None)
        await page.goto(f"{proxy.url}/shop/{path}")
        await log_in(page)
        await expect(page.get_by_role("button", name="Log out")).to_be_visible()
        assert page.url == f"{proxy.url}/shop/{path}"
        if path != "receipts":
            await page.wait_for_function("window.Bokeh?.documents?.[0] !== undefined")
        outside = [url for url in asked if not url.startswith((f"{proxy.url}/shop/", "data:", "blob:"))]
        assert outside == []
        assert complaints == []
        links = await page.locator("a[href]").evaluate_all("all => all.map(each => each.getAttribute('href'))")
        assert links
        assert all(link.startswith(("/shop/", "#", "?")) for link in links), links
        await context.close()


async def test_a_page_from_an_unknown_place_says_that_it_is_refused(browser: Browser, publisher: Publisher) -> None:
    """A proxy that nobody told us of: the page says that it is not live, instead of waiting for ever."""
    async with serving(publisher._broker) as dashboard, reverse_proxy(dashboard.url, tells=False) as proxy:
        page = await browser.new_page()
        await page.goto(proxy.url)
        await expect(page.get_by_text("refuses this page a live connection")).to_be_visible(timeout=20_000)
        await page.close()
