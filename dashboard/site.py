"""Panel's and Bokeh's server: applications, listener, origins, sessions. Runs on the dashboard's own event loop."""

import asyncio
import concurrent.futures
import logging
import socket
from collections.abc import Callable
from typing import Any

from bokeh.server.server import BaseServer
from panel.io.application import build_applications
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback

from dashboard.application import Site
from dashboard.config import DashboardConfig
from dashboard.login import Gate
from dashboard.moments import Moments
from dashboard.names import names_of
from dashboard.pages.frame import Frame, Pages
from dashboard.pages.live import LivePage, show
from dashboard.pages.receipts import receipts_routes
from dashboard.pages.store import store_page
from dashboard.pages.stores import stores_page
from dashboard.pages.system import system_page, system_routes
from dashboard.pages.today import today_page
from dashboard.passwords import Users
from dashboard.rejections import rejections
from dashboard.sources import Sources
from dashboard.store_day import StoreDays

#: A page that was asked for and whose websocket has not come, or is gone, for this long is forgotten.
UNUSED_SESSION_SECONDS = 20
#: How often that is looked for.
CHECK_SESSIONS_SECONDS = 5
#: How often it is looked whether those who have a live page open are still allowed to.
CHECK_LOGINS_SECONDS = 5
#: Nobody needs longer for a request, or between two of them; live pages are something else.
IDLE_CONNECTION_SECONDS = 120
#: Nothing that a page sends us is larger than a few hundred bytes.
MESSAGE_MAX_BYTES = 1 << 20


async def serve_site(
    config: DashboardConfig,
    sources: Sources,
    listener: socket.socket,
    stopped: "concurrent.futures.Future[None]",
    *,
    ready: Callable[[], None],
) -> None:
    """Serve the pages on a socket that listens already, until `stopped` is done.

    Arguments:
        ready: called when pages are answered.
    """
    # They tell every request and every session; what goes wrong still shows.
    for name, level in {"bokeh": logging.WARNING, "panel": logging.WARNING, "tornado.access": logging.ERROR}.items():
        logging.getLogger(name).setLevel(level)
    port = listener.getsockname()[1]
    pages = Pages(
        moments=Moments(config, sources.feed, sources.history),
        stored=sources.stored,
        store_days=StoreDays(sources.stored),
        rejections=rejections(sources.stored),
        frame=Frame(config.prefix, login=config.users_file is not None),
    )
    live: dict[str, Any] = {
        path: _session(make, pages)
        for path, make in {
            "/": today_page,
            "/stores": stores_page,
            "/store": store_page,
            "/system": system_page,
        }.items()
    }
    applications = build_applications(live, title="Tillstream", location=False)
    application = Site(
        applications,
        config=config,
        pages=pages,
        names=names_of(config, port),
        gate=Gate(Users(config.users_file), hours=config.login_hours) if config.users_file else None,
        routes=[*receipts_routes(pages), *system_routes(pages)],
        unused_session_lifetime_milliseconds=UNUSED_SESSION_SECONDS * 1000,
        check_unused_sessions_milliseconds=CHECK_SESSIONS_SECONDS * 1000,
        websocket_max_message_size_bytes=MESSAGE_MAX_BYTES,
    )
    http = HTTPServer(
        application,
        max_body_size=MESSAGE_MAX_BYTES,
        idle_connection_timeout=IDLE_CONNECTION_SECONDS,
        body_timeout=IDLE_CONNECTION_SECONDS,
    )
    server = BaseServer(IOLoop.current(), application, http)
    server.start()
    http.add_sockets([listener])
    looking = PeriodicCallback(application.end_logins, CHECK_LOGINS_SECONDS * 1000)
    looking.start()
    ready()
    try:
        await asyncio.wrap_future(stopped)
    finally:
        # Order: no new connections; then sessions end, which stops their callbacks; then open connections.
        looking.stop()
        server.stop()
        await asyncio.gather(pages.store_days.close(), pages.rejections.close())
        await http.close_all_connections()


def _session(make: Callable[[Pages], LivePage], pages: Pages) -> Callable[[], Any]:
    """What Panel calls for each visitor. It tells a function from a page by its type: a partial would not do."""
    return lambda: show(lambda: make(pages))
