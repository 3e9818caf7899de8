"""What stands on a page, read from it as text: each page as one dictionary, to be compared whole."""

from math import isnan
from typing import Any

from playwright.async_api import Locator, Page

#: Every cell of a list of receipts, names of categories apart from one another.
_ROWS = """() => Array.from(document.querySelectorAll("section.found tbody tr"), row => Array.from(row.cells, cell =>
    cell.matches(".kinds") ? Array.from(cell.querySelectorAll(".kind"), each => each.innerText.trim())
        : cell.innerText.trim()))"""
_SOURCE = """(name) => {
    for (const root of Bokeh.documents[0].roots())
        for (const model of root.references())
            if (model.type === "ColumnDataSource" && model.name === name)
                return Object.fromEntries(Object.entries(model.data).map(([key, column]) => [key, Array.from(column)]))
    return {}
}"""
_WIDTHS = "all => all.map(each => parseFloat(each.style.width || each.style.height))"


async def texts(place: Page | Locator, selector: str) -> list[str]:
    """What can be read in all that a selector finds; any white space is one space."""
    return [" ".join(text.split()) for text in await place.locator(selector).all_inner_texts()]


async def rows(place: Page | Locator, selector: str, cells: str = "td, th") -> list[list[str]]:
    """The cells of each row that a selector finds."""
    return [await texts(row, cells) for row in await place.locator(selector).all()]


async def widths(place: Page | Locator, selector: str) -> list[float]:
    """How long the bars are, percent."""
    found: list[float] = await place.locator(selector).evaluate_all(_WIDTHS)
    return found


async def today(page: Page) -> dict[str, Any]:
    """The page of today, but for what came in lately."""
    found: dict[str, Any] = {"stamp": await texts(page, ".stamp span"), "notice": await texts(page, "#notice .notice")}
    for card in ("revenue", "receipts", "basket"):
        found[card] = await texts(page, f"section.{card} .number")
        found[f"{card} compared"] = await texts(page, f"section.{card} .changes li")
    for card in ("categories", "payments"):
        found[card] = await _bars(page, f"section.{card} .bars")
    for card in ("best", "worst"):
        found[card] = [
            await texts(page, f"section.{card} .stores {part}") for part in (".place", ".name", ".amount", ".share")
        ]
    found["curve note"] = await texts(page, "#curve-note .small")
    points, now, last = [await page.evaluate(_SOURCE, name) for name in ("curve", "now", "last")]
    found["curve"] = {
        time: [None if isnan(value) else round(value, 2) for value in pair]
        for time, *pair in zip(*(points.get(name, []) for name in ("time", "today", "before")), strict=True)
    }
    found["now"] = [[round(value, 2) for value in now.get(name, [])[-1:]] for name in ("at", "today")]
    found["last"] = [[round(value, 2) for value in last.get(name, [])] for name in ("at", "before")]
    bars = await page.evaluate(_SOURCE, "minutes")
    found["minutes"] = dict(zip(bars.get("time", []), bars.get("count", []), strict=True))
    return found


async def stores(page: Page) -> dict[str, Any]:
    """The page of all stores."""
    return {
        "stamp": await texts(page, ".stamp span"),
        "facts": await texts(page, ".day dd"),
        "stores": [await texts(page, f"#stores tbody tr > :nth-child({place})") for place in range(1, 6)],
        "links": await links(page, "#stores tbody a"),
    }


async def store(page: Page) -> dict[str, Any]:
    """A store's own page."""
    return {
        "stamp": await texts(page, ".stamp span"),
        "h1": await texts(page, "h1"),
        "figures": await texts(page, "main > section .number"),
        "small": await texts(page, "main > section .small"),
        "hours": await texts(page, "section.hours li .hidden"),
        "heights": await widths(page, "section.hours .column"),
        "categories": await _bars(page, "section.categories .lines"),
        "payments": await _bars(page, "section.payments .lines"),
        "newest": await rows(page, "section.newest tbody tr"),
        "links": await links(page, "section.newest tbody a"),
    }


async def system(page: Page) -> dict[str, Any]:
    """The page of the system, but for how long things take and what came in lately."""
    found: dict[str, Any] = {
        "stamp": await texts(page, ".stamp span"),
        "verdict": await texts(page, ".verdict strong"),
        "minutes": [text.strip() for text in await page.locator("svg rect title").all_text_contents()],
        "so far": await texts(card(page, "incoming"), ".small:not(.why):not(figcaption):not(.axis)"),
        "workers": await rows(page, "section:has(#h-workers) li", ".share"),
        "rejected": [text.split()[0] for text in await texts(card(page, "rejected"), ".value")],
        "reasons": await texts(card(page, "rejected"), ".chips a"),
        "newest": await rows(page, "section:has(#h-rejected) tbody tr"),
    }
    for name in ("live", "queues", "workers"):
        found[f"{name} figures"] = await texts(card(page, name), ".value")
        found[f"{name} states"] = await texts(card(page, name), ".state")
    found["facts"] = await texts(card(page, "live"), ".facts dd")
    return found


async def listed(page: Page) -> list[list[Any]]:
    """The rows of a list of receipts."""
    found: list[list[Any]] = await page.evaluate(_ROWS)
    return found


async def slip(page: Page) -> dict[str, Any]:
    """A receipt as it is printed, and what is beside it."""
    paper = page.locator(".slip")
    return {
        "title": await texts(page, "h1"),
        "top": await texts(paper, ".top > p"),
        "who": await texts(paper, ".who dd"),
        "lines": [await texts(paper, f".lines {part}") for part in (".what", ".amount", ".detail")],
        "sums": await texts(paper, ".sums dd"),
        "payments": [await texts(paper, f".payments {part}") for part in ("dt", "dd")],
        "taxes": await rows(paper, ".taxes tbody tr"),
        "remark": await texts(paper, ".remark"),
        "behind": await texts(page, ".behind dd"),
    }


def card(page: Page, name: str) -> Locator:
    """A section of a live page by the name of its heading."""
    return page.locator(f"section:has(#h-{name})")


async def links(page: Page, selector: str) -> list[str]:
    """Where links lead."""
    found: list[str] = await page.locator(selector).evaluate_all("all => all.map(each => each.getAttribute('href'))")
    return found


async def _bars(page: Page, selector: str) -> list[Any]:
    """Names, amounts, shares and lengths of ordered bars."""
    parts = [await texts(page, f"{selector} {part}") for part in (".name", ".amount", ".share")]
    return [*parts, await widths(page, f"{selector} .fill")]
