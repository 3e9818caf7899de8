"""The web application: Panel's and Bokeh's, with every answer guarded, and what we do not need of it closed.

Open are the live pages and their websockets, the files of Panel and Bokeh, and our own handlers. Closed are Bokeh's
`/metadata`, `/autoload.js` (pages of ours within pages of others), the list of applications and `/favicon.ico`; Panel's
`/liveness` and its handler of components' files are never opened.
"""

import hmac
import secrets
from http import HTTPStatus
from typing import Any, cast

import structlog
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.multi_root_static_handler import MultiRootStaticHandler
from bokeh.server.views.static_handler import StaticHandler
from panel.io.server import DocHandler, WSHandler
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from dashboard.config import DashboardConfig
from dashboard.guard import MADE_SCRIPTS, Guarded, Seldom
from dashboard.login import Gate, Login, Provider
from dashboard.pages.frame import Pages
from dashboard.pages.plain import Route
from runtime.hosts import HostNames

log = structlog.get_logger("tillstream.dashboard")

#: When all sessions are taken, somebody may have left by then: unused ones are forgotten within this.
FULL_RETRY_SECONDS = 30


class LiveHandler(Guarded, DocHandler):
    """A live page."""

    scripts = MADE_SCRIPTS

    async def prepare(self) -> None:
        """Refuse what is too many: each page is some memory, and anybody may ask for any number."""
        await super().prepare()
        if self._finished:
            return
        site = cast("Site", self.application)
        if site.sessions >= site.config.max_sessions:
            if site.seldom.due("sessions"):
                log.warning(
                    "as many live pages are open as may be, refusing more",
                    sessions=site.sessions,
                    setting="TILLSTREAM_DASHBOARD_SESSIONS",
                )
            self.set_header("Retry-After", str(FULL_RETRY_SECONDS))
            self.set_header("Refresh", str(FULL_RETRY_SECONDS))  # nobody is there to press a key of a wall screen
            self.trouble(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many pages",
                "As many pages are open as this dashboard shows at once. This page tries again every "
                f"{FULL_RETRY_SECONDS} seconds.",
            )
        elif site.gate is not None:
            site.gate.renew(self)


class SocketHandler(Guarded, WSHandler):
    """The websocket of a live page. Without a login it is answered 403."""

    async def prepare(self) -> None:
        """No more websockets than pages: one whose session is over would begin it anew."""
        site = cast("Site", self.application)
        await super().prepare()
        if not self._finished and len(site.open_sockets) >= site.config.max_sessions:
            self.send_error(503)

    def check_origin(self, origin: str) -> bool:
        """Whether the page that opens it is ours; Tornado asks."""
        site = cast("Site", self.application)
        if site.names.opens(origin, self.visitor.host):
            return True
        if site.seldom.due(f"origin {origin[:100]}"):
            log.warning(
                "a live page is refused, as the browser has it from somewhere else",
                origin=origin[:100],
                host=self.visitor.host[:100],
                add_to="TILLSTREAM_DASHBOARD_ORIGINS",
            )
        return False

    def open(self, *arguments: Any, **named: Any) -> Any:
        """Remember whose it is."""
        site = cast("Site", self.application)
        site.open_sockets[self] = site.gate.login(self) if site.gate else None
        return super().open(*arguments, **named)  # type: ignore[no-untyped-call]  # Panel's

    def on_close(self) -> None:
        """Forget it."""
        cast("Site", self.application).open_sockets.pop(self, None)
        super().on_close()


class FileHandler(Guarded, StaticHandler):
    """Bokeh's own files."""

    public = True


class ExtensionHandler(Guarded, MultiRootStaticHandler):
    """Panel's own files."""

    public = True


class AliveHandler(Guarded):
    """Says that the server answers: what a page that lost its connection asks for before it loads itself again."""

    public = any_name = True

    def get(self) -> None:
        """Answer `ok`."""
        self.set_header("Content-Type", "text/plain")
        self.set_header("Cache-Control", "no-store")
        self.write("ok\n")

    head = get


class MissingHandler(Guarded):
    """Answers what nobody else does."""

    public = True

    def initialize(self, **_: Any) -> None:
        """Tornado's constructor; it may stand for any other handler."""

    async def prepare(self) -> None:
        """There is nothing here, whatever the method."""
        await super().prepare()
        if not self._finished:
            self.send_error(404)


_ANSWERS: dict[type[RequestHandler], type[Guarded]] = {
    DocHandler: LiveHandler,
    WSHandler: SocketHandler,
    StaticHandler: FileHandler,
    MultiRootStaticHandler: ExtensionHandler,
}


class Site(BokehTornado):
    """All pages, and what is around them.

    Arguments:
        names: by which we may be reached.
        gate: who is logged in; None where nobody has to.
        routes: of the pages that are not live.
        more: what Bokeh wants to know.
    """

    def __init__(
        self,
        applications: Any,
        *,
        config: DashboardConfig,
        pages: Pages,
        names: HostNames,
        gate: Gate | None,
        routes: list[Route],
        **more: Any,
    ) -> None:
        self.config, self.pages, self.names, self.gate = config, pages, names, gate
        self.seldom = Seldom()
        self.open_sockets: dict[SocketHandler, Login | None] = {}
        secret = config.secret or secrets.token_urlsafe(32)
        if gate is not None:
            more["auth_provider"] = Provider(gate)
        super().__init__(
            applications,
            prefix=config.prefix,
            extra_patterns=[(r"/healthz", AliveHandler), *routes],
            cookie_secret=_key(secret, "login"),
            xsrf_cookies=True,
            # A page carries a token for its websocket, which scripts can read: signed, and without the login's cookie.
            secret_key=_key(secret, "session"),
            sign_sessions=True,
            include_headers=[],
            include_cookies=[],
            ico_path="none",
            **more,
        )

    @property
    def sessions(self) -> int:
        """Live pages that are open, or were a moment ago."""
        return sum(len(list(context.sessions)) for context in self.applications.values())

    def end_logins(self) -> None:
        """Close the live pages of those who are not logged in any more."""
        if self.gate is not None:
            for socket, login in list(self.open_sockets.items()):
                if login is None or not self.gate.holds(login):
                    socket.close(4001, "not logged in any more")

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """Who answers a request: a guarded handler, always. Tornado asks."""
        answers = target_class if issubclass(target_class, Guarded) else _ANSWERS.get(target_class, MissingHandler)
        return super().get_handler_delegate(request, answers, target_kwargs, path_args, path_kwargs)


def _key(secret: str, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")
