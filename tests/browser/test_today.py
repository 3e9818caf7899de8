"""The page of today in a real browser: true, live, readable at any width, and asking nobody else for anything."""

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, Route, expect

from dashboard import theme
from tests.browser.conftest import NOON, Dashboard, Publisher, laid_out, serving, visit
from tests.support import eventually, free_port
from tests.unit.dashboard.days import MinutesOfDay, keep_day

pytestmark = pytest.mark.browser

#: Published totals are on the page within this on a busy machine, milliseconds.
SOON = 30_000
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
    await expect(page.locator(".revenue .number")).to_have_text("€1,924.50", timeout=SOON)
    await expect(page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
    await expect(page.locator(".basket .number")).to_have_text("€1.60")
    await expect(page.locator(".pace .number")).to_have_text("212")
    await expect(page.locator(".pace .small")).to_have_text("in the last minute, counted in 43 ms (mean)")
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
        "€1,000.05",
        "€800.00",
        "€123.40",
        "€3.05",
        "-€2.00",
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
    await expect(page.locator(".revenue .number")).to_have_text("€2,024.75", timeout=SOON)
    await expect(page.locator(".receipts .number")).to_have_text("1,204")
    await expect(page.locator(".pace .small")).to_have_text("in the last minute, counted in 2.5 s (mean)")
    await expect(page.locator("header")).to_contain_text("updated 12:41:01")
    await expect(page.locator(".categories .name").first).to_have_text("Pain")
    await eventually(lambda: bars_are(page, {**MINUTES, "12:39": 8, "12:41": 1}))
    # A minute that arrives late, before those known, is put where it belongs.
    publisher.tell(total=2024.75, count=1205, as_of=NOON + 62, minutes={**MINUTES, "09:30": 2})
    await expect(page.locator(".receipts .number")).to_have_text("1,205", timeout=SOON)
    # Each thing that changed is pushed by itself, the bars last.
    await eventually(lambda: bars_are(page, {"09:30": 2, **MINUTES}))
    assert list(await bars(page)) == ["09:30", *MINUTES]

    assert seen.complaints == []
    assert seen.hosts == {dashboard.url.removeprefix("http://").rstrip("/")}
    await shot(seen.page, "today", tmp_path)


async def test_today_is_compared_with_yesterday_and_a_week_ago(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """Revenue, receipts and basket against the same time, both lines of the day, live; in words, not by colour."""
    await keep_day(dashboard.store, "2026-11-20", {"09:00": (800.0, 400), "12:40": (99.0, 1), "18:30": (1101.0, 500)})
    await keep_day(dashboard.store, "2026-11-14", {"12:39": (3200.0, 800)})
    a_day(publisher, {"09:58": (1000.0, 600), "12:39": (600.0, 200), "12:40": (324.5, 403)})
    page = (await visit(browser, dashboard.url)).page
    changes = page.locator(".revenue .changes li")
    await expect(changes).to_have_text(
        ["▲ 100.0% more than yesterday at 12:40 €800.00", "▼ 50.0% less than a week ago at 12:40 €3,200.00"],
        timeout=2 * SOON,
    )
    await expect(page.locator(".receipts .changes")).to_have_text("▲ 100.0% more than yesterday at 12:40 400")
    await expect(page.locator(".basket .changes")).to_have_text("= the same as yesterday at 12:40 €2.00")
    await expect(page.locator("#curve-note")).to_have_text(
        "Today €1,924.50 so far; yesterday €800.00 by 12:40, and €2,000.00 in all."
    )
    assert await source(page, "now", "today") == [1600, 1924.5]
    assert await source(page, "now", "label") == ["", "today"]
    assert await source(page, "last", "at") == [18 * 60 + 31]
    points = dict(zip(await source(page, "curve", "time"), await source(page, "curve", "before"), strict=True))
    assert (points["09:00"], points["09:05"], points["12:40"], points["12:45"]) == (0, 800, 800, 899)
    place = await page.locator(".curve .chart").bounding_box()
    assert place is not None
    tip = page.locator(".bk-Tooltip .bk-tooltip-content")
    for part in (0.39, 0.4):
        await page.mouse.move(place["x"] + place["width"] * part, place["y"] + place["height"] / 2)
    await expect(tip).to_have_text(re.compile(r"by1[0-2]:\d[05]today€1,?[06]00.00yesterday€800.00"), timeout=SOON)

    later = {"09:58": (1000.0, 600), "12:39": (600.0, 200), "12:40": (324.5, 403), "12:41": (600.0, 1)}
    a_day(publisher, later, as_of=NOON + 60)
    await expect(changes.first).to_contain_text("114.1% more than yesterday at 12:41 €899.00", timeout=SOON)
    await eventually(partial(source_is, page, "now", "today", [1600, 2524.5]))


async def test_stores_and_payments_are_ranked(browser: Browser, dashboard: Dashboard, publisher: Publisher) -> None:
    """The first and the last stores lead to their own pages, payments have shares; names are shown as they are."""
    rows = {str(number): {"sum": number * 10.5, "count": number} for number in range(1, 12)}
    payments = {"CB": {"sum": 75.0, "count": 5}, "<i>Chèque</i>": {"sum": 25.0, "count": 1}}
    a_day(
        publisher, {}, stores={"stores": {**rows, "a/b <&>": {"sum": 1.0, "count": 1}}}, payments={"payments": payments}
    )
    page = (await visit(browser, dashboard.url)).page
    best, worst = page.locator(".best .stores li"), page.locator(".worst .stores li")
    await expect(best.locator(".name")).to_have_text([f"Store {number}" for number in (11, 10, 9, 8, 7)])
    await expect(best.locator(".amount").first).to_have_text("€115.50")
    await expect(worst.locator(".name")).to_have_text(["Store a/b <&>", *(f"Store {number}" for number in range(1, 5))])
    await expect(worst.locator(".place").first).to_have_text("12")
    await expect(worst.locator(".share")).to_contain_text(["1 receipt", "1 receipt", "2 receipts"])
    address = await worst.locator("a").first.get_attribute("href")
    assert address == "/store?id=a%2Fb+%3C%26%3E"
    await expect(page.locator(".payments .name")).to_have_text(["CB", "<i>Chèque</i>"])
    await expect(page.locator(".payments .share")).to_have_text(["75.0%", "25.0%"])


async def test_a_store_that_does_not_answer_takes_nothing_but_the_comparison(
    browser: Browser, publisher: Publisher
) -> None:
    """Without the past the day is whole, and the page says what is missing; with it back, it is compared."""
    async with serving(publisher._broker) as running:
        await running.store.close()
        a_day(publisher, {"09:58": (1000.0, 600)})
        page = (await visit(browser, running.url)).page
        await expect(page.locator(".revenue .number")).to_have_text("€1,000.00", timeout=SOON)
        await expect(page.locator(".revenue .changes li").first).to_have_text(
            "– yesterday: the store does not answer",  # noqa: RUF001
            timeout=2 * SOON,
        )
        assert await source(page, "now", "today") == [1000, 1000]
        await page.close()


async def test_the_theme_is_chosen_and_kept(
    browser: Browser, dashboard: Dashboard, publisher: Publisher, tmp_path: Path
) -> None:
    """The system's theme at first, then the one that was chosen; texts and charts change at once, in the browser."""
    some(publisher)
    await eventually(lambda: dashboard.feed.latest.minutes)
    context = await browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(dashboard.url)
    button = page.get_by_role("button", name="Dark mode")
    await expect(button).to_have_attribute("aria-pressed", "false")
    await expect(page.locator("html")).to_have_class(re.compile("painted"))
    light = await colours(page)
    assert light == expected_colours(theme.LIGHT)
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    assert await colours(page) == expected_colours(theme.DARK)
    await shot(page, "today-dark", tmp_path)
    await page.reload()
    await expect(page.locator("html")).to_have_class(re.compile("painted"))
    assert await colours(page) == expected_colours(theme.DARK)
    # The server still believes in its own colours: nothing was sent to it, so a second visitor sees a light page.
    await context.close()
    other = await browser.new_context(color_scheme="dark")
    page = await other.new_page()
    await page.goto(dashboard.url)
    await expect(page.locator("html")).to_have_class(re.compile("painted"))
    assert await colours(page) == expected_colours(theme.DARK)
    await other.close()


async def test_a_wall_screen_shows_all_at_once_and_nothing_to_press(
    browser: Browser, dashboard: Dashboard, publisher: Publisher, tmp_path: Path
) -> None:
    """With `?kiosk` there are no controls, and on 1920 by 1080 everything fits without scrolling."""
    some(publisher)
    await eventually(lambda: dashboard.feed.latest.minutes)
    page = (await visit(browser, f"{dashboard.url}?kiosk", width=1920, height=1080)).page
    await expect(page.locator(".revenue .number")).to_have_text("€1,924.50", timeout=SOON)
    for hidden in (page.locator("header nav"), page.locator("#theme"), page.locator(".skip")):
        await expect(hidden).to_be_hidden()
    await eventually(partial(bars, page))
    assert await page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert await page.evaluate("document.documentElement.scrollHeight - window.innerHeight") <= 0
    await shot(page, "today-kiosk", tmp_path)


async def test_everything_is_reached_by_keyboard(browser: Browser, dashboard: Dashboard, publisher: Publisher) -> None:
    """Tab goes to the skip link, the pages, the theme and the stores, in this order, and each shows that it has the
    focus; the skip link leads past the header."""
    a_day(publisher, {}, stores={"stores": {"7": {"sum": 5.0, "count": 1}}})
    page = (await visit(browser, dashboard.url)).page
    await expect(page.locator(".best a")).to_have_text("Store 7", timeout=SOON)
    await expect(page.locator("html")).to_have_class(re.compile("painted"))
    reached = []
    for _ in range(8):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate(FOCUSED))
    assert [name for name, _ in reached] == [
        "Skip to the content",
        "Tillstream",
        "Today",
        "Receipts",
        "Stores",
        "System",
        "Dark mode",
        "Store 7",
    ]
    assert all(width > 0 for _, width in reached)
    await page.reload()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"


async def test_the_next_day_begins_at_nothing(browser: Browser, dashboard: Dashboard, publisher: Publisher) -> None:
    """When the business day changes, yesterday's numbers and bars are gone, and the page says what to do."""
    some(publisher)
    page = (await visit(browser, dashboard.url)).page
    await expect(page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
    publisher.tell(total=0, count=0, day="2026-11-22", as_of=NOON + 43_000)
    await expect(page.locator(".revenue .number")).to_have_text("€0.00", timeout=SOON)
    await expect(page.locator("header")).to_contain_text("Sunday 22 November 2026")
    await expect(page.locator("#notice")).to_contain_text("No receipts yet: POST one to http://127.0.0.1:3000/receipt")
    await expect(page.locator(".categories")).to_contain_text("Nothing sold yet.")
    await eventually(lambda: bars_are(page, {}))


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
    # Opened on the smallest, as the charts are made for the width that they find; others open theirs on larger ones.
    seen = await visit(browser, dashboard.url, width=320, height=640)
    await expect(seen.page.locator(".revenue .number")).to_contain_text("€123,456,789.01", timeout=SOON)
    await eventually(partial(bars, seen.page))
    for width, height in ((320, 640), (390, 844), (768, 1024), (1280, 800), (1920, 1080)):
        await seen.page.set_viewport_size({"width": width, "height": height})
        await laid_out(seen.page)
        overflowing = await seen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflowing <= 0, width
        # Nothing is cut off inside the cards either.
        for card in await seen.page.locator("section").all():
            assert await card.evaluate("card => card.scrollWidth - card.clientWidth") <= 0, width
        await shot(seen.page, f"wide-{width}", tmp_path)


async def test_nothing_is_pushed_when_nothing_changed(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """The same totals again cost a session no message but its beats; a second session costs no subscription."""
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
    await expect(seen.page.locator("#lost")).to_be_visible(timeout=20_000)
    async with serving(publisher._broker, port=port):
        await expect(seen.page.locator("#lost")).to_be_hidden(timeout=90_000)
        await expect(seen.page.locator(".receipts .number")).to_have_text("1,203", timeout=SOON)
        await seen.page.close()


async def test_a_page_whose_script_did_not_arrive_tries_again(
    browser: Browser, dashboard: Dashboard, publisher: Publisher
) -> None:
    """A connection lost while the page loads: it says so instead of staying empty, and comes by itself."""
    some(publisher)
    page = await browser.new_page()
    lost: list[str] = []

    async def lose(route: Route) -> None:
        lost.append(route.request.url)
        await route.abort("internetdisconnected")

    await page.route(re.compile(r"/panel\.min\.js"), lose)
    await page.goto(dashboard.url, wait_until="commit")
    await expect(page.locator("#lost")).to_have_text("Not live: a part of this page did not arrive. Trying again …")
    await expect(page.locator("#lost")).to_be_visible()
    assert lost
    await page.unroute_all()
    await expect(page.locator(".receipts .number")).to_have_text("1,203")
    await expect(page.locator("#lost")).to_be_hidden()
    await page.close()


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


async def test_open_pages_do_not_hold_up_a_stop(browser: Browser, publisher: Publisher) -> None:
    """The page stays open, and the server ends when asked, its thread included; the port is free again."""
    import threading

    port = free_port()
    async with serving(publisher._broker, port=port) as running:
        seen = await visit(browser, running.url)
        running.stop.set()
        await running.serving
        assert not [thread for thread in threading.enumerate() if thread.name == "dashboard" and thread.is_alive()]
        await seen.page.close()
    async with serving(publisher._broker, port=port):
        pass


def a_day(publisher: Publisher, own: MinutesOfDay, as_of: float = NOON, **metrics: object) -> None:
    """A day of which the minutes on the receipts are known."""
    rows = {minute: {"sum": revenue, "count": number} for minute, (revenue, number) in own.items()}
    revenue, receipts = (sum(row[column] for row in own.values()) for column in (0, 1))
    minutes = {"received": {}, "own": rows, "complete": True}
    publisher.tell(total=revenue, count=int(receipts), as_of=as_of, metrics={"minutes": minutes, **metrics})


#: Name of what has the focus, and the width of the line around it.
FOCUSED = """() => {
    let at = document.activeElement
    while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
    return [at.getAttribute("aria-label") ?? at.textContent.trim(), parseFloat(getComputedStyle(at).outlineWidth)]
}"""


async def colours(page: Page) -> list[str]:
    """Of the page's ground and text, a card, a chart's line, its axis and its bars, as `#rrggbb`."""
    read = """() => {
        const of = (selector, what) => getComputedStyle(document.querySelector(selector))[what]
        const two = (part) => (+part).toString(16).padStart(2, "0")
        const hex = (rgb) => "#" + rgb.match(/\\d+/g).slice(0, 3).map(two).join("")
        const seen = [["body", "backgroundColor"], ["body", "color"], ["section", "backgroundColor"]]
        const page = seen.map(([selector, what]) => hex(of(selector, what)))
        const drawn = {}
        for (const root of Bokeh.documents[0].roots())
            for (const model of root.references()) {
                if (model.type === "VBar" && model.tags.length) drawn.bars = model.fill_color.value
                if (model.type === "Line" && model.line_width.value === 4) drawn.line = model.line_color.value
                if (model.type === "LinearAxis") drawn.axis = model.major_label_text_color
            }
        return [...page, drawn.line, drawn.axis, drawn.bars]
    }"""
    found: list[str] = await page.evaluate(read)
    return found


def expected_colours(palette: Mapping[str, str]) -> list[str]:
    """Those that `colours` should find."""
    return [palette[name] for name in ("ground", "text", "card", "mark", "quiet", "mark")]


async def source(page: Page, name: str, column: str) -> list[Any]:
    """A column of one of the charts' sources as the browser has it."""
    read = """([name, column]) => {
        for (const root of Bokeh.documents[0].roots())
            for (const model of root.references())
                if (model.type === "ColumnDataSource" && model.name === name) return Array.from(model.data[column])
        return []
    }"""
    found: list[Any] = await page.evaluate(read, [name, column])
    return found


async def source_is(page: Page, name: str, column: str, expected: list[Any]) -> bool:
    """Whether a source's column is this."""
    return await source(page, name, column) == expected


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
