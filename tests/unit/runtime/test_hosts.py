"""Which requests a listener without logins answers."""

import pytest

from runtime.hosts import (
    ForeignOriginError,
    HostNames,
    Origin,
    UnknownHostError,
    is_loopback,
    names_of_listener,
    read_origin,
)

NAMES = HostNames(["till.example", "other.example:8443"])


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "localhost",
        "LocalHost:3000",
        "127.0.0.1:3000",
        "192.168.1.5",
        "[::1]:3000",
        "[fe80::1]",
        "till.example",
        "Till.Example.:443",
        "other.example:1",
    ],
)
def test_addresses_localhost_and_configured_names_are_answered(host: str | None) -> None:
    """Ports do not matter: only names can be made to lead elsewhere."""
    NAMES.check(host, None)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1#evil.example",
        "127.0.0.1@evil.example",
        "0x7f.1",
        "a b",
        "[::1",
        "x:y",
        "/",
    ],
)
def test_every_other_host_is_refused_with_the_setting_that_helps(host: str) -> None:
    """A name that is made to lead here is not ours."""
    with pytest.raises(UnknownHostError, match="TILLSTREAM_HOST_NAMES"):
        NAMES.check(host, None)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://LOCALHOST:3000", "localhost:3000"),
        ("http://localhost", "localhost"),
        ("http://localhost", "localhost:80"),
        ("http://localhost:80", "localhost"),
        ("https://till.example", "till.example"),
        ("https://till.example", "till.example:443"),
        ("https://till.example:443", "till.example"),
        ("https://till.example", "127.0.0.1:3000"),
        ("https://other.example:8443", "127.0.0.1:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
    ],
)
def test_pages_of_our_own_are_known_by_host_and_port(origin: str, host: str) -> None:
    """Default ports are those of the scheme, named or not; behind a proxy a configured name is ours."""
    NAMES.check(host, origin)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "127.0.0.1:3000"),
        ("http://127.0.0.1:8000", "127.0.0.1:3000"),
        ("http://localhost:3000", "127.0.0.1:3000"),
        ("https://other.example", "other.example:8443"),
        ("https://other.example", "127.0.0.1:3000"),
        ("null", "127.0.0.1:3000"),
        ("", "127.0.0.1:3000"),
        ("file://", "127.0.0.1"),
        ("ftp://127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1:3000/path", "127.0.0.1:3000"),
        ("http://a@127.0.0.1:3000", "127.0.0.1:3000"),
    ],
)
def test_pages_of_other_sites_are_refused(origin: str, host: str) -> None:
    """Another port is another site, too."""
    with pytest.raises(ForeignOriginError):
        NAMES.check(host, origin)


def test_beyond_loopback_the_machine_s_own_names_count() -> None:
    """The name that a listener was given is one of its names; on loopback only those that are configured are."""
    names_of_listener("shop-server", ()).check("shop-server:3000", None)
    with pytest.raises(UnknownHostError):
        names_of_listener("127.0.0.1", ()).check("shop-server:3000", None)


def test_loopback_is_known_in_every_form() -> None:
    """Whole 127/8, ::1 with brackets or without, and localhost."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "till.example", "")))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://Till.Example", Origin("https", "till.example", 443)),
        ("https://till.example:443", Origin("https", "till.example", 443)),
        ("http://[::1]:8080", Origin("http", "::1", 8080)),
        ("capacitor://localhost", Origin("capacitor", "localhost", 0)),
        ("null", None),
        ("https://", None),
        ("https://a/b", None),
        ("https://a:b", None),
    ],
)
def test_origins_are_read_with_the_default_port_of_their_scheme(text: str, origin: Origin | None) -> None:
    """Two ways of writing one origin are equal."""
    assert read_origin(text) == origin
