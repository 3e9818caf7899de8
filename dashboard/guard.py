"""What holds for every request, whoever answers it: names, logins, headers, errors. Nothing is answered around it.

Each handler derives `Guarded`, those of Panel and Bokeh, too (`dashboard.site`), so that a page that is added is
protected without its author's thinking of it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import urlencode

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from dashboard.config import DashboardConfig
from dashboard.pages.frame import Pages
from runtime.hosts import HostNames, is_address
from store.errors import StoreError
from streams.errors import TillstreamError

log = structlog.get_logger("tillstream.dashboard")

#: A line in the log about the same thing no more often than this, and about so many things at all.
COMPLAIN_EVERY_SECONDS = 60.0
COMPLAINTS_MOST = 100

#: What pages may load and do. Nothing leaves for another host, and nobody may put us into a frame.
_POLICY = (
    "default-src 'none'; connect-src 'self'; font-src 'self' data:; form-action 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; script-src 'self' "
)
#: Scripts are within the pages, as Panel and Bokeh make them.
INLINE_SCRIPTS = "'unsafe-inline'"
#: On live pages Bokeh makes functions and modules of text: templates, and the formatters of charts.
MADE_SCRIPTS = "'unsafe-inline' 'unsafe-eval' blob:"

_TEXTS = {
    404: ("Nothing here", "There is no page at this address."),
    405: ("This did not work", "This address cannot be used in that way."),
    403: ("This did not work", "This is not allowed."),
}


class Logins(Protocol):
    """Who is logged in; see `dashboard.login.Gate`."""

    def user(self, handler: RequestHandler) -> str | None:
        """The name of who makes a request."""

    def renew(self, handler: RequestHandler) -> None:
        """Begin the time of a login anew, when it is time for that."""


@dataclass(slots=True)
class Seldom:
    """Says whether a thing is to be said (again).

    Arguments:
        clock: monotonic seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _said: dict[str, float] | None = None

    def due(self, what: str) -> bool:
        """True once a while for each thing; never for more things than are worth reading."""
        now = self.clock()
        self._said = {each: at for each, at in (self._said or {}).items() if now - at < COMPLAIN_EVERY_SECONDS}
        if what in self._said or len(self._said) >= COMPLAINTS_MOST:
            return False
        self._said[what] = now
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Where a request comes from, and how its browser reached us.

    Attributes:
        address: IP address.
        https: whether the browser speaks https, to us or to the proxy before us.
        host: `Host`, or what the proxy says that it was.
        vouched: the proxy says it.
    """

    address: str
    https: bool
    host: str
    vouched: bool = False

    @classmethod
    def of(cls, request: HTTPServerRequest, *, proxy: bool) -> "Visitor":
        """Look at a request; at the X-Forwarded-… of the proxy nearest to us, if there is one that is believed."""
        forwarded = {name: _last(request, f"X-Forwarded-{name}") if proxy else "" for name in ("For", "Proto", "Host")}
        address = forwarded["For"] if is_address(forwarded["For"]) else str(request.remote_ip)
        return cls(
            address=address,
            https=(forwarded["Proto"] or str(request.protocol)).lower() == "https",
            host=(forwarded["Host"] or request.host).lower(),
            vouched=bool(forwarded["Host"]),
        )


class Around(Protocol):
    """The application around a handler; see `dashboard.site.Site`."""

    config: DashboardConfig
    pages: Pages
    names: HostNames
    gate: Logins | None
    seldom: Seldom


class Guarded(RequestHandler):
    """A handler that answers only those who may ask.

    Attributes:
        public: answers who is not logged in, too.
        any_name: answers whatever name we were asked by: there is nothing in it that another site could want.
        scripts: what scripts its pages may have, see `INLINE_SCRIPTS`.
    """

    public = False
    any_name = False
    scripts = INLINE_SCRIPTS

    @property
    def site(self) -> Around:
        """What is known to all handlers."""
        return cast("Around", self.application)

    @cached_property
    def visitor(self) -> Visitor:
        """Who asks."""
        return Visitor.of(self.request, proxy=self.site.config.proxy)

    def set_default_headers(self) -> None:
        """What every answer says."""
        super().set_default_headers()
        self.set_header("Server", "tillstream")  # no versions
        self.set_header("Content-Security-Policy", _POLICY + self.scripts)
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")

    async def prepare(self) -> None:
        """Before any answer: is this name ours, and may this visitor ask?"""
        if not (self.any_name or self.visitor.vouched or self.site.names.knows(self.visitor.host)):
            self.refuse_name()
            return
        if not self.public and not self.current_user:
            if self.request.method in {"GET", "HEAD"} and "Upgrade" not in self.request.headers:
                self.redirect(self.get_login_url() + "?" + urlencode({"next": self.request.uri or ""}))
            else:
                self.send_error(403)
            return
        prepared: Awaitable[None] | None = super().prepare()
        if prepared is not None:
            await prepared

    def get_current_user(self) -> str | None:
        """The name of who is logged in; where nobody has to, everybody is."""
        return self.site.gate.user(self) if self.site.gate else "everybody"

    def get_login_url(self) -> str:
        """The page where one logs in."""
        return self.site.pages.frame.address("login")

    def set_cookie(self, name: str, value: str | bytes, *arguments: Any, **attributes: Any) -> None:
        """A cookie for our own pages: scripts, other sites and unencrypted lines do not get it."""
        attributes |= {
            "path": self.site.config.prefix or "/", "httponly": True, "samesite": "Lax", "secure": self.visitor.https,
        }  # fmt: skip
        super().set_cookie(name, value, *arguments, **attributes)

    def page(self, template: str, path: str, heading: str, **values: Any) -> None:
        """Answer with a page; see `Frame.plain`."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        if not self.current_user:  # nobody who could log out
            values["logout"] = ""
        self.finish(self.site.pages.frame.plain(template, path, heading, **values))

    def trouble(self, status: int, heading: str, text: str) -> None:
        """Answer with a page that says what is wrong."""
        self.set_status(status)
        self.page("error.html", "none", heading, text=text, alarm=status >= HTTPStatus.INTERNAL_SERVER_ERROR)

    def refuse_name(self) -> None:
        """Say that we do not know the name that we were asked by, and what would make us know it."""
        host = self.visitor.host[:100]
        if self.site.seldom.due(f"host {host}"):
            log.warning("asked by a name that is not ours", host=host, add_to="TILLSTREAM_DASHBOARD_ORIGINS")
        self.trouble(
            HTTPStatus.MISDIRECTED_REQUEST,
            "By another name",
            f"This dashboard does not know that it is called {host}. Whoever runs it can say so: add {host} to the "
            "setting TILLSTREAM_DASHBOARD_ORIGINS.",
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong: errors of ours by their text, bugs by where to look. What a store's driver says, and
        where the store is, is for the log."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        heading, text = _TEXTS.get(status_code, ("This did not work", ""))
        if isinstance(error, StoreError):
            log.warning("a page cannot read the store", error=str(error))
            status_code, text = 503, "The store does not answer. Nothing is lost; try again in a moment."
        elif isinstance(error, TillstreamError):
            status_code, text = 503, str(error)
        elif isinstance(error, HTTPError) and error.log_message:
            text = error.log_message % error.args if error.args else error.log_message
        elif not text and status_code < 500:
            text = "The address is not one that this page understands."
        elif not text:
            text = "This page cannot be made; the log of the dashboard says why."
        self.trouble(status_code, heading, text)


def _last(request: HTTPServerRequest, header: str) -> str:
    """What the nearest of several proxies says: each adds to the right."""
    return ",".join(request.headers.get_list(header)).rpartition(",")[2].strip()
