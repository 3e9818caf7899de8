"""Which addresses name a broker; without a driver, so that settings are checked before anything starts."""

from pathlib import Path

from runtime.addresses import split_address
from runtime.sqlite_address import check_path

#: What may stand behind the question mark, for a connection and for TLS.
_CONNECTION = {"auth", "heartbeat", "timeout"}
_TLS = {"cafile", "capath", "cadata", "certfile", "keyfile", "no_verify_ssl"}
_FILES = ("cafile", "certfile", "keyfile")
#: How options are called in addresses of RabbitMQ's own clients.
_OTHERS = {
    "cacertfile": "cafile",
    "cacerts": "cafile",
    "verify": "no_verify_ssl=1 (for verify_none; a certificate is verified without)",
    "fail_if_no_peer_cert": "nothing (a certificate is verified)",
    "server_name_indication": "the host",
    "auth_mechanism": "auth",
    "connection_timeout": "timeout (in seconds)",
}


def check_address(text: str) -> str:
    """The address itself, if it names a broker and says nothing that would be passed over.

    Raises ValueError saying what was expected; it never repeats the address, which may hold a password.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "sqlite":
        check_path(rest)
        return text
    if scheme not in ("amqp", "amqps") or not rest.strip("/"):
        raise ValueError("sqlite:PATH or amqp://HOST… or amqps://HOST…")
    address = split_address(text)
    if address.tail.startswith("//"):
        raise ValueError("a slash in a vhost's name as %2F")
    options = address.options
    for name, value in options.items():
        _check_option(name, value)
    if scheme == "amqp" and _TLS & options.keys():
        raise ValueError("amqps:// where there are options for TLS")
    return text


def _check_option(name: str, value: str) -> None:
    if name in _OTHERS:
        raise ValueError(f"{_OTHERS[name]} in place of the option {name}")
    if name not in _CONNECTION | _TLS:
        raise ValueError(f"no other options than {', '.join(sorted(_CONNECTION | _TLS))}")
    if name == "no_verify_ssl" and value not in ("0", "1"):
        raise ValueError("no_verify_ssl=0 or no_verify_ssl=1")
    if name == "auth" and value.lower() not in ("plain", "external"):
        raise ValueError("auth=plain or auth=external")
    if name in ("heartbeat", "timeout") and not (value.isascii() and value.isdigit()):
        raise ValueError(f"{name}=SECONDS")
    if name in _FILES and not Path(value).is_file():
        raise ValueError(f"{name}=FILE, a file that is there")
