"""Text to setting values: one small parser per kind. Each raises ValueError saying what was expected, nothing more."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_LOCALE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z]{4})?([_-]([A-Za-z]{2}|\d{3}))?")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_ORIGIN = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9._-]*[a-z0-9])?)(:\d{1,5})?")
_WEB_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_ORIGIN.pattern}")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def text(value: str) -> str:
    """Any text but none at all."""
    if not value:
        raise ValueError("some text")
    return value


def path(value: str) -> Path:
    """A path, `~` being the home directory; need not exist yet."""
    return Path(text(value)).expanduser()


def optional_path(value: str) -> Path | None:
    """A path, or nothing."""
    return path(value) if value else None


def optional_secret(value: str) -> str | None:
    """Text that nobody can guess, or nothing."""
    if value and len(value) < 16:
        raise ValueError("at least 16 characters that nobody can guess")
    return value or None


def boolean(value: str) -> bool:
    """`true` or `false`, and the usual other words for them."""
    word = value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("true or false")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`; digits may be grouped by underscores."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A decimal number from `low` to `high`."""

    def parse(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return found

    return parse


def size(low: int, high: int) -> Callable[[str], int]:
    """A number of bytes such as `1048576`, `10 MiB` or `2GB`."""

    def parse(value: str) -> int:
        match = _SIZE.fullmatch(value)
        found = round(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else -1
        if not low <= found <= high:
            raise ValueError(f"a size from {shown_size(low)} to {shown_size(high)}, such as 10 MiB")
        return found

    return parse


def shown_size(value: int) -> str:
    """Bytes as a person writes them: `10 MiB`, `1000 B`."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _UNITS[unit.lower()] == 0:
            return f"{value // _UNITS[unit.lower()]} {unit}"
    return f"{value} B"


def choice(*words: str) -> Callable[[str], str]:
    """One of a few words, whatever their case."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(" or ".join((", ".join(words[:-1]), words[-1])))
        return value.lower()

    return parse


def timezone(value: str) -> ZoneInfo:
    """A name of the IANA time zone database."""
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # OSError: a name that is a folder of the database, such as Europe
        raise ValueError("an IANA time zone such as Europe/Paris or UTC") from None


def currency(value: str) -> str:
    """An ISO 4217 code; only shown, never converted."""
    if not re.fullmatch(r"[A-Za-z]{3}", value):
        raise ValueError("a currency code of three letters such as EUR")
    return value.upper()


def locale(value: str) -> str:
    """A language, with script and territory or not. Whether CLDR knows it shows where numbers are written."""
    if not _LOCALE.fullmatch(value):
        raise ValueError("a locale such as en, de or fr_CH")
    return value.replace("-", "_")


def prefix(value: str) -> str:
    """A path such as `/shop`, or nothing; slashes around it do not matter."""
    path = value.strip("/")
    if path and not _PREFIX.fullmatch(f"/{path}"):
        raise ValueError("a path such as /shop")
    return f"/{path}" if path else ""


def origins(value: str) -> tuple[str, ...]:
    """Host names that requests may be for: `host:port` or `host`, separated by commas."""
    found = tuple(dict.fromkeys(entry.strip().lower() for entry in value.split(",") if entry.strip()))
    if not all(_ORIGIN.fullmatch(entry) for entry in found):
        raise ValueError("host:port or host, several separated by commas, such as till.example:8443")
    return found


def web_origins(value: str) -> tuple[str, ...]:
    """Origins of web pages as browsers send them: `https://till.example:8443`, separated by commas."""
    found = tuple(dict.fromkeys(entry.strip().lower().removesuffix("/") for entry in value.split(",") if entry.strip()))
    if not all(_WEB_ORIGIN.fullmatch(entry) for entry in found):
        raise ValueError("scheme://host or scheme://host:port, several separated by commas, as https://till.example")
    return found


def address(value: str) -> str:
    """`host:port`; a numeric IPv6 host in brackets."""
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536) or (
        ":" in host and not (host.startswith("[") and host.endswith("]"))
    ):
        raise ValueError("host:port such as 127.0.0.1:6627")
    return value


def broker_address(value: str) -> str:
    """The address of a broker."""
    from broker.address import check_address  # noqa: PLC0415  # needs aiohttp's weight, as the next ones

    return check_address(value)


def store_address(value: str) -> str:
    """The address of a store."""
    from store.address import check_address  # noqa: PLC0415

    return check_address(value)


def masked(value: str) -> str:
    """A secret as it may be shown: of an address all but the password, of anything else nothing."""
    from runtime import masked as masked_address  # noqa: PLC0415

    return masked_address(value)


def file_value(name: str) -> str:
    """The value in a file of a secret. Raises ConfigurationError with the reason alone."""
    from runtime import read_value  # noqa: PLC0415

    return read_value(Path(name))
