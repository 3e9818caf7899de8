"""Who may reach the dashboard."""

import socket

import pytest

from dashboard import DashboardConfig
from dashboard.config import allowed_origins, check, is_loopback, listen, url
from streams.errors import ConfigurationError


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """Only addresses of this machine itself are loopback; the wildcard is not."""
    assert is_loopback(host) is expected


def test_listening_beyond_loopback_has_to_be_asked_for() -> None:
    """Without a login, other machines see the page only if `open` says so."""
    with pytest.raises(ConfigurationError, match="--open"):
        check(DashboardConfig(host="0.0.0.0"))
    check(DashboardConfig(host="0.0.0.0", open=True))
    check(DashboardConfig())


def test_origins_are_our_own_addresses() -> None:
    """A websocket may come from a page that we served, or one of the proxies named; never from anywhere."""
    assert allowed_origins(DashboardConfig(), 8050) == ["localhost:8050", "127.0.0.1:8050", "[::1]:8050"]
    beyond = allowed_origins(DashboardConfig(host="192.168.1.7", origins=("Till.Example:443",)), 8050)
    assert "192.168.1.7:8050" in beyond
    assert "till.example:443" in beyond
    assert not any("*" in origin for origin in beyond)


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    """A configuration error names host, port and reason."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            listen(DashboardConfig(port=port))


def test_a_host_that_is_none_is_said_in_one_line() -> None:
    """An address of no interface of ours cannot be listened on."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        listen(DashboardConfig(host="192.0.2.1", port=0))


def test_the_address_is_one_that_a_browser_opens() -> None:
    """Wildcards become loopback; IPv6 gets its brackets."""
    assert url(DashboardConfig(host="0.0.0.0"), 1) == "http://127.0.0.1:1/"
    assert url(DashboardConfig(host="::1"), 1) == "http://[::1]:1/"
    assert url(DashboardConfig(host="localhost"), 1) == "http://localhost:1/"
