"""By which names the dashboard may be reached. Pure.

Two attacks are meant. A page of another site opens a websocket to us with its visitor's cookies: its `Origin` is not
ours. And a name of another's is made to lead to us (DNS rebinding), so that its page may read ours: `Host` is that
name.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from dashboard.config import DashboardConfig, is_loopback

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Names:
    """What may stand in a browser's address bar.

    Arguments:
        places: `host:port`, or `host` for the ports of http and https.
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._places: set[tuple[str, int]] = set()
        for place in places:
            parts = _split(place, 0)
            if parts:
                host, port = parts
                self._places |= {(host, each) for each in ([port] if port else _DEFAULT_PORTS.values())}
        self._hosts = {host for host, _ in self._places}

    def knows(self, host: str) -> bool:
        """Whether a request may be for this `Host`. Ports do not matter, nor do addresses: only names can be made to
        lead elsewhere."""
        parts = _split(host, 80)
        return parts is not None and (parts[0] in self._hosts or _is_address(parts[0]))

    def opens(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may open a websocket in a request for `host` (which is known): our own pages,
        and those that come to us by another name than they have in the browser. A port that is not written, in either
        of them, is the one of the origin's scheme."""
        try:
            found = urlsplit(origin.lower())
        except ValueError:
            return False
        port = _DEFAULT_PORTS.get(found.scheme, 0)
        place = _split(found.netloc, port)
        return place is not None and (place == _split(host.lower(), port) or place in self._places)


def names_of(config: DashboardConfig, port: int) -> Names:
    """Our own names, and those that the configuration adds."""
    hosts = [*_LOOPBACK]
    if not is_loopback(config.host):
        bare = config.host.strip("[]")
        hosts += [socket.gethostname().lower(), f"[{bare}]" if ":" in bare else bare.lower()]
    return Names([*(f"{host}:{port}" for host in hosts), *config.origins])


def _split(place: str, default: int) -> tuple[str, int] | None:
    """Host in lower case, and port; None for what is neither."""
    try:
        found = urlsplit(f"//{place}")
        host, port = found.hostname, found.port
    except ValueError:
        return None
    if not host or found.path or found.username is not None:
        return None
    return host.rstrip("."), default if port is None else port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
