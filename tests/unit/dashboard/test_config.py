"""Where the dashboard listens, and what it refuses to."""

import socket
from pathlib import Path

import pytest

from dashboard import DashboardConfig
from dashboard.config import check, listen, url
from dashboard.passwords import line
from runtime.hosts import is_loopback
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


def test_listening_beyond_loopback_wants_users_or_has_to_be_asked_for(tmp_path: Path) -> None:
    """Without a login, other machines see the pages only if `open` says so; the error names both ways."""
    with pytest.raises(ConfigurationError, match=r"TILLSTREAM_DASHBOARD_USERS_FILE.*--open"):
        check(DashboardConfig(host="0.0.0.0"))
    check(DashboardConfig(host="0.0.0.0", open=True))
    (tmp_path / "users").write_text(line("anna", "correct horse"))
    check(DashboardConfig(host="0.0.0.0", users_file=tmp_path / "users"))
    check(DashboardConfig())


def test_a_file_of_users_that_cannot_be_read_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A mistyped path must not be found by people who cannot log in."""
    with pytest.raises(ConfigurationError, match=r"users file .*: No such file"):
        check(DashboardConfig(users_file=tmp_path / "users"))


def test_a_locale_that_is_none_is_said_before_anything_starts() -> None:
    """Not to the first visitor."""
    with pytest.raises(ConfigurationError, match="locale"):
        check(DashboardConfig(locale="xx_YY"))


def test_the_secret_is_not_in_what_is_logged() -> None:
    """A configuration ends up in logs and failed assertions."""
    assert "hunter2" not in repr(DashboardConfig(secret="hunter2hunter2hunter2"))


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
    assert url(DashboardConfig(prefix="/shop"), 1) == "http://127.0.0.1:1/shop/"
    assert url(DashboardConfig(host="localhost"), 1) == "http://localhost:1/"
