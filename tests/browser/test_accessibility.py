"""Nobody is barred from a page: axe-core finds nothing serious, in light and dark, on a laptop and a phone."""

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.axe import SERIOUS, script, violations
from tests.browser.whole import PAGES, Site, shown

pytestmark = pytest.mark.browser

LAPTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.mark.parametrize("name", PAGES)
async def test_nothing_serious_is_found(browser: Browser, site: Site, name: str) -> None:
    """No violation of impact serious or critical, as the page is with a day's receipts."""
    script()
    # What is still fading in has no contrast yet.
    page = await browser.new_page(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce")
    await shown(page, site, name)
    found = {"light, 1280": await violations(page)}
    await page.set_viewport_size(PHONE)
    found["light, 390"] = await violations(page)
    await in_the_dark(page)
    found["dark, 390"] = await violations(page)
    await page.set_viewport_size(LAPTOP)
    found["dark, 1280"] = await violations(page)
    told = "\n".join(f"  {how}: {each}" for how, all_ in found.items() for each in all_)
    assert not [each for all_ in found.values() for each in all_ if each.impact in SERIOUS], f"{name}:\n{told}"


async def in_the_dark(page: Page) -> None:
    """Change the theme as a person does: by the button."""
    await page.locator("#theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
