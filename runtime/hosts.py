"""Host names and origins of HTTP requests: which ones a listener without logins answers. Pure.

Two attacks of web pages on a listener that lets everybody in are refused. A page of another site sends requests to
its visitor's machine: their `Origin` is foreign. A name of another site is made to lead to that machine (DNS
rebinding), so that its page may read the answers: their `Host` is that name. An address cannot be made to lead
elsewhere, so every address is answered. Programs other than browsers send no `Origin`.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from streams.errors import TillstreamError

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Characters of a name that an error quotes.
_QUOTED = 100
#: Distinct `Host` headers that are remembered: those of honest clients are few.
_REMEMBERED = 256


class UnknownHostError(TillstreamError):
    """A request is for a name that is not one of this listener's."""


class ForeignOriginError(TillstreamError):
    """A request comes from a page of another site."""


class Place(NamedTuple):
    """A host in lower case, and a port, None where it is not named."""

    host: str
    port: int | None


class Origin(NamedTuple):
    """An origin as browsers send it, with the default port of its scheme; 0 where that is not known."""

    scheme: str
    host: str
    port: int


def read_place(text: str) -> Place | None:
    """Read `host` or `host:port`; None for anything else."""
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        return None
    if not host or found.netloc != text or found.username is not None:
        return None
    return Place(host.rstrip("."), port)


def read_origin(text: str) -> Origin | None:
    """Read `scheme://host` or `scheme://host:port`; None for anything else, such as `null`."""
    scheme, separator, rest = text.lower().partition("://")
    place = read_place(rest)
    if not (scheme and separator) or place is None:
        return None
    return Origin(scheme, place.host, _port(place, scheme))


def _port(place: Place, scheme: str) -> int:
    """The port of a place, or the default one of a scheme; 0 where that has none."""
    return _DEFAULT_PORTS.get(scheme, 0) if place.port is None else place.port


class HostNames:
    """The names of a listener.

    Arguments:
        names: `host:port`, or `host` for the default ports of http and https; beside `localhost`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._places: set[tuple[str, int]] = set()
        for place in filter(None, map(read_place, names)):
            ports = _DEFAULT_PORTS.values() if place.port is None else (place.port,)
            self._places.update((place.host, port) for port in ports)
        self._hosts = {"localhost", *(host for host, _ in self._places)}
        self.knows = lru_cache(maxsize=_REMEMBERED)(self._knows)

    def check(self, host: str | None, origin: str | None) -> None:
        """Refuse a request that a page of another site may have made.

        Arguments:
            host, origin: the headers, None where there are none.

        Raises UnknownHostError or ForeignOriginError.
        """
        if host and not self.knows(host):
            raise UnknownHostError(
                f"the name {host[:_QUOTED]!r} is not one of this service: use its address or localhost, or add the "
                "name to TILLSTREAM_HOST_NAMES"
            )
        if origin is not None and not self.opens(origin, host or ""):
            raise ForeignOriginError(f"requests from pages of {origin[:_QUOTED]!r} are refused: it is another site")

    def _knows(self, host: str) -> bool:
        """Whether a `Host` is one of our names, or an address; ports do not matter."""
        place = read_place(host.lower())
        return place is not None and (place.host in self._hosts or is_address(place.host))

    def opens(self, origin: str, host: str) -> bool:
        """Whether an origin is that of our own pages: the `Host` of its request (a known one), or a name of ours.

        A port that is left out, in either of them, is the one of the origin's scheme.
        """
        found, place = read_origin(origin), read_place(host.lower())
        if found is None or found.scheme not in _DEFAULT_PORTS:
            return False
        of_host = place is not None and place.host == found.host and _port(place, found.scheme) == found.port
        return of_host or (found.host, found.port) in self._places


def names_of_listener(host: str, names: Iterable[str]) -> HostNames:
    """The names of a listener: those that are configured and, beyond loopback, those of the machine.

    Arguments:
        host: the address or name that it listens at.
    """
    own = [*names]
    if not is_loopback(host):
        own += [socket.gethostname(), host]
    return HostNames(own)


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) is reached from this machine only."""
    bare = host.strip("[]").partition("%")[0]
    return host == "localhost" or (is_address(bare) and ipaddress.ip_address(bare).is_loopback)


def is_address(host: str) -> bool:
    """Whether a host is an IP address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
