"""A whole system with days behind it, as a user runs it, and the address of every page of its dashboard."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

from playwright.async_api import Page, expect

import store as stores
from bench.servers import process
from dashboard.passwords import line
from store.protocol import EventQuery, RejectedQuery, StoredEvent
from tests.browser.filled import Filling, fill, pace
from tests.support import free_port

#: Names of places all around the world; in one of them it is afternoon.
ZONES = (
    "Europe/Paris", "Atlantic/Azores", "America/Sao_Paulo", "America/Montreal", "America/Mexico_City",
    "America/Los_Angeles", "Pacific/Honolulu", "Pacific/Auckland", "Asia/Tokyo", "Asia/Bangkok", "Asia/Karachi",
)  # fmt: skip
#: Every page of the dashboard, and the states of it that look otherwise, by the names that `Site.pages` has.
PAGES = (
    "today", "receipts", "receipts-found", "receipts-none", "receipts-wrong", "receipt", "receipt-missing", "stores",
    "store", "store-unknown", "system", "rejected", "rejected-none", "rejected-item", "rejected-broken", "no-page",
    "login",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running dashboard.

    Attributes:
        url: where it is, without a slash at its end.
        pages: name → address, login included.
        day: the current business day.
    """

    url: str
    pages: dict[str, str]
    day: str


def afternoon(now: float) -> ZoneInfo:
    """A place where most of the business day is over and not all of it: Paris, if it is so there."""
    for name in ZONES:
        if 14 <= datetime.fromtimestamp(now, ZoneInfo(name)).hour < 20:
            return ZoneInfo(name)
    return ZoneInfo("UTC")


@contextmanager
def whole_site(folder: Path, *, receipts: int, rate: float | None = None, stores_sold: int = 40) -> Iterator[Site]:
    """Fill a store, start everything on it with receipts coming in, and a dashboard that asks for a login.

    Arguments:
        folder: empty; the data are kept in it.
        receipts: of a whole day, see `Filling`.
        rate: receipts a second that come in while it runs; by default as many as the day had.

    Blocks until the pages can be opened, some seconds; not to be used on an event loop.
    """
    now = time.time()
    zone = afternoon(now)
    filling = Filling(zone=zone, now=now, receipts=receipts, stores=stores_sold)
    store = f"sqlite:{folder}/store.db"
    paths = asyncio.run(_filled(store, filling))
    users = folder / "users"
    users.write_text(line("head.office", "only for this test") + "\n")
    http, pages, guarded = (str(free_port()) for _ in range(3))
    environ = {
        "TILLSTREAM_DATA": str(folder),
        "TILLSTREAM_TIMEZONE": str(zone),
        "TILLSTREAM_LOG_LEVEL": "info",
        "TILLSTREAM_DASHBOARD_PROBES_PORT": "0",
    }
    up = ("up", "--port", http, "--dashboard-port", pages)
    alone = ("dashboard", "--dashboard-port", guarded, "--dashboard-users-file", str(users))
    coming = (
        "generate",
        "--rate",
        f"{rate or pace(filling):g}",
        "--stores",
        str(stores_sold),
        "--to",
        f"http://127.0.0.1:{http}",
    )
    with ExitStack() as running:
        running.enter_context(process("cli.main", *up, environ=environ, ready="the day, live"))
        running.enter_context(process("cli.main", *coming, environ=environ, ready=""))
        running.enter_context(process("cli.main", *alone, environ=environ, ready="the day, live"))
        url = f"http://127.0.0.1:{pages}"
        addresses = {name: url + path for name, path in paths.items()}
        addresses["login"] = f"http://127.0.0.1:{guarded}/"
        yield Site(url=url, pages=addresses, day=datetime.fromtimestamp(now, zone).date().isoformat())


async def shown(page: Page, site: Site, name: str, query: str = "") -> None:
    """Open a page of the site, and wait until it is drawn and, if it is live, up to date."""
    address = site.pages[name]
    await page.goto(f"{address}{'&' if '?' in address else '?'}{query}" if query else address)
    if await page.locator("#notice").count():
        await expect(page.locator("header")).to_contain_text("updated", timeout=20_000)
    await page.wait_for_function("() => window.Bokeh?.documents?.[0]?.is_idle ?? true", timeout=20_000)


async def _filled(url: str, filling: Filling) -> dict[str, str]:
    """Fill the store; the path of every page, for things that are in it."""
    await fill(url, filling)
    store = await stores.connect(url)
    try:
        events = await store.events("receipts", EventQuery(limit=300))
        rejected = await store.rejected("receipts", RejectedQuery(reason="conflict", limit=1))
        broken = await store.rejected("receipts", RejectedQuery(reason="invalid", limit=1))
    finally:
        await store.close()
    told = max(events, key=_length)
    shop = told.keys["store"]
    return {
        "today": "/",
        "receipts": "/receipts",
        "receipts-found": f"/receipts?store={shop}&category=Menu",
        "receipts-none": "/receipts?store=nowhere",
        "receipts-wrong": "/receipts?from=much",
        "receipt": f"/receipt?id={quote(told.id)}",
        "receipt-missing": "/receipt?id=1:2:3",
        "stores": "/stores",
        "store": f"/store?id={shop}",
        "store-unknown": "/store?id=nowhere",
        "system": "/system",
        "rejected": "/rejected",
        "rejected-none": "/rejected?reason=undecodable",
        "rejected-item": f"/rejected-item?id={rejected[0].id}",
        "rejected-broken": f"/rejected-item?id={broken[0].id}",
        "no-page": "/nothing-here",
    }


def _length(event: StoredEvent) -> tuple[int, int]:
    """A receipt with many payments and lines is more to look at."""
    return event.body.count(b"paymentMechanism"), event.body.count(b"lineNumber")
