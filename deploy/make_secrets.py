"""Makes the passwords, tokens and keys that docker-compose.yml needs, as files in `secrets/`, for `scripts/secrets`.

It needs nothing but Python's standard library, since it runs before anything is installed. Values are random, are never
printed, and stay as they are once they are there: only `--rotate` replaces one.
"""

import argparse
import base64
import difflib
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: The users, without passwords, as `tillstream definitions --operator operator` prints them.
DEFINITIONS = ROOT / "deploy" / "rabbitmq" / "definitions.json"
#: Of RabbitMQ's page and of the dashboard.
OPERATOR = "operator"
#: What our users at RabbitMQ are called before the role's name.
USER_PREFIX = "tillstream-"

_MODE_OF_FOLDER = 0o700
#: Our containers do not run as root, nor under the number of whoever made the files, and a secret from a file keeps the
#: owner and mode that it has outside. Nobody else gets at it: the folder around it lets only its owner in.
_MODE_OF_FILE = 0o644


def password() -> str:
    """A random password of 192 bits: letters, digits, `-` and `_`, so that it needs no quoting in a URL."""
    return secrets.token_urlsafe(24)


def rabbitmq_hash(text: str) -> str:
    """A password as RabbitMQ's definitions have it (`rabbit_password_hashing_sha256`): base64 of salt and hash."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + text.encode()).digest()).decode()


def dashboard_line(name: str, text: str) -> str:
    """A line of the dashboard's users file, as `tillstream password` prints it."""
    cost, blocks, parallel, salt = 1 << 15, 8, 1, secrets.token_bytes(16)
    digest = hashlib.scrypt(
        text.encode(), salt=salt, n=cost, r=blocks, p=parallel, maxmem=256 * cost * blocks, dklen=32
    )
    encoded = [base64.b64encode(each).decode() for each in (salt, digest)]
    return f"{name}:scrypt${cost}${blocks}${parallel}${encoded[0]}${encoded[1]}"


@dataclass(frozen=True, slots=True)
class Secret:
    """What is made, and rotated, together.

    Attributes:
        name: as `--rotate` takes it.
        files: that hold it.
        make: text of each of these files, new.
        takes: how what runs takes a new one, for a person.
    """

    name: str
    files: tuple[str, ...]
    make: Callable[[], tuple[str, ...]]
    takes: str


def _url(role: str) -> Callable[[], tuple[str, ...]]:
    return lambda: (f"amqp://{USER_PREFIX}{role}:{password()}@rabbitmq:5672/tillstream",)


def _store_url(role: str) -> Callable[[], tuple[str, ...]]:
    return lambda: (f"mongodb://{USER_PREFIX}{role}:{password()}@mongo:27017/tillstream?authSource=admin",)


def _dashboard_user() -> tuple[str, ...]:
    made = password()
    return dashboard_line(OPERATOR, made), made


#: Users at RabbitMQ but the operator, and at MongoDB but the root.
ROLES = ("entrypoint", "worker", "totals", "dashboard", "storm", "tools")
_LOAD = "docker compose exec rabbitmq rabbitmqctl import_definitions /run/secrets/rabbitmq-definitions.json"
_RESTARTED = {"storm": "nimbus supervisor", "tools": ""}


_MAKE_USERS = "docker compose run --rm mongo-users"


def _take_url(role: str, load: str) -> str:
    services = _RESTARTED.get(role, role)
    return load + (f" && docker compose restart {services}" if services else "")


SECRETS = (
    *(Secret(f"broker-{role}", (f"broker-{role}-url",), _url(role), _take_url(role, _LOAD)) for role in ROLES),
    *(
        Secret(f"store-{role}", (f"store-{role}-url",), _store_url(role), _take_url(role, _MAKE_USERS))
        for role in ROLES
    ),
    Secret("rabbitmq-admin", ("rabbitmq-admin-password",), lambda: (password(),), _LOAD),
    Secret(
        "mongo",
        ("mongo-root-user", "mongo-root-password"),
        lambda: ("tillstream", password()),
        "see docs/operations.md",
    ),
    Secret("tokens", ("tokens",), lambda: (f"tills:{password()}",), "by itself, within a second"),
    Secret("dashboard-user", ("dashboard-users", "dashboard-password"), _dashboard_user, "by itself, within seconds"),
    Secret(
        "dashboard-secret", ("dashboard-secret",), lambda: (secrets.token_hex(32),), "docker compose restart dashboard"
    ),
)
#: Compose reads this file first, and its name is in the message where it is not there.
MARK = "run-scripts-secrets-first"
#: What docker-compose.yml mounts from the repository.
CONFIGURATION = ("deploy/rabbitmq/rabbitmq.conf", "deploy/rabbitmq/enabled_plugins", "deploy/storm/storm.yaml")
#: Made from the others each time.
DEFINITIONS_FILE = "rabbitmq-definitions.json"
_HINTS = {
    "rabbitmq-admin-password": f"RabbitMQ's page, http://127.0.0.1:15672, user {OPERATOR}",
    "dashboard-password": f"the dashboard, http://127.0.0.1:8050, user {OPERATOR}",
    "tokens": "what the tills send: Authorization: Bearer <what is behind the colon>",
}


