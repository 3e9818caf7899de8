"""What the dashboard is told at its start, and who may reach it."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from dashboard.formats import Formats
from dashboard.passwords import Users
from runtime import cannot_listen
from runtime.hosts import is_loopback
from streams.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardConfig:
    """Settings of the dashboard's server and pages.

    Attributes:
        host: address to listen at.
        port: 0 takes any free one.
        open: listen beyond loopback without a login: anybody there can see the pages.
        users_file: who may log in, see `dashboard.passwords`; without one nobody has to.
        login_hours: how long a login lasts after the last page that was opened.
        secret: signs login cookies; empty: a new one at each start, so that people log in again.
        origins: further `host:port` that browsers may have in their address bar, for a reverse proxy.
        proxy: believe X-Forwarded-For, -Proto and -Host: only behind a reverse proxy that sets them.
        max_sessions: open pages at once; further ones are told to come back later.
        timezone: of the business day and of the times shown.
        currency: code shown beside amounts.
        locale: how numbers are written, see `dashboard.formats`.
        csv: `comma` or `semicolon` between the cells of CSV files; empty: as spreadsheets of the locale read them.
        prefix: path below which all pages are, `` or `/something`.
        receipt_url: where receipts are POSTed to, for the page that has none to show.
        version: of Tillstream.
        settings: what the process was told, for the page of the system: (name, value with secrets masked, origin).
    """

    host: str = "127.0.0.1"
    port: int = 8050
    open: bool = False
    users_file: Path | None = None
    login_hours: float = 12.0
    secret: str = field(default="", repr=False)
    origins: tuple[str, ...] = ()
    proxy: bool = False
    max_sessions: int = 200
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    currency: str = "EUR"
    locale: str = "en"
    csv: str = ""
    prefix: str = ""
    receipt_url: str = "http://127.0.0.1:3000/receipt"
    version: str = ""
    settings: tuple[tuple[str, str, str], ...] = ()


def check(config: DashboardConfig) -> None:
    """Raises ConfigurationError for what would only show later: a locale that is not known, a file of users that cannot
    be read, a port that is taken, and a listener beyond loopback that shows everything to everybody there, which nobody
    asked for."""
    Formats(config.locale, config.currency)
    if config.users_file is not None:
        Users(config.users_file)
    if not config.open and config.users_file is None and not is_loopback(config.host):
        raise ConfigurationError(
            f"the dashboard would show everything to everybody who reaches {config.host}: say who may log in with "
            "TILLSTREAM_DASHBOARD_USERS_FILE (`tillstream password NAME` prints its lines), or --open if that is wanted"
        )
    listen(config).close()


def listen(config: DashboardConfig) -> socket.socket:
    """Bind and listen: from here on browsers wait instead of being refused. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host.strip("[]"), config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise ConfigurationError(f"the dashboard cannot listen on {config.host}: {exc.strerror or exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(128)
    except OSError as exc:
        listener.close()
        line = cannot_listen(config.host, config.port, exc, "TILLSTREAM_DASHBOARD_PORT")
        raise ConfigurationError(f"the dashboard {line}") from exc
    return listener


def url(config: DashboardConfig, port: int) -> str:
    """The page's address, as a browser on this machine opens it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{port}{config.prefix}/"
