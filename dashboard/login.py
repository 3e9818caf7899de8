"""Logging in and out, by the hooks that Panel and Bokeh have for it: a provider, two pages, a signed cookie.

The cookie holds a name, a mark of that user's password and a number of its own; so a login ends when its time is over,
when the user is taken out of the file or gets another password, and when somebody logs out. Whoever logs out, or is
taken out, loses the open pages, too.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from math import ceil
from typing import Any, cast

import structlog
from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

from dashboard.guard import Guarded
from dashboard.pages.frame import asset
from dashboard.passwords import Users, plain
from dashboard.throttle import Throttle, address_key, name_key

log = structlog.get_logger("tillstream.dashboard")

COOKIE = "tillstream_login"
#: Passwords that are checked at the same time, each some 30 MB and a core, and those that wait for it.
CHECKED_AT_ONCE, WAITING_MOST = 2, 20
#: A login's time begins anew with a page that is opened; but the cookie is not sent more often than this part of it.
RENEW_PART = 1 / 12


@dataclass(frozen=True, slots=True)
class Login:
    """What a cookie says.

    Attributes:
        mark: of the password that was right then.
        number: of this login.
        since: epoch seconds, of this login or its last renewal.
    """

    name: str
    mark: str
    number: str
    since: float


class Gate:
    """Who is logged in. Belongs to the pages' loop.

    Arguments:
        hours: how long a login lasts.
        clock: epoch seconds.
    """

    def __init__(self, users: Users, *, hours: float, clock: Callable[[], float] = time.time) -> None:
        self.throttle = Throttle()
        self._users = users
        self._seconds = hours * 3600
        self._clock = clock
        #: Number of a login that was ended → when it would have ended by itself.
        self._ended: dict[str, float] = {}
        self._checking = asyncio.Semaphore(CHECKED_AT_ONCE)
        self._waiting = 0

    @property
    def busy(self) -> bool:
        """Whether so many wait for their password to be checked that nobody else may."""
        return self._waiting >= WAITING_MOST

    async def check(self, name: str, password: str) -> bool:
        """Whether this is the user's password. Takes the same time whoever it is, in another thread."""
        challenge = self._users.challenge(name)
        self._waiting += 1
        try:
            async with self._checking:
                return await asyncio.to_thread(challenge.matches, password)
        finally:
            self._waiting -= 1

    def user(self, handler: RequestHandler) -> str | None:
        """The name of who makes a request, None if nobody is logged in."""
        login = self.login(handler)
        return login.name if login else None

    def login(self, handler: RequestHandler) -> Login | None:
        """What the cookie of a request says, if it still holds."""
        raw = handler.get_signed_cookie(COOKIE, max_age_days=self._seconds / 86_400)
        if raw is None:
            return None
        try:
            login = Login(*json.loads(raw))
        except (ValueError, TypeError):
            return None
        return login if self.holds(login) else None

    def holds(self, login: Login) -> bool:
        """Whether a login has not been ended, by its user or in the file."""
        return login.number not in self._ended and login.mark == self._mark(login.name)

    def begin(self, handler: RequestHandler, name: str) -> None:
        """Log a user in."""
        mark = self._mark(name)
        if mark is not None:
            self._keep(handler, Login(name, mark, secrets.token_urlsafe(12), self._clock()))

    def renew(self, handler: RequestHandler) -> None:
        """Let a login's time begin anew."""
        login = self.login(handler)
        if login and self._clock() - login.since > self._seconds * RENEW_PART:
            self._keep(handler, Login(login.name, login.mark, login.number, self._clock()))

    def end(self, handler: RequestHandler) -> None:
        """Log out, wherever this cookie is."""
        login = self.login(handler)
        if login:
            now = self._clock()
            self._ended = {number: until for number, until in self._ended.items() if until > now}
            self._ended[login.number] = now + self._seconds
        handler.clear_cookie(COOKIE)

    def _keep(self, handler: RequestHandler, login: Login) -> None:
        said = json.dumps([login.name, login.mark, login.number, login.since])
        handler.set_signed_cookie(COOKIE, said, expires_days=self._seconds / 86_400)

    def _mark(self, name: str) -> str | None:
        hashed = self._users.hashed(name)
        return None if hashed is None else sha256(str(hashed).encode()).hexdigest()[:16]


