"""Which addresses name a store; without a driver, so that settings are checked before anything starts.

Whether MongoDB's driver knows every option is seen when the store is opened, see `store.mongo_client`.
"""

import re

from runtime.addresses import Address, split_address
from runtime.sqlite_address import check_path

#: MongoDB's rules for all systems (manual, "Naming Restrictions"), and no dot, which would begin a collection's name.
_DATABASE = re.compile(r"""[^/\\. "$*<>:|?\x00-\x1f]{1,63}""")


def check_address(text: str) -> str:
    """The address itself, if it names a store.

    Raises ValueError saying what was expected; it never repeats the address, which may hold a password.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "sqlite":
        check_path(rest)
    elif scheme in ("mongodb", "mongodb+srv") and rest.strip("/"):
        database_of(text)
    else:
        raise ValueError("sqlite:PATH or mongodb://HOST… or mongodb+srv://HOST…")
    return text


def database_of(text: str) -> str:
    """The name of the database in a MongoDB address; no server is asked for it. Raises ValueError."""
    address = split_address(text)
    if address.scheme == "mongodb+srv" and not _is_one_name(address):
        raise ValueError("mongodb+srv://HOST/DATABASE, one host without a port")
    if not address.path:
        raise ValueError("a database in mongodb://HOST:PORT/DATABASE")
    if not _DATABASE.fullmatch(address.path):
        raise ValueError("a database name of at most 63 characters, without a dot and other signs of punctuation")
    return address.path


def _is_one_name(address: Address) -> bool:
    return len(address.hosts) == 1 and ":" not in address.hosts[0]
