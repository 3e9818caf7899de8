"""Who may log in: a file of names and hashed passwords, and what is in its lines.

A line is `name:scrypt$N$r$p$salt$hash`, salt and hash in base64; empty lines and those that begin with `#` are skipped.
scrypt (RFC 7914) takes some 30 MB and a third of a second for each try, so that a file that got into wrong hands is not
read backwards soon.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from runtime import lines_of, read_edited
from streams.errors import ConfigurationError

log = structlog.get_logger("tillstream.dashboard")

#: What new hashes are made with: three times 2^15 rounds of 8 blocks, 32 MiB (OWASP's password storage cheat sheet).
COST, BLOCKS, PARALLEL = 1 << 15, 8, 3
SALT_BYTES, HASH_BYTES = 16, 32
#: A line of the file must not make us take more memory than this for a try.
MEMORY_MAX_BYTES = 128 << 20
NAME_MAX, PASSWORD_MIN, PASSWORD_MAX = 64, 8, 1024


@dataclass(frozen=True, slots=True)
class Hashed:
    """A password as the file has it.

    Attributes:
        cost, blocks, parallel: scrypt's N, r and p.
    """

    cost: int
    blocks: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> "Hashed":
        """Hash a password with a salt of its own. Takes about a third of a second."""
        salt = secrets.token_bytes(SALT_BYTES)
        return cls(COST, BLOCKS, PARALLEL, salt, _scrypt(password, salt, COST, BLOCKS, PARALLEL))

    @classmethod
    def parse(cls, text: str) -> "Hashed":
        """Read `scrypt$N$r$p$salt$hash`. Raises ValueError with what is wrong."""
        try:
            kind, cost, blocks, parallel, salt, digest = text.split("$")
            made = cls(
                int(cost),
                int(blocks),
                int(parallel),
                base64.b64decode(salt, validate=True),
                base64.b64decode(digest, validate=True),
            )
        except (ValueError, binascii.Error):
            raise ValueError("expected name:scrypt$N$r$p$salt$hash, as `tillstream password` prints it") from None
        if kind != "scrypt" or len(made.salt) < 8 or len(made.digest) != HASH_BYTES:
            raise ValueError("expected a hash by scrypt, as `tillstream password` prints it")
        power_of_two = made.cost > 1 and made.cost & (made.cost - 1) == 0
        if not (power_of_two and made.blocks > 0 and 0 < made.parallel <= 16) or made.memory > MEMORY_MAX_BYTES:
            raise ValueError("scrypt's parameters are none, or take too much memory")
        return made

    @property
    def memory(self) -> int:
        """Bytes that a try takes."""
        return 128 * self.blocks * (self.cost + self.parallel + 2)

    def matches(self, password: str) -> bool:
        """Whether this is the password; in the same time whether or not."""
        if len(password) > PASSWORD_MAX:
            return False
        tried = _scrypt(password, self.salt, self.cost, self.blocks, self.parallel)
        return hmac.compare_digest(tried, self.digest)

    def __str__(self) -> str:
        """As in the file."""
        salt, digest = (base64.b64encode(each).decode() for each in (self.salt, self.digest))
        return f"scrypt${self.cost}${self.blocks}${self.parallel}${salt}${digest}"


def line(name: str, password: str) -> str:
    """A user's line for the file. Raises ConfigurationError for a name or password that cannot be."""
    name = check_name(name)
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise ConfigurationError(f"a password has at least {PASSWORD_MIN} characters (and at most {PASSWORD_MAX})")
    return f"{name}:{Hashed.of(password)}"


def check_name(name: str) -> str:
    """The name in the form that is kept. Raises ConfigurationError for one that cannot be."""
    name = plain(name)
    if not _fits(name):
        raise ConfigurationError(f"a name is 1 to {NAME_MAX} characters without spaces, colons, or # at its beginning")
    return name


def plain(text: str) -> str:
    """Text in one of the ways in which Unicode can write it: keyboards differ."""
    return unicodedata.normalize("NFKC", text)


def parse(text: str) -> dict[str, Hashed]:
    """Name → password. Raises ConfigurationError naming the line that is wrong, and when there is nobody."""
    users: dict[str, Hashed] = {}
    for number, row in lines_of(text):
        name, _, hashed = row.partition(":")
        if not _fits(plain(name)):
            raise ConfigurationError(f"line {number}: that is no name")
        if plain(name) in users:
            raise ConfigurationError(f"line {number}: {name} is there twice")
        try:
            users[plain(name)] = Hashed.parse(hashed)
        except ValueError as exc:
            raise ConfigurationError(f"line {number}: {exc}") from None
    if not users:
        raise ConfigurationError("nobody is in it: `tillstream password NAME` prints a line for it")
    return users


class Users:
    """The file, read again when it changes. One that cannot be read any more leaves those that were known.

    Raises ConfigurationError when made, if the file cannot be read then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._state()
        self._users: Mapping[str, Hashed] = self._read()
        #: Who is not there is compared with this, which takes the same time.
        self._nobody = Hashed(COST, BLOCKS, PARALLEL, secrets.token_bytes(SALT_BYTES), bytes(HASH_BYTES))

    def hashed(self, name: str) -> Hashed | None:
        """A user's password, None if there is no such user."""
        return self._current().get(plain(name))

    def challenge(self, name: str) -> Hashed:
        """What a password has to match: for a user that is not there something that nothing does."""
        users = self._current()
        found = users.get(plain(name))
        if found is not None:
            return found
        # A file with hashes of several releases has several costs, and a stranger has one of them, always the same.
        place = hmac.digest(self._nobody.salt, plain(name).encode("utf-8", "surrogatepass"), "sha256")
        alike = [*users.values()] or [self._nobody]
        like = alike[int.from_bytes(place) % len(alike)]
        return Hashed(like.cost, like.blocks, like.parallel, self._nobody.salt, self._nobody.digest)

    def _current(self) -> Mapping[str, Hashed]:
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._users = self._read()
                log.info("users read again", file=str(self._path), users=len(self._users))
            except ConfigurationError as exc:
                log.error("the users' file cannot be used, going on with what it said before", error=str(exc))
        return self._users

    def _read(self) -> Mapping[str, Hashed]:
        try:
            return parse(read_edited(self._path))
        except ConfigurationError as exc:
            raise ConfigurationError(f"the dashboard's users file {self._path}: {exc}") from None

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def _fits(name: str) -> bool:
    return 0 < len(name) <= NAME_MAX and name.isprintable() and not set(name) & {":", " "} and name[0] != "#"


def _scrypt(password: str, salt: bytes, cost: int, blocks: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        plain(password).encode("utf-8", "surrogatepass"),
        salt=salt,
        n=cost,
        r=blocks,
        p=parallel,
        maxmem=2 * MEMORY_MAX_BYTES,
        dklen=HASH_BYTES,
    )
