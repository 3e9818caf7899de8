"""`tillstream dashboard`: the dashboard in a process of its own, beside whatever publishes the totals."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry

import store as stores
from cli.identity import identity_of
from cli.listening import listening
from cli.maintenance import is_embedded, way_out_named
from cli.options import DASHBOARD, takes_settings
from cli.pages import dashboard_config
from cli.roles import START_PATIENCE_S, stream_of
from cli.settings import Loaded, Settings
from dashboard import DashboardConfig, Sources, serve_dashboard, sources_of
from dashboard.config import check
from runtime import Probes, Tasks, run, stop_event
from store.protocol import Store
from streams import TillstreamError

log = structlog.get_logger()

#: The totals publish every second. A dashboard that has heard nothing for so long shows nothing that is live.
HEARD_WITHIN_SECONDS = 10.0
_PROBES_PORT = "TILLSTREAM_DASHBOARD_PROBES_PORT"


@takes_settings("data", "broker", "store", "probes_host", "dashboard_probes_port", *DASHBOARD)
def dashboard(
    settings: Settings,
    loaded: Loaded,
    receipt_url: Annotated[
        str, typer.Option(help="Where receipts are POSTed to: shown as long as there are none.", metavar="URL")
    ] = "",
) -> None:
    """Serve the day's revenue, receipts and categories to browsers, live from what the totals publish.

    It needs the broker, and the store for days past and single receipts. On the embedded broker it attaches to the
    `tillstream up` that uses the same data folder.
    """
    config = dashboard_config(loaded, receipt_url or f"http://{settings.host}:{settings.port}/receipt")
    check(config)
    run(_dashboard(settings, config))


async def _dashboard(settings: Settings, config: DashboardConfig) -> None:
    stream, registry = stream_of(settings), CollectorRegistry()
    with stop_event() as stop:
        async with _opened(settings) as store:
            sources = sources_of(store, stream, registry)
            probes = Probes(
                checks={"broker": _heard(sources), "store": store.ping},
                optional=frozenset({"store"}),
                abilities={"showsToday": frozenset({"broker"}), "answersQueries": frozenset({"store"})},
                registry=registry,
                host_names=settings.host_names,
            )
            # First of all, so that a port that is taken is said at once, and waiting for the broker can be watched.
            async with (
                probes.serve(settings.probes_host, settings.dashboard_probes_port, _PROBES_PORT) as bound,
                listening(settings, "dashboard", wait=START_PATIENCE_S) as broker,
                Tasks() as tasks,
            ):
                log.info("started", role="dashboard", probes_port=bound)
                tasks.start("identify the store", identity_of(store, stream))
                tasks.start("dashboard feed", sources.feed.follow(broker))
                tasks.start("dashboard history", sources.history.keep())
                pages = tasks.start(
                    "dashboard",
                    serve_dashboard(config, sources, stop, on_ready=lambda url: log.info("the day, live", url=url)),
                )
                await tasks.until(stop)
                await pages


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    """The store, closed at the end. One that does not answer keeps no page from being live: it is asked later."""
    # Beside the embedded broker, the `tillstream up` that has it has made the file of the store, too.
    made = is_embedded(settings) and settings.store.startswith("sqlite:")
    with way_out_named():
        store = await stores.connect(settings.store, [stream_of(settings)], create=not made)
    try:
        yield store
    finally:
        await store.close()


def _heard(sources: Sources) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        silence = sources.feed.silence
        if silence > HEARD_WITHIN_SECONDS:
            raise TillstreamError(f"nothing heard from the totals for {silence:.0f} s")

    return check