class Refused(Exception):  # noqa: N818 - it is told as it is, in one line
    """What was asked for was not done; the text says why."""


class Folder:
    """The folder of secrets, and what became of each file.

    A new folder is made aside and gets its name when all is in it, and so is each new file of one that is there:
    an interruption leaves nothing that looks whole. A file that is replaced is written in place: a container has the
    file itself and would not see another one put in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[str] = []
        self.kept: list[str] = []
        self._at = path if path.exists() else path.with_name(f"{path.name}.part")
        if self._at != path:
            shutil.rmtree(self._at, ignore_errors=True)
        self._at.mkdir(mode=_MODE_OF_FOLDER, parents=True, exist_ok=True)
        self._at.chmod(_MODE_OF_FOLDER)

    def has(self, name: str) -> bool:
        """Whether a file is there. A folder of its name is what Docker makes where a secret was missing."""
        if (self._at / name).is_dir():
            raise Refused(f"{self.path / name} is a folder, made by Docker when the file was missing: remove it")
        return (self._at / name).exists()

    def read(self, name: str) -> str:
        """A file's text without the line end."""
        return (self._at / name).read_text("utf-8").strip()

    def write(self, name: str, text: str) -> None:
        """Write a file, new or in place."""
        path = self._at / name
        fresh = path if path.exists() else path.with_name(f".{name}.part")
        with fresh.open("r+" if fresh == path else "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(_MODE_OF_FILE)
        fresh.replace(path)
        self.made.append(name)

    def finish(self) -> None:
        """Say that all is there: to Compose by a file, and by the folder's name."""
        if not (self._at / MARK).exists():
            (self._at / MARK).write_text("# Everything that ./scripts/secrets makes is here.\n", "utf-8")
        (self._at / MARK).chmod(_MODE_OF_FILE)
        if self._at != self.path:
            self._at.rename(self.path)


def make(folder: Folder, rotated: Sequence[str]) -> None:
    """Make every secret that is not there, and new ones of those that are named. Raises Refused, having made nothing
    of the secret in question."""
    for secret in SECRETS:
        there = [name for name in secret.files if folder.has(name)]
        if there and secret.name not in rotated:
            if missing := [name for name in secret.files if name not in there or not folder.read(name)]:
                raise Refused(f"{folder.path}: {', '.join(missing)} is gone: put it back, or --rotate {secret.name}")
            folder.kept += there
            continue
        own = _own_store(folder) if secret.name.startswith("store-") and not there else None
        for name, text in zip(secret.files, secret.make() if own is None else (own,), strict=True):
            folder.write(name, text)


def _own_store(folder: Folder) -> str | None:
    """The address of a MongoDB of one's own, as releases before there were users per role have it in one file."""
    before = folder.read("store-url") if folder.has("store-url") else ""
    return before if before and "@mongo:27017/" not in before else None


def open_configuration(folder: Path) -> None:
    """Let containers' users read the configuration that they get from outside, whatever the umask of the clone was."""
    for name in CONFIGURATION:
        mode = (folder / name).stat().st_mode
        if mode & 0o044 != 0o044:
            (folder / name).chmod(mode | 0o044)


def write_definitions(folder: Folder, template: Path) -> None:
    """Make RabbitMQ's definitions from the template and the passwords; they stay as they are if nothing changed."""
    passwords = {OPERATOR: folder.read("rabbitmq-admin-password")}
    for role in ROLES:
        user, _, rest = folder.read(f"broker-{role}-url").removeprefix("amqp://").partition(":")
        passwords[user] = rest.rpartition("@")[0]
    old = folder.read(DEFINITIONS_FILE) if folder.has(DEFINITIONS_FILE) else ""
    known = {user["name"]: user["password_hash"] for user in json.loads(old)["users"]} if old else {}
    content: dict[str, Any] = json.loads(template.read_text("utf-8"))
    for user in content["users"]:
        name = user["name"]
        if name not in passwords:
            raise Refused(f"{template}: there is no password for the user {name}")
        user["password_hash"] = _same_hash(known.get(name, ""), passwords[name]) or rabbitmq_hash(passwords[name])
    text = json.dumps(content, indent=2)
    if text == old:
        folder.kept.append(DEFINITIONS_FILE)
    else:
        folder.write(DEFINITIONS_FILE, text)


def _same_hash(known: str, text: str) -> str | None:
    """The hash that is known, if it is this password's."""
    raw = base64.b64decode(known)
    return known if raw[4:] == hashlib.sha256(raw[:4] + text.encode()).digest() else None


def write_env(path: Path, folder: str) -> bool:
    """Tell Compose where the secrets are, in a `.env` that may hold other lines. Returns whether it had to be told."""
    name = "TILLSTREAM_SECRETS"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    if any(line.startswith(f"{name}=") for line in lines):
        return False
    lines += ["# By ./scripts/secrets; without it `docker compose` says to run that first.", f"{name}={folder}"]
    fresh = path.with_name(f"{path.name}.part")
    fresh.touch(mode=0o600)
    fresh.write_text("\n".join(lines) + "\n", "utf-8")
    if path.exists():
        shutil.copymode(path, fresh)
    fresh.replace(path)
    return True


def unknown_variables(env: Path, compose: Path) -> list[str]:
    """A warning for each line of `.env` that nothing reads: it would be ignored without a word."""
    if not env.exists():
        return []
    known = set(re.findall(r"TILLSTREAM_[A-Z_]+", compose.read_text("utf-8")))
    given = re.findall(r"^\s*(?:export\s+)?(TILLSTREAM_\w+)\s*=", env.read_text("utf-8-sig"), re.MULTILINE)
    lines = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{env}: {name} is read by nothing" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def say(folder: Folder, rotated: Sequence[str]) -> None:
    """Tell what was made and what is to be done now; no values."""
    for name in folder.made:
        print(f"made {folder.path / name}" + (f"  ({_HINTS[name]})" if name in _HINTS else ""))
    if folder.kept:
        print(f"kept {len(folder.kept)} files that were there")
    if rotated:
        print("What runs takes the new ones so:")
    for secret in SECRETS:
        if secret.name in rotated:
            print(f"  {secret.name}: {secret.takes}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing. Returns 2, having said why in one line, if that cannot be."""
    names = [secret.name for secret in SECRETS]
    parser = argparse.ArgumentParser(
        prog="scripts/secrets",
        description="Make the passwords, tokens and keys that docker-compose.yml needs, with random values. What is "
        "there already stays.",
        epilog=f"Names: {', '.join(names)}.",
    )
    parser.add_argument("--rotate", metavar="NAME", nargs="+", default=[], help="make these anew; `all` but mongo")
    parser.add_argument("--folder", metavar="DIR", type=Path, help="another folder than ./secrets; .env is left alone")
    parser.add_argument(
        "--definitions", metavar="FILE", type=Path, default=DEFINITIONS, help="what `tillstream definitions` printed"
    )
    given = parser.parse_args(arguments)
    rotated = [name for name in names if name != "mongo"] if "all" in given.rotate else given.rotate
    if unknown := [name for name in rotated if name not in names]:
        parser.error(f"there is no secret {unknown[0]}: {', '.join(names)}")
    try:
        folder = Folder(given.folder or Path("secrets"))
        make(folder, rotated)
        write_definitions(folder, given.definitions)
        folder.finish()
        open_configuration(ROOT)
        if given.folder is None and write_env(Path(".env"), "./secrets"):
            print("made .env")
    except (Refused, OSError, ValueError) as exc:
        print(f"scripts/secrets: {exc}", file=sys.stderr)
        return 2
    say(folder, rotated)
    for line in unknown_variables(Path(".env"), ROOT / "docker-compose.yml"):
        print(f"scripts/secrets: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
