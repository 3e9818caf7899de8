"""Chromium, a broker with somebody who publishes known totals, and the dashboard between them."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

import broker as brokers
import store as stores
from bench.sessions import is_beat
from broker import Broker, Message, receipts_topology
from dashboard import DashboardConfig, Feed, serve_dashboard, sources_of
from store import Store
from streams import ReceiptStream
from tests.browser.whole import Site, whole_site
from tests.servers.fixtures import missing_server

#: Chromium as the design asks for it: nothing that talks to anybody by itself.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Of Debian's package `chromium-headless-shell`.
DEBIANS_SHELL = Path("/usr/lib/chromium/chromium-headless-shell")

# Playwright waits for 5 s, which a page takes to open where other tests keep the processor busy. What has to happen
# within a time says so itself.
expect.set_options(timeout=20_000)

#: 12:40:00 on 21 November 2026 in Paris.
NOON = 1795261200.0
ZONE = ZoneInfo("Europe/Paris")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Chromium for all tests of the session, as the address of its websocket.

    The test is skipped without one (and fails where CI=true allows no skip).
    """
    path = find_chromium()
    if path is None:
        missing_server("no Chromium on PATH (Debian: apt install chromium)")
    folder = tmp_path_factory.mktemp("chromium")
    with (folder / "log").open("wb") as log:
        command = [path, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _websocket_of(process, folder / "profile" / "DevToolsActivePort")
    finally:
        process.kill()  # its profile goes with it: nothing to save, and its own processes end when it does
        process.wait(timeout=30)


def find_chromium() -> str | None:
    """Path of a Chromium: the one without windows, if it is there, as it needs half as much of the processor."""
    # Behind the command is a shell script that does not become the browser, so that killing it would leave the browser.
    if DEBIANS_SHELL.exists():
        return str(DEBIANS_SHELL)
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _websocket_of(process: "subprocess.Popen[bytes]", told: Path) -> str:
    """Wait until Chromium has said where it listens, in a file of its profile: the port, and a path."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, way = told.read_text().split()
            return f"ws://127.0.0.1:{port}{way}"
        time.sleep(0.02)
    raise RuntimeError(f"Chromium did not start: exit code {process.poll()}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def driver(chromium: str) -> AsyncIterator[Browser]:
    """Playwright's side of Chromium: a process of its own, that takes as long to start as a page to open."""
    async with async_playwright() as playwright:
        connected = await playwright.chromium.connect_over_cdp(chromium)
        yield connected
        await connected.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(driver: Browser) -> AsyncIterator[Browser]:
    """The browser, in which each `new_page` is of a visitor of its own; what a test opened is closed at its end."""
    known = list(driver.contexts)
    yield driver
    for context in driver.contexts:
        if context not in known:
            await context.close()


@dataclass
class Visit:
    """An open page, and what must not have happened on it.

    Attributes:
        hosts: each host that was asked for something.
        complaints: errors and warnings on the console, and exceptions.
        pushed: size of each websocket message from the server that changes the page.
    """

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    pushed: list[int] = field(default_factory=list)


async def visit(browser: Browser, url: str, *, width: int = 1280, height: int = 900) -> Visit:
    """Open the dashboard and wait until it shows something."""
    seen = watched(await browser.new_page(viewport={"width": width, "height": height}))
    await seen.page.goto(url)
    await seen.page.locator(".revenue .number").wait_for()
    return seen


async def laid_out(page: Page) -> None:
    """Wait until a page is drawn for its new width: two frames, and Bokeh has nothing left to do."""
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await page.wait_for_function("() => window.Bokeh?.documents?.[0]?.is_idle ?? true", timeout=10_000)


def watched(page: Page) -> Visit:
    """Note from now on what a page asks for and complains of."""
    seen = Visit(page)

    def asked(address: str) -> None:
        scheme, _, rest = address.partition("://")
        if scheme not in {"data", "blob"} and not address.startswith(("data:", "blob:")):
            seen.hosts.add(rest.split("/")[0])

    page.on("request", lambda request: asked(request.url))
    page.on("console", lambda line: seen.complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))

    def received(payload: str | bytes) -> None:
        if isinstance(payload, str) and payload.startswith('{"events":') and not is_beat(payload):
            seen.pushed.append(len(payload))

    def opened(socket: Any) -> None:
        asked(socket.url)
        socket.on("framereceived", received)

    page.on("websocket", opened)
    return seen


