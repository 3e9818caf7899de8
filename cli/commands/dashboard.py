"""`tillstream dashboard`: the dashboard in a process of its own, beside whatever publishes the totals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry

import store as stores
from cli.listening import listening
from cli.options import takes_settings
from cli.roles import stream_of
from cli.settings import Settings
from dashboard import DashboardConfig, serve_dashboard, sources_of
from runtime import Tasks, run, stop_event
from store.protocol import Store

log = structlog.get_logger()


@takes_settings("data", "broker", "store", "dashboard_host", "dashboard_port", "open", "timezone", "currency")
def dashboard(
    settings: Settings,
    receipt_url: Annotated[
        str, typer.Option(help="Where receipts are POSTed to: shown as long as there are none.", metavar="URL")
    ] = "",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="A host:port that browsers may come from, besides our own; repeatable.", metavar="HOST:PORT"),
    ] = None,
) -> None:
    """Serve the day's revenue, receipts and categories to browsers, live from what the totals publish.

    It needs the broker, and the store for days past and single receipts. On the embedded broker it attaches to the
    `tillstream up` that uses the same data folder.
    """
    config = DashboardConfig(
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        open=settings.open,
        origins=tuple(origin or ()),
        timezone=settings.timezone,
        currency=settings.currency,
        receipt_url=receipt_url or f"http://{settings.host}:{settings.port}/receipt",
    )
    run(_dashboard(settings, config))


async def _dashboard(settings: Settings, config: DashboardConfig) -> None:
    stream = stream_of(settings)
    with stop_event() as stop:
        store = await stores.connect(settings.store)
        async with _closing(store), listening(settings, "dashboard") as broker, Tasks() as tasks:
            sources = sources_of(store, stream, CollectorRegistry())
            tasks.start("dashboard feed", sources.feed.follow(broker))
            tasks.start("dashboard history", sources.history.keep())
            pages = tasks.start(
                "dashboard",
                serve_dashboard(
                    config,
                    sources,
                    stop,
                    on_ready=lambda url: log.info("the day, live", url=url),
                ),
            )
            await tasks.until(stop)
            await pages


@asynccontextmanager
async def _closing(store: Store) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await store.close()
