"""Addresses of servers, `scheme://user:password@host:port,host:port/path?name=value`: taken apart, and masked.

What an address may hold beyond its form is said where it is used: `broker.address`, `store.address`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEMES = {"amqp", "amqps", "mongodb", "mongodb+srv", "http", "https"}
_AUTHORITY_END = re.compile(r"[/?#]")
_ENCODED = "/ ? # and @ in a user's name or password as %2F %3F %23 and %40"
_USER = re.compile(r"[\w.%+~-]*", re.ASCII)
_PLACE = re.compile(r"(?:[\w.%~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
_PATH = re.compile(r"(?:/[\w.%~+$/-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address taken apart.

    Attributes:
        scheme: as written.
        hosts: `host` or `host:port` of each.
        path: decoded, without the slash at its beginning; None where not even the slash is there.
        options: the names and values behind the question mark, decoded.
        credentials: as written, with the `@` behind them; empty where there are none.
        tail: path and options as written.
    """

    scheme: str
    hosts: tuple[str, ...]
    path: str | None
    options: Mapping[str, str] = field(repr=False)
    credentials: str = field(repr=False)
    tail: str = field(repr=False)

    def of_host(self, host: str) -> str:
        """The same address with one host; it holds the password."""
        return f"{self.scheme}://{self.credentials}{host}{self.tail}"


def split_address(text: str) -> Address:
    """Take an address apart. Raises ValueError saying what was expected; it never repeats the address.

    Programs disagree on where a password ends that holds one of / ? # @, so these have to be percent-encoded.
    """
    scheme, separator, rest = text.partition("://")
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    credentials, at, places = authority.rpartition("@")
    if "@" in credentials or "@" in tail or "#" in tail:
        raise ValueError(_ENCODED)
    if not separator or any(character.isspace() for character in text):
        raise ValueError("an address without blanks")
    hosts = tuple(places.split(","))
    if not all(map(_is_place, hosts)):
        raise ValueError("a host, and a port from 1 to 65535 or none")
    path, _, query = tail.partition("?")
    return Address(
        scheme=scheme,
        hosts=hosts,
        path=unquote(path[1:]) if path else None,
        options=dict(parse_qsl(query, keep_blank_values=True)),
        credentials=credentials + at,
        tail=tail,
    )


def _is_place(host: str) -> bool:
    """Whether there can be such a host and port."""
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and parts.port != 0 and not host.endswith(":")
    except ValueError:  # a port that is not a number, a bracket that does not close
        return False


def masked(address: str) -> str:
    """An address with its password replaced by `***`; user, hosts and path stay readable.

    Whatever could be a part of a password is hidden, too: an address may be taken apart at the wrong place, and text
    that is no address may be a secret in the wrong place.
    """
    if address.startswith("sqlite:"):
        return address
    scheme, _, rest = address.partition("://")
    if scheme not in _SCHEMES or not rest:
        return "***"
    before, question, options = rest.partition("?")
    if "@" in options:  # a password with a question mark, or one in the options
        return f"{scheme}://***"
    credentials, at, place = before.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown_user = user if _USER.fullmatch(user) else "***"
    return f"{scheme}://{shown_user}{':***' if colon else ''}{at}{_shown(place)}{'?***' if question else ''}"


def _shown(place: str) -> str:
    """Hosts and path, if they are of the form of these."""
    hosts, slash, path = place.partition("/")
    if all(_PLACE.fullmatch(host) for host in hosts.split(",")) and _PATH.fullmatch(slash + path):
        return place
    return "***"
