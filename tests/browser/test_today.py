"""The page of today in a real browser: true, live, readable at any width, and asking nobody else for anything."""

import os
import time
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import NOON, Dashboard, Publisher, serving, visit
from tests.support import eventually, free_port

pytestmark = pytest.mark.browser

#: What was published has to be on the page within two seconds.
SOON = 2_000
CATEGORIES = {"Pain": 123.4, "Sandwich Froid": 800.0, "Menu": 1000.05, "<b>Odd</b> &amp;": 3.05, "Retour": -2.0}
MINUTES = {"09:58": 3, "09:59": 12, "12:39": 7}


def some(publisher: Publisher) -> None:
    """An ordinary morning."""
    publisher.tell(total=1924.5, count=1203, categories=CATEGORIES, per_minute=212, milliseconds=43.4, minutes=MINUTES)


async def test_every_number_is_the_one_published(
    browser: Browser, dashboard: Dashboard, publisher: Publisher, tmp_path: Path
) -> None:
    """Revenue, receipts, rate, categories in order, minutes, day, zone and time are shown; then the news, live."""
    some(publisher)
    await eventually(lambda: dashboard.feed.latest.minutes)
    seen = await visit(browser, dashboard.url)
    page = seen.page
    await expect(page.locator(".revenue .number")).to_have_text("1,924.50 EUR", timeout=SOON)
    await expect(page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
    await expect(page.locator(".receipts .small")).to_have_text("1.60 EUR on average")
    await expect(page.locator(".pace .number")).to_have_text("212")
    await expect(page.locator(".pace .small")).to_have_text("counted in 43 ms (mean)")
    await expect(page.locator("header")).to_contain_text("Saturday 21 November 2026")
    await expect(page.locator("header")).to_contain_text("Europe/Paris")
    await expect(page.locator("header")).to_contain_text("updated 12:40:00")
    assert await page.locator(".categories .name").all_text_contents() == [
        "Menu",
        "Sandwich Froid",
        "Pain",
        "<b>Odd</b> &amp;",
        "Retour",
    ]
    assert await page.locator(".categories .amount").all_text_contents() == [
        "1,000.05",
        "800.00",
        "123.40",
        "3.05",
        "-2.00",
    ]
    assert await bars(page) == {"09:58": 3, "09:59": 12, "12:39": 7}
    await expect(page.locator("#notice")).to_have_text("")

    publisher.tell(
        total=2024.75,
        count=1204,
        as_of=NOON + 61,
        categories={**CATEGORIES, "Pain": 2000.0},
        per_minute=1,
        milliseconds=2500.0,
        minutes={**MINUTES, "12:39": 8, "12:41": 1},
    )
    await expect(page.locator(".revenue .number")).to_have_text("2,024.75 EUR", timeout=SOON)
    await expect(page.locator(".receipts .number")).to_have_text("1,204")
    await expect(page.locator(".pace .small")).to_have_text("counted in 2.5 s (mean)")
    await expect(page.locator("header")).to_contain_text("updated 12:41:01")
    await expect(page.locator(".categories .name").first).to_have_text("Pain")
    await eventually(lambda: bars_are(page, {**MINUTES, "12:39": 8, "12:41": 1}), timeout=2)
    # A minute that arrives late, before those known, is put where it belongs.
    publisher.tell(total=2024.75, count=1205, as_of=NOON + 62, minutes={**MINUTES, "09:30": 2})
    await expect(page.locator(".receipts .number")).to_have_text("1,205", timeout=SOON)
    # Each thing that changed is pushed by itself, the bars last.
    await eventually(lambda: bars_are(page, {"09:30": 2, **MINUTES}), timeout=2)
    assert list(await bars(page)) == ["09:30", *MINUTES]

    assert seen.complaints == []
    assert seen.hosts == {dashboard.url.removeprefix("http://").rstrip("/")}
    await shot(seen.page, "today", tmp_path)


async def test_the_next_day_begins_at_nothing(browser: Browser, dashboard: Dashboard, publisher: Publisher) -> None:
    """When the business day changes, yesterday's numbers and bars are gone, and the page says what to do."""
    some(publisher)
    page = (await visit(browser, dashboard.url)).page
    await expect(page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
    publisher.tell(total=0, count=0, day="2026-11-22", as_of=NOON + 43_000)
    await expect(page.locator(".revenue .number")).to_have_text("0.00 EUR", timeout=SOON)
    await expect(page.locator("header")).to_contain_text("Sunday 22 November 2026")
    await expect(page.locator("#notice")).to_contain_text("No receipts yet: POST one to http://127.0.0.1:3000/receipt")
    await expect(page.locator(".categories")).to_contain_text("Nothing sold yet.")
    assert await bars(page) == {}


async def test_silence_is_said_and_news_end_it(browser: Browser, dashboard: Dashboard, publisher: Publisher) -> None:
    """Three seconds after the last message the page says that it is not live; with the next one it is again."""
    some(publisher)
    page = (await visit(browser, dashboard.url)).page
    notice = page.locator("#notice .alarm")
    await expect(page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
    await expect(notice).to_have_count(0)
    publisher.speaking = False
    await expect(notice).to_contain_text("Not live: no news since", timeout=6_000)
    await expect(page.locator(".receipts .number")).to_have_text("1,203")
    publisher.speaking = True
    await expect(notice).to_have_count(0, timeout=SOON)


async def test_before_any_totals_the_page_says_so(browser: Browser, dashboard: Dashboard) -> None:
    """Unknown numbers are dashes, never zeros, and the page tells that nothing was heard."""
    seen = await visit(browser, dashboard.url)
    await expect(seen.page.locator(".revenue .number")).to_contain_text("–")  # noqa: RUF001
    await expect(seen.page.locator("#notice .alarm")).to_contain_text("Nothing heard from the totals", timeout=6_000)
    assert seen.complaints == []


async def test_no_width_needs_sideways_scrolling(
    browser: Browser, dashboard: Dashboard, publisher: Publisher, tmp_path: Path
) -> None:
    """From a small phone to a wall screen everything fits, with large amounts and long names, too."""
    publisher.tell(
        total=123456789.01,
        count=9876543,
        categories={"Viennoiserie" * 5: 99999999.99, "Pain": 23456789.02},
        per_minute=12345,
        milliseconds=12.0,
        minutes={f"{hour:02}:{minute:02}": 200 + (hour * minute) % 41 for hour in range(5, 12) for minute in range(60)},
    )
    await eventually(lambda: dashboard.feed.latest.minutes)
    for width, height in ((320, 640), (390, 844), (768, 1024), (1280, 800), (1920, 1080)):
        seen = await visit(browser, dashboard.url, width=width, height=height)
        await expect(seen.page.locator(".revenue .number")).to_contain_text("123,456,789.01", timeout=SOON)
        await eventually(partial(bars, seen.page))
        overflowing = await seen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflowing <= 0, width
        # Nothing is cut off inside the cards either.
        for card in await seen.page.locator("section").all():
            assert await card.evaluate("card => card.scrollWidth - card.clientWidth") <= 0, width
        await shot(seen.page, f"wide-{width}", tmp_path)
        await seen.page.close()


async def test_nothing_is_pushed_when_nothing_changed(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """The same totals again and again cost a session no message at all; a second session costs no subscription."""
    some(publisher)
    await eventually(lambda: dashboard.feed.latest.minutes)
    first = await visit(browser, dashboard.url)
    second = await visit(browser, dashboard.url)
    await expect(second.page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)

    async def settled() -> bool:
        """Whether ten more messages led to no push."""
        heard, before = dashboard.feed.latest.accepted, (len(first.pushed), len(second.pushed))
        await eventually(lambda: dashboard.feed.latest.accepted > heard + 10)
        return (len(first.pushed), len(second.pushed)) == before

    await eventually(settled, timeout=20)
    heard, before = dashboard.feed.latest.accepted, (len(first.pushed), len(second.pushed))
    await eventually(lambda: dashboard.feed.latest.accepted > heard + 40)
    assert (len(first.pushed), len(second.pushed)) == before
    publisher.tell(total=1.0, count=1204, minutes=MINUTES)
    await expect(first.page.locator(".receipts .number")).to_have_text("1,204", timeout=SOON)
    await expect(second.page.locator(".receipts .number")).to_have_text("1,204", timeout=SOON)


async def test_a_page_outlives_its_server(browser: Browser, publisher: Publisher) -> None:
    """When the server goes the page says so; when it is back the page is, too, by itself."""
    some(publisher)
    port = free_port()
    async with serving(publisher._broker, port=port) as first:
        seen = await visit(browser, first.url)
        await expect(seen.page.locator("#lost")).to_be_hidden()
    await expect(seen.page.locator("#lost")).to_be_visible(timeout=5_000)
    async with serving(publisher._broker, port=port):
        await expect(seen.page.locator("#lost")).to_be_hidden(timeout=15_000)
        await expect(seen.page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
        await seen.page.close()


async def test_another_sites_page_gets_no_websocket(dashboard: Dashboard) -> None:
    """The origin check is on: our own address is let in, a stranger is refused."""
    address = dashboard.url + "ws"
    own = dashboard.url.rstrip("/")
    async with aiohttp.ClientSession() as session:
        async with session.get(dashboard.url) as answer:
            token = (await answer.text()).split('"token":"')[1].split('"')[0]
        for origin, allowed in (("http://evil.example", False), (own, True)):
            attempt = session.ws_connect(address, origin=origin, protocols=("bokeh", token))
            if allowed:
                await (await attempt).close()
            else:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await attempt
                assert refused.value.status == 403


async def test_a_page_that_cannot_be_made_asks_nobody_else_either(
    browser: Browser, dashboard: Dashboard, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours is said in our words; the next visit, if all is well, shows the page."""
    from dashboard.pages import today

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    some(publisher)
    with monkeypatch.context() as context:
        context.setattr(today, "LivePage", broken)
        page = await browser.new_page()
        hosts: set[str] = set()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        await page.goto(dashboard.url)
        await expect(page.get_by_text("This page cannot be made")).to_be_visible()
        assert hosts <= {dashboard.url.split("/")[2]}
    await visit(browser, dashboard.url)


async def test_stopping_takes_no_time_with_open_pages(browser: Browser, publisher: Publisher) -> None:
    """With a page open the server ends when asked, its thread included, and the port is free again."""
    import threading

    port = free_port()
    async with serving(publisher._broker, port=port) as running:
        seen = await visit(browser, running.url)
        began = time.monotonic()
        running.stop.set()
        await running.serving
        assert time.monotonic() - began < 3
        assert not [thread for thread in threading.enumerate() if thread.name == "dashboard" and thread.is_alive()]
        await seen.page.close()
    async with serving(publisher._broker, port=port):
        pass


async def bars(page: object) -> dict[str, int]:
    """The chart's bars as the browser has them, in their order."""
    read = """() => {
        for (const root of Bokeh.documents[0].roots())
            for (const model of root.references())
                if (model.type === "ColumnDataSource" && model.name === "minutes")
                    return [Array.from(model.data.time), Array.from(model.data.count)]
        return null
    }"""
    times, counts = await page.evaluate(read)  # type: ignore[attr-defined]
    return dict(zip(times, counts, strict=True))


async def bars_are(page: object, expected: dict[str, int]) -> bool:
    """Whether the chart shows these bars."""
    return await bars(page) == expected


async def shot(page: object, name: str, folder: Path) -> None:
    """A picture of the whole page, in the folder that TILLSTREAM_TEST_PICTURES names, for people to look at."""
    target = Path(os.environ.get("TILLSTREAM_TEST_PICTURES", folder))
    await page.screenshot(path=target / f"{name}.png", full_page=True)  # type: ignore[attr-defined]
