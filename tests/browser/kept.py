"""A dashboard over a store whose receipts a test knows: each was stored and counted by a real flush."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import broker as brokers
import store as stores
from broker import receipts_topology
from broker.frames import Frame
from dashboard import DashboardConfig, serve_dashboard, sources_of
from engine import Flusher, prepare
from store.errors import StoreUnavailableError
from store.protocol import EventQuery, Page, Store, StoredEvent
from streams import ReceiptStream
from tests.browser.conftest import ZONE
from tests.unit.streams.sample import receipt

#: When the receipts are received: 12:40:00 on 18 November 2026 in Paris; they are stored a quarter of a second later.
RECEIVED = 1795002000.0


class Moody:
    """A store that answers a number of lists and then fails, or never fails.

    Attributes:
        lists: lists that were asked for.
        good: how many more are answered; None for all.
        endless: a full page has another one behind it, which is the same.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lists = 0
        self.good: int | None = None
        self.endless = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def events(self, stream: str, query: EventQuery) -> Page[StoredEvent]:
        """A page, if the mood allows it."""
        self.lists += 1
        if self.good is not None:
            if self.good == 0:
                raise StoreUnavailableError("<b>no answer</b> from the store of the test")
            self.good -= 1
        if self.endless:
            page = await self._store.events(stream, EventQuery(limit=query.limit))
            page.more = len(page) == query.limit
            return page
        return await self._store.events(stream, query)

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        """One event, if the mood allows it."""
        if self.good == 0:
            raise StoreUnavailableError("<b>no answer</b> from the store of the test")
        return await self._store.event(stream, id)


@dataclass
class Kept:
    """A dashboard and what is behind it.

    Attributes:
        url: ends with a slash.
    """

    url: str
    mood: Moody
    stream: ReceiptStream
    flusher: Flusher

    async def keep(self, receipts: Sequence[dict[str, Any]], *, received: float = RECEIVED) -> list[str]:
        """Store and count receipts, as one frame; their identities in the same order."""
        lines = [self.stream.accept(json.dumps(each).encode(), received) for each in receipts]
        prepared = await prepare(Frame.of(self.stream.name, lines), self.stream, self._store, lambda: received)
        flushed = await self.flusher.flush([prepared])
        assert flushed.counted == len(receipts)
        return [event.id for event in prepared.events]

    @property
    def _store(self) -> Store:
        return cast("Store", self.mood)


@contextlib.asynccontextmanager
async def kept(folder: Path, **config: Any) -> AsyncIterator[Kept]:
    """An embedded store, a flush into it, and the dashboard over it."""
    broker = await brokers.connect(f"sqlite:{folder}/broker.db", receipts_topology())
    store = await stores.connect(f"sqlite:{folder}/store.db")
    stream = ReceiptStream(ZONE)
    await store.prepare(stream.name, stream.key_names)
    mood, stop = Moody(store), asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = DashboardConfig(**{"port": 0, "timezone": ZONE, **config})
    pages = asyncio.create_task(
        serve_dashboard(settings, sources_of(cast("Store", mood), stream), stop, on_ready=ready.set_result)
    )
    try:
        async with asyncio.timeout(30):
            either: set[asyncio.Future[Any]] = {ready, pages}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await pages  # says why it ended
        flusher = Flusher(store=store, broker=broker, stream=stream, clock=lambda: RECEIVED + 0.25)
        yield Kept(ready.result(), mood, stream, flusher)
    finally:
        stop.set()
        await asyncio.wait({pages}, timeout=15)
        await store.close()
        await broker.close()
    await pages


def sold(number: int | str, total: float, **changes: Any) -> dict[str, Any]:
    """The sample with another number and total; `changes` as fields, or `categories` for one line of each."""
    made = receipt()
    made["cashReceiptID"], made["documentTotal"]["grossTotal"] = number, total
    if categories := changes.pop("categories", None):
        made["lines"] = [
            {**made["lines"][0], "lineNumber": place, "productCategoryName": name}
            for place, name in enumerate(categories, start=1)
        ]
    return {**made, **changes}
