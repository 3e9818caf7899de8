"""The table of all stores and a store's own day, in a real browser."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Dashboard, Publisher, Visit, laid_out, watched
from tests.browser.posting import SOON, a_receipt, dashboard_of, post
from tests.integration.system.harness import System, running
from tests.support import eventually

pytestmark = pytest.mark.browser

#: Sorting and searching a thousand rows takes a tenth of a second. A page that is laid out anew for each row takes
#: much longer than this, milliseconds.
QUICK = 5_000
#: A store's day is read again at most every five seconds.
READ_AGAIN = 9_000
ODD = '<img src=x onerror=alert(1)> & "Söhne"'


def tell(publisher: Publisher, rows: dict[str, tuple[float, int]]) -> None:
    """Totals that consist of these stores."""
    total, count = round(sum(row[0] for row in rows.values()), 2), sum(row[1] for row in rows.values())
    said = {name: {"sum": amount, "count": number} for name, (amount, number) in rows.items()}
    publisher.tell(total=total, count=count, metrics={"stores": {"stores": said}})


async def opened(browser: Browser, url: str, *, width: int = 1280, dark: bool = False) -> Visit:
    """A page, watched from its beginning."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    seen = watched(await context.new_page())
    await seen.page.goto(url)
    return seen


async def stores_of(browser: Browser, dashboard: Dashboard, **how: Any) -> Visit:
    """The page of all stores, with its rows."""
    seen = await opened(browser, f"{dashboard.url}stores", **how)
    await seen.page.locator("#stores[data-ready] tbody tr").first.wait_for()
    return seen


async def column(page: Page, number: int = 1) -> list[str]:
    """A column of the rows that are shown, from the top."""
    return await page.locator(f"#stores tbody tr:not([hidden]) > :nth-child({number})").all_text_contents()


async def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


async def test_every_number_of_every_store(browser: Browser, publisher: Publisher, dashboard: Dashboard) -> None:
    """Revenue, share, receipts and basket of each store, the largest first; the sums beside them; live."""
    rows = {"12": (1234.5, 3), "7": (0.05, 1), "100": (-2.5, 1), ODD: (8765.43, 100)}
    tell(publisher, rows)
    seen = await stores_of(browser, dashboard)
    page = seen.page
    shown = [await column(page, number) for number in range(1, 6)]
    assert shown == [
        [ODD, "12", "7", "100"],
        ["8,765.43", "1,234.50", "0.05", "-2.50"],
        ["87.7%", "12.3%", "0.0%", "–"],  # noqa: RUF001 - a dash is shown
        ["100", "3", "1", "1"],
        ["87.65", "411.50", "0.05", "-2.50"],
    ]
    facts = page.locator(".day dd")
    assert await facts.all_inner_texts() == ["4", "€9,997.48", "105", "€2,499.37"]
    link = page.locator("#stores tbody a").first
    assert await link.get_attribute("href") == f"/store?id={quote(ODD, safe='()')}"

    tell(publisher, {**rows, "12": (1334.5, 4), "new": (500.0, 1)})
    await expect(page.locator("#stores tbody tr", has_text="1,334.50")).to_be_visible(timeout=SOON)
    await expect(page.locator("#stores tbody tr", has_text="new")).to_contain_text("500.00", timeout=SOON)
    await eventually(lambda: order_is(page, [ODD, "12", "new", "7", "100"]))

    publisher.tell(total=1, count=1, day="2026-11-22", metrics={"stores": {"stores": {"1": {"sum": 1, "count": 1}}}})
    await expect(page.locator("#stores tbody tr")).to_have_count(1, timeout=SOON)
    assert seen.complaints == []


async def order_is(page: Page, expected: list[str]) -> bool:
    """Whether the rows are in this order by now."""
    return await column(page) == expected


async def test_a_day_without_stores_says_so(browser: Browser, publisher: Publisher, dashboard: Dashboard) -> None:
    """An empty table explains itself."""
    tell(publisher, {})
    seen = await opened(browser, f"{dashboard.url}stores")
    await expect(seen.page.locator("#stores-none")).to_contain_text("No store has a receipt", timeout=5 * SOON)