class Provider(AuthProvider):
    """What Panel and Bokeh ask who somebody is, and where logging in is done."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], Any]:
        """Handler of a request → name, None for nobody."""
        return self._gate.user

    @property
    def login_url(self) -> str:
        """Below the prefix."""
        return "/login"

    @property
    def login_handler(self) -> type[RequestHandler]:
        """The page with the form."""
        return LoginPage

    @property
    def logout_url(self) -> str:
        """Below the prefix."""
        return "/logout"

    @property
    def logout_handler(self) -> type[RequestHandler]:
        """What the button in the header asks for."""
        return LogoutPage


def _hashes(*scripts: str) -> str:
    digests = (hashlib.sha256(asset(script).encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


class LoginPage(Guarded):
    """`/login`: the form, and what it sends."""

    public = True
    #: The page that passwords are typed into has these two scripts and no others.
    scripts = _hashes("early.js", "late.js")

    @property
    def gate(self) -> Gate:
        """Who is logged in."""
        return cast("Gate", self.site.gate)

    def check_xsrf_cookie(self) -> None:
        """Whether it is our form that was sent, to the browser that we gave it to."""
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            text = "This form is too old, or this browser keeps no cookies: open it again."
            raise HTTPError(HTTPStatus.FORBIDDEN, text) from None

    def get(self) -> None:
        """The form; who is logged in already goes on."""
        if self.current_user:
            self.redirect(self._next())
            return
        self._form()

    async def post(self) -> None:
        """Log in, or say why not."""
        name = plain(self.get_body_argument("name", ""))
        password = self.get_body_argument("password", "", strip=False)
        keys = name_key(name), address_key(self.visitor.address)
        wait = self.gate.throttle.wait(*keys)
        if wait > 0 or self.gate.busy:
            seconds = max(1, ceil(wait))
            self.set_header("Retry-After", str(seconds))
            self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
            again = "1 second" if seconds == 1 else f"{seconds} seconds"
            why = (
                "Too many wrong passwords, by this name or from your network"
                if wait > 0
                else "Too many log in just now"
            )
            self._form(name, f"{why}. Try again in {again}.")
            return
        self.gate.throttle.tried(*keys)
        if not await self.gate.check(name, password):
            log.warning("login refused", address=self.visitor.address)
            self.set_status(HTTPStatus.FORBIDDEN)
            self._form(name, "This name and this password do not belong together.")
            return
        self.gate.throttle.succeeded(*keys)
        self.gate.begin(self, name)
        log.info("login", user=name, address=self.visitor.address)
        self.redirect(self._next(), status=HTTPStatus.SEE_OTHER)

    def _form(self, name: str = "", error: str = "") -> None:
        token = self.xsrf_token.decode()
        self.page("login.html", "login", "Log in", name=name[:64], error=error, next=self._next(), token=token)

    def _next(self) -> str:
        """Where to go then: an address of ours, whatever was asked for."""
        wanted, prefix = self.get_argument("next", ""), self.site.config.prefix
        ours = wanted.startswith(f"{prefix}/") and not wanted.startswith("//") and "\\" not in wanted
        bare = wanted.partition("?")[0]
        if ours and wanted.isprintable() and " " not in wanted and bare not in {f"{prefix}/login", f"{prefix}/logout"}:
            return wanted
        return self.site.pages.frame.address("")


class LogoutPage(Guarded):
    """`/logout`: ends the login that the request came with."""

    public = True

    def check_xsrf_cookie(self) -> None:
        """Not needed: a form of another site comes without the login's cookie (SameSite), and so ends nothing."""

    def get(self) -> None:
        """Somebody typed the address; only the button logs out, as addresses are also opened by other than people."""
        self.redirect(self.site.pages.frame.address(""))

    def post(self) -> None:
        """Log out."""
        if self.current_user:
            cast("Gate", self.site.gate).end(self)
        self.redirect(self.get_login_url(), status=HTTPStatus.SEE_OTHER)
