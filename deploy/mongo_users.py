"""Makes the users of our processes at MongoDB: the service `mongo-users` of docker-compose.yml, before all of them.

It runs at each `docker compose up`: a user that is there gets the password of its address, so it also completes a
rotation and an upgrade. FerretDB knows users and no roles: there, each user may do everything, and a line says so.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

#: Role → what its user may do to our database, as MongoDB calls it. Who only answers queries only reads.
ROLES: Mapping[str, str] = {
    "entrypoint": "read",
    "dashboard": "read",
    "worker": "readWrite",
    "totals": "readWrite",
    "storm": "readWrite",
    "tools": "readWrite",
}
#: MongoDB's codes: a user of that name is there; a command or an option that this server does not have; who it is
#: cannot be proved.
_USER_EXISTS, _NOT_IMPLEMENTED, _AUTHENTICATION_FAILED = 51003, 238, 18
_WITHIN_MS = 30_000

Say = Callable[[str], object]


def make_users(folder: Path, say: Say = print) -> None:
    """Make every user, or give it its password and role anew.

    Arguments:
        folder: `mongo-root-user`, `mongo-root-password`, and an address for each role, `store-<role>-url`.
        say: told in a line what was done.
    Raises PyMongoError: the server refuses, or does not answer within 30 s; what was made until then stays.
    """
    addresses = {role: parse_uri(_read(folder, f"store-{role}-url")) for role in ROLES}
    host, port = next(iter(addresses.values()))["nodelist"][0]
    user, password = (quote(_read(folder, f"mongo-root-{part}"), safe="") for part in ("user", "password"))
    client: MongoClient[dict[str, Any]] = MongoClient(
        f"mongodb://{user}:{password}@{host}:{port}/admin", serverSelectionTimeoutMS=_WITHIN_MS
    )
    with client:
        without_roles = False
        for role, granted in ROLES.items():
            address = addresses[role]
            roles = [{"role": granted, "db": address["database"]}]
            account = {"user": address["username"], "pwd": address["password"]}
            try:
                _make(client, account, roles)
            except OperationFailure as exc:
                if exc.code != _NOT_IMPLEMENTED:
                    raise
                without_roles = True
                _make(client, account, [])
        say(f"made the users of {', '.join(ROLES)} at {host}:{port}")
        if without_roles:
            say("this server knows no roles: each of these users may do everything (MongoDB would hold them to theirs)")


def _make(client: "MongoClient[dict[str, Any]]", account: Mapping[str, str], roles: list[dict[str, str]]) -> None:
    """Make a user, or change the one that is there."""
    # FerretDB refuses to change roles even to those that there are: it is not asked to.
    changed = {"pwd": account["pwd"]} | ({"roles": roles} if roles else {})
    try:
        client.admin.command("createUser", account["user"], pwd=account["pwd"], roles=roles)
    except OperationFailure as exc:
        if exc.code != _USER_EXISTS:
            raise
        client.admin.command("updateUser", account["user"], **changed)


def _read(folder: Path, name: str) -> str:
    return (folder / name).read_text("utf-8").strip()


def main(folder: str = "/run/secrets") -> str | None:
    """None if all users are there, else what is wrong, in a line."""
    try:
        make_users(Path(folder))
    except OperationFailure as exc:
        if exc.code == _AUTHENTICATION_FAILED:
            return "mongo-users: MongoDB keeps the password of its first start, and mongo-root-password is another one"
        return f"mongo-users: {str(exc).partition(', full error')[0]}"
    except (PyMongoError, OSError) as exc:
        return f"mongo-users: {exc}"
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