async def test_a_thousand_stores_are_sorted_and_searched_at_once(
    browser: Browser, publisher: Publisher, dashboard: Dashboard
) -> None:
    """Every column sorts both ways, by mouse and keyboard; searching filters as one types; only changes are sent."""
    rows = {str(number): (round(number * 7.31 % 997, 2), number % 83 + 1) for number in range(1, 1001)}
    tell(publisher, rows)
    seen = await stores_of(browser, dashboard)
    page = seen.page
    await expect(page.locator("#stores tbody tr")).to_have_count(1000)
    baskets = {name: amount / count for name, (amount, count) in rows.items()}
    took = {}
    for place, key in (
        (1, int),
        (2, lambda name: rows[name][0]),
        (3, lambda name: rows[name][0]),
        (4, lambda name: rows[name][1]),
        (5, lambda name: baskets[name]),
    ):
        head = page.locator(f"#stores thead th:nth-child({place})")
        for _ in range(2):
            took[f"sort {place}"] = await timed(page, f"#stores thead th:nth-child({place}) button", "click")
            way = await head.get_attribute("aria-sort")
            assert way in ("ascending", "descending")
            names = await column(page)
            values = [key(name) for name in names]
            assert values == sorted(values, reverse=way == "descending")
        assert await page.locator("#stores thead [aria-sort]").count() == 1

    await page.locator("#stores thead button").first.focus()
    await page.keyboard.press("Enter")
    assert (await column(page))[:3] == ["1", "2", "3"]
    await page.keyboard.press("Space")
    assert (await column(page))[:3] == ["1000", "999", "998"]

    took["search"] = await timed(page, "#stores-search", "input", "99")
    assert await column(page) == ["999", *(str(number) for number in range(998, 989, -1)), *found_inside(rows)]
    await expect(page.locator("#stores-shown")).to_have_text("19 of 1,000 stores")
    await timed(page, "#stores-search", "input", "no such store")
    await expect(page.locator("#stores-none")).to_be_visible()
    await timed(page, "#stores-search", "input", "")
    assert len(await column(page)) == 1000
    print("milliseconds in the page:", took)
    assert max(took.values()) < QUICK

    tell(publisher, {**rows, "500": (1999.0, 9)})  # the first change of a pane brings its styles along, once
    await expect(page.locator("#stores tbody tr", has_text="1,999.00")).to_have_count(1, timeout=SOON)
    before = len(seen.pushed)
    tell(publisher, {**rows, "500": (2000.0, 9)})
    await expect(page.locator("#stores tbody tr", has_text="2,000.00")).to_have_count(1, timeout=SOON)
    assert max(seen.pushed[before:]) < 4000, "a changed row is a small message"
    assert seen.complaints == []


def found_inside(rows: dict[str, Any]) -> list[str]:
    """Other names with 99 in them, as the order of the test has them."""
    return sorted((name for name in rows if "99" in name and not 990 <= int(name) <= 999), key=int, reverse=True)


async def timed(page: Page, selector: str, event: str, value: str | None = None) -> float:
    """Do something to an element, and the milliseconds until the page has been laid out again."""
    took = await page.evaluate(
        """([selector, event, value]) => {
            const element = document.querySelector(selector)
            const begun = performance.now()
            if (value !== null) element.value = value
            if (event === "click") element.click()
            else element.dispatchEvent(new Event(event, {bubbles: true}))
            document.body.getBoundingClientRect()
            return performance.now() - begun
        }""",
        [selector, event, value],
    )
    return float(took)


async def test_rows_hold_still_under_the_readers_hand(
    browser: Browser, publisher: Publisher, dashboard: Dashboard
) -> None:
    """While somebody points at the rows, figures change where they are; then the order follows."""
    rows = {"a": (30.0, 1), "b": (20.0, 1), "c": (10.0, 1)}
    tell(publisher, rows)
    seen = await stores_of(browser, dashboard)
    page = seen.page
    await page.locator("#stores tbody tr").nth(1).hover()
    tell(publisher, {**rows, "c": (99.0, 2)})
    await expect(page.locator("#stores tbody tr", has_text="99.00")).to_be_visible(timeout=SOON)
    await page.wait_for_timeout(1500)  # it would have moved by now
    assert await column(page) == ["a", "b", "c"]
    await page.mouse.move(5, 5)
    await eventually(lambda: order_is(page, ["c", "a", "b"]))