@pytest.fixture(scope="session")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The whole system with days behind it and receipts coming in, shared by tests that only look."""
    assert chromium
    with whole_site(tmp_path_factory.mktemp("site"), receipts=600, rate=3) as running:
        yield running


class Publisher:
    """Plays the totals: says every 0.2 s what it was last told to say (the engine does every second)."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._said: dict[tuple[str, str], dict[str, Any]] = {}
        self._revision = 0
        self.speaking = True

    def tell(self, *, total: float, count: int, day: str = "2026-11-21", as_of: float = NOON, **more: Any) -> None:
        """New totals. `more`: categories, per_minute, milliseconds, minutes; metrics: further parts by their names."""
        self._revision += 1
        stamp = {"day": day, "revision": self._revision, "asOf": as_of}
        rows = {minute: {"count": number, "sum": 1.0} for minute, number in more.get("minutes", {}).items()}
        rate = {
            "averagePerMinute": more.get("per_minute", 0),
            "averageMsSystem": more.get("milliseconds"),
            "averageMsCreation": None,
        }
        self._said = {
            ("count", "receipts"): {"sum": total, "count": count, **stamp},
            ("categories", "receipts"): {"categories": more.get("categories", {}), **stamp},
            ("metrics", "receipts.rate"): {**rate, **stamp},
            ("metrics", "receipts.minutes"): {"received": rows, "own": {}, "complete": True, **stamp},
            **{("metrics", f"receipts.{name}"): {**said, **stamp} for name, said in more.get("metrics", {}).items()},
        }

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            if self.speaking:
                for (exchange, key), body in self._said.items():
                    await self._broker.announce(
                        Message(exchange=exchange, routing_key=key, body=json.dumps(body).encode())
                    )
            await asyncio.sleep(0.2)


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(tmp_path: Path) -> AsyncIterator[Publisher]:
    """Somebody who publishes on an embedded broker of its own."""
    broker = await brokers.connect(f"sqlite:{tmp_path}/broker.db", receipts_topology())
    publisher = Publisher(broker)
    publishing = asyncio.create_task(publisher.run())
    yield publisher
    publishing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await publishing
    await broker.close()


@dataclass
class Dashboard:
    """A running dashboard."""

    url: str
    feed: Feed
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    store: Store


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(publisher: Publisher) -> AsyncIterator[Dashboard]:
    """The dashboard of the publisher's broker, on a free port."""
    async with serving(publisher._broker) as running:
        yield running


@contextlib.asynccontextmanager
async def serving(broker: Broker, **config: Any) -> AsyncIterator[Dashboard]:
    """A dashboard on a port that is free, or as told."""
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = DashboardConfig(**{"port": 0, "timezone": ZONE, **config})
    stream = ReceiptStream(settings.timezone)
    folder = tempfile.TemporaryDirectory()
    store = await stores.connect(f"sqlite:{folder.name}/store.db")
    await store.prepare(stream.name, stream.key_names)
    sources = sources_of(store, stream)
    feed = sources.feed
    following, reading = asyncio.create_task(feed.follow(broker)), asyncio.create_task(sources.history.keep())
    pages = asyncio.create_task(serve_dashboard(settings, sources, stop, on_ready=ready.set_result))
    try:
        async with asyncio.timeout(30):
            either: set[asyncio.Future[Any]] = {ready, pages}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await pages  # says why it ended
        yield Dashboard(ready.result(), feed, stop, pages, store)
    finally:
        stop.set()
        await asyncio.wait({pages}, timeout=15)
        for task in (following, reading):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await store.close()
        folder.cleanup()
    await pages
