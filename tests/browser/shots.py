"""Pictures of every page, for people to look at: light, dark, phone, wall: `scripts/screenshots [FOLDER]`."""

import asyncio
import io
import itertools
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.async_api import Browser, async_playwright

from runtime import configure_logging
from tests.browser.conftest import FLAGS, find_chromium
from tests.browser.whole import PAGES, Site, shown, whole_site

#: Pages taken side by side; more only wait for the processor.
AT_ONCE = 3
#: What a figure that moves in takes, at most, and the first receipts that come in.
SETTLE_SECONDS = 1.0
#: The pages use few colours, so a picture with 256 looks the same and is a third as large: the commonest as they are,
#: the others (the edges of letters, small marks) by what is nearest to them.
EXACT, NEAR = 128, 128


@dataclass(frozen=True, slots=True)
class Screen:
    """Somebody's screen.

    Attributes:
        name: part of the picture's name.
        width, height: CSS pixels; the picture is as long as the page, but on the wall, where nobody scrolls.
        query: added to the address.
        pages: all of them by default.
    """

    name: str
    scheme: Literal["light", "dark"]
    width: int
    height: int
    query: str = ""
    pages: tuple[str, ...] = PAGES

    @property
    def wall(self) -> bool:
        """Whether it hangs on a wall."""
        return "kiosk" in self.query


LIVE = ("today", "stores", "store", "system")
#: States of pages that look otherwise in light or on a phone look so in the dark, too.
MAIN = (*LIVE, "receipts", "receipt", "rejected", "rejected-item", "login")
#: In the order in which they are taken: the last have a whole minute of receipts that came in meanwhile.
SCREENS = (
    Screen("dark", "dark", 1280, 800, pages=MAIN),
    Screen("phone", "light", 390, 844),
    Screen("phone-dark", "dark", 390, 844, pages=("today", "receipt", "store")),
    Screen("wall", "light", 1920, 1080, "kiosk", LIVE),
    Screen("wall-dark", "dark", 1920, 1080, "kiosk", LIVE),
    Screen("light", "light", 1280, 800),
)


async def take(site: Site, folder: Path) -> list[Path]:
    """Take all pictures of a running site; their files."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("error: no Chromium (Debian: apt install chromium-headless-shell)")
    free = asyncio.Semaphore(AT_ONCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        wanted = [(screen, name) for screen in SCREENS for name in screen.pages]
        taken = await asyncio.gather(*(_take(browser, site, screen, name, folder, free) for screen, name in wanted))
        await browser.close()
    return list(taken)


async def _take(browser: Browser, site: Site, screen: Screen, name: str, folder: Path, free: asyncio.Semaphore) -> Path:
    """One picture, `<page>-<screen>.png`."""
    async with free:
        page = await browser.new_page(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme=screen.scheme,
            reduced_motion="reduce",
        )
        try:
            await shown(page, site, name, screen.query)
            await asyncio.sleep(SETTLE_SECONDS)
            picture = await page.screenshot(full_page=not screen.wall)
        finally:
            await page.close()
    target = folder / f"{name}-{screen.name}.png"
    target.write_bytes(await asyncio.to_thread(_smaller, picture))
    return target


def _smaller(picture: bytes) -> bytes:
    """The same picture in fewer bytes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    colours: Counter[tuple[int, ...]] = Counter(image.get_flattened_data())  # type: ignore[arg-type]  # RGB: triples
    common = [colour for colour, _ in colours.most_common(EXACT)]
    rare = list(colours - Counter(dict.fromkeys(common, image.width * image.height)))
    palette = Image.new("P", (1, 1))
    entries = [*itertools.chain.from_iterable(common)]
    if rare:
        rest = Image.new("RGB", (len(rare), 1))
        rest.putdata(rare)
        entries += rest.quantize(NEAR, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette.putpalette(entries)
    image = image.quantize(palette=palette, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    """Start a system with days behind it, take its pictures, say where they are."""
    configure_logging("error")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tillstream-screenshots-") as data:
        with whole_site(Path(data), receipts=12_000) as site:
            taken = asyncio.run(take(site, folder))
    size = sum(each.stat().st_size for each in taken)
    print(f"{len(taken)} pictures, {size >> 10} KiB, in {folder}, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