@pytest.mark.parametrize("dark", [False, True])
async def test_it_fits_every_screen(browser: Browser, publisher: Publisher, dashboard: Dashboard, dark: bool) -> None:
    """Fewer columns on a phone, nothing to scroll sideways; light and dark."""
    tell(publisher, {"Boulangerie-de-la-grande-rue-de-la-gare-" * 3: (1234567.89, 123456), "7": (1.0, 1)})
    seen = await stores_of(browser, dashboard, width=390, dark=dark)
    for width, columns in ((390, 3), (1280, 5), (1920, 5)):
        await seen.page.set_viewport_size({"width": width, "height": 900})
        await laid_out(seen.page)
        assert await fits(seen.page), width
        assert await seen.page.locator("#stores thead th:visible").count() == columns
        ground, text = await seen.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        lightness = [sum(int(part) for part in colour.strip("rgb()").split(",")) for colour in (ground, text)]
        assert (lightness[0] < lightness[1]) == dark
    assert seen.complaints == []


async def check_a_stores_day(browser: Browser, system: System, url: str) -> None:
    """Post known receipts, and read a store's page."""
    await post(system, a_receipt("1", 12.34))
    await post(system, a_receipt("2", 7.66))
    await post(system, {**a_receipt("3", 60.0), "storeID": ODD})
    seen = await opened(browser, f"{url}store?id=612")
    page = seen.page
    await expect(page.locator("h1")).to_have_text("Store 612")
    numbers = page.locator("main > section .number")
    await expect(numbers).to_have_text(["€20.00", "2", "2 of 2"], timeout=2 * SOON)
    await expect(page.locator("main > section").first).to_contain_text("25.0% of the revenue of all stores")
    await expect(page.locator("main > section").nth(1)).to_contain_text("€10.00 on average")

    await expect(page.locator("section.categories li .amount")).to_have_text(["48.24", "4.82"], timeout=READ_AGAIN)
    await expect(page.locator("section.categories li .name")).to_contain_text(["Menu", "Pain"])
    await expect(page.locator("section.payments li .amount")).to_have_text(["40.00", "13.06"])
    await expect(page.locator("section.newest tbody tr")).to_have_count(2)
    await expect(page.locator("section.hours li .hidden").filter(has_text="€20.00, 2 receipts")).to_have_count(1)
    assert "receipt?id=612" in str(await page.locator("section.newest tbody a").first.get_attribute("href"))

    await post(system, a_receipt("4", 30.0))
    await expect(numbers).to_have_text(["€50.00", "3", "2 of 2"], timeout=SOON)
    await expect(page.locator("section.newest tbody tr")).to_have_count(3, timeout=READ_AGAIN)
    await expect(page.locator("section.payments li .amount")).to_have_text(["60.00", "19.59"])
    assert seen.complaints == []

    odd = await opened(browser, f"{url}store?id={quote(ODD)}", width=390, dark=True)
    await expect(odd.page.locator("h1")).to_have_text(f"Store {ODD}")
    await expect(odd.page.locator("section.newest tbody tr")).to_have_count(1, timeout=READ_AGAIN)
    assert await fits(odd.page)
    assert odd.complaints == []

    nobody = await opened(browser, f"{url}store?id=nobody", width=1920)
    await expect(nobody.page.locator(".notice", has_text="There is no receipt of a store")).to_be_visible(
        timeout=READ_AGAIN
    )
    assert await nobody.page.locator(".notice a").get_attribute("href") == "/stores"
    assert await fits(nobody.page)
    without = await opened(browser, f"{url}store")
    await expect(without.page.locator(".notice", has_text="Choose a store")).to_be_visible(timeout=READ_AGAIN)


async def test_a_stores_own_day(browser: Browser, tmp_path: Path) -> None:
    """Live figures within two seconds, details soon after; unknown stores are said to be unknown."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data")}, tmp_path)
    up = system.add("up", "up", "--port", str(system.port), "--dashboard-port", "0")
    async with running(system):
        await check_a_stores_day(browser, system, await dashboard_of(up))
