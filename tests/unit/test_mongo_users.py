"""`deploy/mongo_users.py`: the users that it makes at a MongoDB, and at a server that knows no roles.

The server here is a stand-in: MongoDB is nowhere in these tests. FerretDB, which refuses roles, is asked for real in
tests/compose.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from pymongo.errors import OperationFailure

from deploy import make_secrets, mongo_users


class Server:
    """Keeps users as MongoDB does: making one that is there, changing one that is not, and a wrong root are errors."""

    def __init__(self, *, knows_roles: bool) -> None:
        self.knows_roles = knows_roles
        self.users: dict[str, dict[str, Any]] = {}
        self.asked_by: list[str] = []

    def client(self, url: str, **options: object) -> "Server":
        """What stands for the driver's class."""
        self.asked_by.append(url)
        return self

    @property
    def admin(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def command(self, name: str, user: str, **given: Any) -> Mapping[str, Any]:
        if given.get("roles") and not self.knows_roles:
            raise OperationFailure('support for field "roles" is not implemented yet', 238)
        if name == "createUser" and user in self.users:
            raise OperationFailure(f'User "{user}@admin" already exists', 51003)
        if name == "updateUser" and user not in self.users:
            raise OperationFailure(f"User {user}@admin not found", 11)
        self.users[user] = self.users.get(user, {}) | given
        return {"ok": 1.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Secrets."""
    assert make_secrets.main(["--folder", str(tmp_path / "secrets")]) == 0
    return tmp_path / "secrets"


def test_each_role_gets_a_user_that_may_do_what_the_role_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers read, writers write, in our database alone; a rotated password reaches a user that is there."""
    server = Server(knows_roles=True)
    monkeypatch.setattr(mongo_users, "MongoClient", server.client)
    said: list[str] = []
    mongo_users.make_users(folder, said.append)
    for role, granted in mongo_users.ROLES.items():
        made = server.users[f"tillstream-{role}"]
        assert made["roles"] == [{"role": granted, "db": "tillstream"}]
        assert f":{made['pwd']}@" in (folder / f"store-{role}-url").read_text()
    assert len(said) == 1

    before = {name: user["pwd"] for name, user in server.users.items()}
    assert make_secrets.main(["--folder", str(folder), "--rotate", "store-worker"]) == 0
    mongo_users.make_users(folder, said.append)
    assert [name for name, user in server.users.items() if user["pwd"] != before[name]] == ["tillstream-worker"]
    password = (folder / "mongo-root-password").read_text().strip()
    assert set(server.asked_by) == {f"mongodb://tillstream:{password}@mongo:27017/admin"}


def test_a_server_without_roles_gets_the_users_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords differ all the same; a line says that roles do not hold."""
    server = Server(knows_roles=False)
    monkeypatch.setattr(mongo_users, "MongoClient", server.client)
    said: list[str] = []
    for _ in range(2):
        mongo_users.make_users(folder, said.append)
    assert set(server.users) == {f"tillstream-{role}" for role in mongo_users.ROLES}
    assert len({user["pwd"] for user in server.users.values()}) == len(server.users)
    assert "knows no roles" in said[-1]


def test_another_root_password_is_explained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB keeps the password of its first start, which may not be that of the file."""

    def refuse(*_: object) -> None:
        raise OperationFailure("Authentication failed.", 18)

    monkeypatch.setattr(mongo_users, "_make", refuse)
    monkeypatch.setattr(mongo_users, "MongoClient", Server(knows_roles=True).client)
    assert "mongo-root-password" in (mongo_users.main(str(folder)) or "")
