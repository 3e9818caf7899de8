"""What stands on a page, read from it as text: each page as one dictionary, to be compared whole."""

import time
from math import isnan
from typing import Any

from playwright.async_api import Locator, Page

#: Every cell of a list of receipts, names of categories apart from one another.
_ROWS = """() => Array.from(document.querySelectorAll("section.found tbody tr"), row => Array.from(row.cells, cell =>
    cell.matches(".kinds") ? Array.from(cell.querySelectorAll(".kind"), each => each.innerText.trim())
        : cell.innerText.trim()))"""
#: Reads what is wanted, each as (what, where, …). `>>` is where a way may go on within panes that are documents of
#: their own.
_LOOK = r"""(wanted) => {
    const within = (place) => {
        const found = place.shadowRoot ? within(place.shadowRoot) : []
        if (place.querySelectorAll === undefined) return found
        found.push(place)
        for (const each of place.querySelectorAll("*")) if (each.shadowRoot) found.push(...within(each.shadowRoot))
        return found
    }
    const all = (way) => way.split(" >> ").reduce((places, part) =>
        [...new Set(places.flatMap(within).flatMap(place => [...place.querySelectorAll(part)]))], [document])
    const text = (each) => each.innerText.split(/\s+/).filter(Boolean).join(" ")
    const source = (name) => {
        for (const root of Bokeh.documents[0]?.roots() ?? [])
            for (const model of root.references())
                if (model.type === "ColumnDataSource" && model.name === name)
                    return Object.fromEntries(Object.entries(model.data).map(([key, row]) => [key, Array.from(row)]))
        return {}
    }
    const read = {
        text: (way) => all(way).map(text),
        content: (way) => all(way).map(each => each.textContent.trim()),
        length: (way) => all(way).map(each => parseFloat(each.style.width || each.style.height)),
        href: (way) => all(way).map(each => each.getAttribute("href")),
        rows: (way, cells) => all(way).map(row => [...row.querySelectorAll(cells)].map(text)),
        source,
    }
    return Object.fromEntries(Object.entries(wanted).map(([name, [what, ...how]]) => [name, read[what](...how)]))
}"""
#: What to read and where: see `_LOOK`.
Want = tuple[str, ...]
STAMP: Want = ("text", ".stamp span")


async def texts(place: Page | Locator, selector: str) -> list[str]:
    """What can be read in all that a selector finds; any white space is one space."""
    return [" ".join(text.split()) for text in await place.locator(selector).all_inner_texts()]


async def rows(place: Page | Locator, selector: str, cells: str = "td, th") -> list[list[str]]:
    """The cells of each row that a selector finds."""
    return [await texts(row, cells) for row in await place.locator(selector).all()]


async def look(page: Page, **wanted: Want) -> dict[str, Any]:
    """All that is wanted of a live page, read at one moment; `at` is that moment, epoch seconds."""
    found: dict[str, Any] = await page.evaluate(
        _LOOK, {name.replace("_", " "): list(want) for name, want in wanted.items()}
    )
    return {**found, "at": time.time()}


async def today(page: Page) -> dict[str, Any]:
    """The page of today, but for what came in lately."""
    wanted: dict[str, Want] = {"stamp": STAMP, "notice": ("text", "#notice >> .notice")}
    for card in ("revenue", "receipts", "basket"):
        wanted[card] = ("text", f"section.{card} >> .number")
        wanted[f"{card}_compared"] = ("text", f"section.{card} >> .changes li")
    for card in ("categories", "payments"):
        wanted |= _bars(card, f"section.{card} >> .bars")
    for card in ("best", "worst"):
        for part in ("place", "name", "amount", "share"):
            wanted[f"{card}_{part}"] = ("text", f"section.{card} >> .stores .{part}")
    wanted["curve_note"] = ("text", "#curve-note >> .small")
    wanted |= {name: ("source", name) for name in ("curve", "now", "last", "minutes")}
    found = await look(page, **wanted)
    points, now, last, bars = (found[name] for name in ("curve", "now", "last", "minutes"))
    found["curve"] = {
        by: [None if isnan(value) else round(value, 2) for value in pair]
        for by, *pair in zip(*(points.get(name, []) for name in ("time", "today", "before")), strict=True)
    }
    found["now"] = [[round(value, 2) for value in now.get(name, [])[-1:]] for name in ("at", "today")]
    found["last"] = [[round(value, 2) for value in last.get(name, [])] for name in ("at", "before")]
    found["minutes"] = dict(zip(bars.get("time", []), bars.get("count", []), strict=True))
    return found


async def stores(page: Page) -> dict[str, Any]:
    """The page of all stores."""
    # Rows that are not on the screen have content, but no text that can be seen.
    columns: dict[str, Want] = {
        f"column_{place}": ("content", f"#stores tbody tr > :nth-child({place})") for place in range(1, 6)
    }
    return await look(page, stamp=STAMP, facts=("text", ".day >> dd"), links=("href", "#stores tbody a"), **columns)


async def store(page: Page) -> dict[str, Any]:
    """A store's own page."""
    return await look(
        page,
        stamp=STAMP,
        h1=("text", "h1"),
        figures=("text", "main > section >> .number"),
        small=("text", "main > section >> .small"),
        hours=("text", "section.hours li .hidden"),
        heights=("length", "section.hours .column"),
        newest=("rows", "section.newest tbody tr", "td"),
        links=("href", "section.newest tbody a"),
        **_bars("categories", "section.categories .lines"),
        **_bars("payments", "section.payments .lines"),
    )


async def system(page: Page) -> dict[str, Any]:
    """The page of the system, but for how long things take and what came in lately."""
    cards: dict[str, Want] = {}
    for name in ("live", "queues", "workers"):
        cards[f"{name}_figures"] = ("text", f"section:has(#h-{name}) >> .value")
        cards[f"{name}_states"] = ("text", f"section:has(#h-{name}) >> .state")
    return await look(
        page,
        stamp=STAMP,
        minutes=("content", "section:has(#h-incoming) >> svg rect title"),
        so_far=("text", "section:has(#h-incoming) >> .figure + .small"),
        facts=("text", "section:has(#h-live) >> .facts dd"),
        workers=("text", "section:has(#h-workers) >> li .share"),
        rejected=("text", "section:has(#h-rejected) >> .value"),
        reasons=("text", "section:has(#h-rejected) >> .chips a"),
        newest=("rows", "section:has(#h-rejected) >> tbody tr", "td"),
        **cards,
    )


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


def _bars(name: str, selector: str) -> dict[str, Want]:
    """Names, amounts, shares and lengths of ordered bars."""
    parts: dict[str, Want] = {f"{name}_{part}": ("text", f"{selector} .{part}") for part in ("name", "amount", "share")}
    return {**parts, f"{name}_length": ("length", f"{selector} .fill")}
