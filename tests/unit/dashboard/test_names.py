"""By which names the dashboard is reached, and whose pages may open a websocket."""

import pytest

from dashboard.config import DashboardConfig
from dashboard.names import names_of
from runtime.hosts import HostNames


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8050", True),
        ("LOCALHOST", True),
        ("localhost.:8050", True),
        ("127.0.0.1:8050", True),
        ("[::1]:8050", True),
        ("192.0.2.7:8050", True),
        ("[2001:db8::1]:8050", True),
        ("localhost:9999", True),
        ("till.example", True),
        ("till.example:8443", True),
        ("other.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("localhost:port", False),
        ("anna@localhost", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_a_name_that_was_made_to_lead_to_us_is_not_ours(host: str, known: bool) -> None:
    """Names of our own, those that were configured, and addresses, which cannot be made to lead elsewhere."""
    names = names_of(DashboardConfig(origins=("till.example:443",)), 8050)
    assert names.knows(host) is known


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        ("http://localhost:8050", "localhost:8050", True),
        ("http://127.0.0.1:8050", "localhost:8050", True),
        ("http://192.0.2.7:8050", "192.0.2.7:8050", True),
        ("http://192.0.2.8:8050", "192.0.2.7:8050", False),
        ("http://localhost:9999", "localhost:8050", False),
        ("http://localhost:9999", "localhost:9999", True),
        ("https://till.example", "127.0.0.1:8050", True),
        ("https://Till.Example:443", "127.0.0.1:8050", True),
        ("http://till.example", "127.0.0.1:8050", False),
        ("https://anywhere.example", "127.0.0.1:8050", True),
        ("http://anywhere.example", "127.0.0.1:8050", True),
        ("http://anywhere.example:81", "127.0.0.1:8050", False),
        ("https://evil.example", "127.0.0.1:8050", False),
        ("https://till.example.evil.example", "127.0.0.1:8050", False),
        ("https://shop.example", "shop.example:443", True),
        ("http://shop.example", "shop.example:80", True),
        ("https://shop.example", "shop.example", True),
        ("https://shop.example:8443", "shop.example:8443", True),
        ("https://[2001:db8::1]", "[2001:db8::1]:443", True),
        ("http://shop.example", "shop.example:443", False),
        ("https://shop.example", "shop.example:80", False),
        ("https://shop.example", "shop.example:8443", False),
        ("null", "127.0.0.1:8050", False),
        ("null", "", False),
        ("", "127.0.0.1:8050", False),
        ("http://[", "127.0.0.1:8050", False),
    ],
)
def test_only_pages_of_ours_open_a_websocket(origin: str, host: str, may: bool) -> None:
    """The page's own address, or one that the configuration names, port for port; a port of a scheme may be left
    out."""
    names = names_of(DashboardConfig(origins=("till.example:443", "anywhere.example")), 8050)
    assert names.opens(origin, host) is may


def test_beyond_loopback_we_know_our_own_name() -> None:
    """The machine's name is one that browsers come by; a wildcard is none."""
    names = names_of(DashboardConfig(host="shop.example"), 8050)
    assert names.knows("shop.example:8050")
    assert not HostNames(["*"]).knows("evil.example")
