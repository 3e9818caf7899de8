"""`tillstream dashboard`: the dashboard in a process of its own, beside whatever publishes the totals."""

from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry

from cli.listening import listening
from cli.options import takes_settings
from cli.settings import Settings
from dashboard import DashboardConfig, Feed, serve_dashboard
from runtime import Tasks, run, stop_event

log = structlog.get_logger()


@takes_settings("data", "broker", "dashboard_host", "dashboard_port", "open", "timezone", "currency")
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

    It needs the broker alone. On the embedded broker it attaches to the `tillstream up` that uses the same data folder.
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
    feed = Feed(registry=CollectorRegistry())
    with stop_event() as stop:
        async with listening(settings, "dashboard") as broker, Tasks() as tasks:
            tasks.start("dashboard feed", feed.follow(broker))
            pages = tasks.start(
                "dashboard",
                serve_dashboard(config, feed, stop, on_ready=lambda url: log.info("the day, live", url=url)),
            )
            await tasks.until(stop)
            await pages
