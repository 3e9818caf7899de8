"""What holds for every page: it is ours alone, says what it is, complains of nothing, fits its screen, and bars nobody.

The last is what axe-core says of it: in light and dark, on a laptop and a phone.
"""

import re

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.axe import SERIOUS, script, violations
from tests.browser.conftest import Visit, laid_out, watched
from tests.browser.whole import PAGES, Site, shown

# A page of a busy day, drawn in seven sizes and looked through four times; the first waits for the site, too.
pytestmark = pytest.mark.browser

#: A phone, a laptop, a wall screen.
WIDTHS = (390, 1280, 1920)
LAPTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
#: Pages whose answer is an error: the browser says so on its console by itself.
ERRORS = {"receipt-missing": 404, "no-page": 404, "receipts-wrong": 400}


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_whole_and_bars_nobody(browser: Browser, site: Site, name: str) -> None:
    """No other host is asked, nothing is complained of, there are a title and one heading, nothing is cut off, and
    axe-core finds no violation of impact serious or critical, as the page is with a day's receipts."""
    # What is still fading in has no contrast yet.
    seen = watched(await browser.new_page(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce"))
    await shown(seen.page, site, name)
    for width in WIDTHS:
        await seen.page.set_viewport_size({"width": width, "height": 900})
        await laid_out(seen.page)
        beyond = await seen.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"at {width} px the page is {beyond} px too wide: {await too_wide(seen)}"
    assert seen.hosts == {site.pages[name].split("/")[2]}
    complaints = [each for each in seen.complaints if not (name in ERRORS and f"status of {ERRORS[name]}" in each)]
    assert complaints == []
    await expect(seen.page).to_have_title(re.compile(r"\w.* · Tillstream$"))
    await expect(seen.page.get_by_role("heading", level=1)).to_have_count(1)
    assert await seen.page.locator("html").get_attribute("lang") == "en"
    assert await seen.page.locator("link[rel=icon]").count() == 1

    script()  # the test is skipped from here without it
    found = {}
    for theme in ("light", "dark"):
        if theme == "dark":
            await in_the_dark(seen.page)
        for size in (LAPTOP, PHONE):
            await seen.page.set_viewport_size(size)
            found[f"{theme}, {size['width']}"] = await violations(seen.page)
    told = "\n".join(f"  {how}: {each}" for how, all_ in found.items() for each in all_)
    assert not [each for all_ in found.values() for each in all_ if each.impact in SERIOUS], f"{name}:\n{told}"


async def in_the_dark(page: Page) -> None:
    """Change the theme as a person does: by the button."""
    await page.locator("#theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def too_wide(seen: Visit) -> list[str]:
    """Elements that reach beyond the right edge, the innermost ones."""
    found: list[str] = await seen.page.evaluate(
        """() => {
            const found = []
            const look = (root) => {
                for (const each of root.querySelectorAll("*")) {
                    if (each.getBoundingClientRect().right > innerWidth + 1)
                        found.push(`${each.tagName} ${each.className} ${each.textContent.slice(0, 30)}`)
                    if (each.shadowRoot) look(each.shadowRoot)
                }
            }
            look(document)
            return found.slice(-5)
        }"""
    )
    return found


@pytest.mark.parametrize("name", ["today", "stores", "store", "system"])
async def test_a_wall_screen_has_nothing_to_press(browser: Browser, site: Site, name: str) -> None:
    """With `?kiosk` a live page shows no navigation, button or field, and is not cut off at its side."""
    page = await browser.new_page(viewport={"width": 1920, "height": 1080})
    await shown(page, site, name)
    await page.goto(site.pages[name] + ("&" if "?" in site.pages[name] else "?") + "kiosk")
    await expect(page.locator("main .number").first).to_be_visible(timeout=10_000)
    await expect(page.locator("nav:visible, form:visible, input:visible, main > * > a:visible")).to_have_count(0)
    assert await page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
