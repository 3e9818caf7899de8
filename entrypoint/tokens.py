"""Tokens: who may come in, from a file that can be changed while we run.

One token a line, `name:token` or the token alone; blank lines and lines that begin with `#` do not count. Only
digests are kept, and a token is found by its digest, so how long it takes says nothing about the tokens.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from entrypoint.problems import UNAUTHORIZED, ProblemError
from runtime import lines_of, read_edited
from streams.errors import ConfigurationError

log = structlog.get_logger()

#: How often the file is looked at for changes; a token that was taken out is refused after so long at the latest.
CHECK_SECONDS = 1.0
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tillstream"'}


class Tokens:
    """The tokens of a file, read again when it changes.

    A file that cannot be read any more leaves the tokens as they were, and is logged; one that holds none lets
    nobody in.

    Arguments:
        path: the file.
        clock: monotonic seconds.

    Raises ConfigurationError when the file cannot be read or holds no token at the start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._next_check = clock() + CHECK_SECONDS
        try:
            self._stamp = _stamp(path)
            self._digests = _read(path)
        except (OSError, ConfigurationError) as exc:
            raise ConfigurationError(f"the tokens file {path} cannot be read: {_why(exc)}") from exc
        if not self._digests:
            raise ConfigurationError(f"the tokens file {path} holds no token")

    def __len__(self) -> int:
        return len(self._digests)

    def check(self, authorization: str | None) -> None:
        """Let a request in by its `Authorization` header, or raise the ProblemError for it."""
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._refresh()
        if authorization is None:
            raise ProblemError(UNAUTHORIZED, "expected the header Authorization: Bearer <token>", headers=_CHALLENGE)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or _digest(token.strip()) not in self._digests:
            hint = "; of name:token, send only what is behind the colon" if ":" in token else ""
            raise ProblemError(UNAUTHORIZED, f"the token is not one that is known here{hint}", headers=_CHALLENGE)

    def _refresh(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            digests = _read(self._path)
        except (OSError, ConfigurationError) as exc:
            log.warning("tokens file cannot be read, keeping the tokens that it had", error=_why(exc))
            return
        self._stamp = stamp
        self._digests = digests
        log.info("tokens read again", tokens=len(digests))


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> frozenset[bytes]:
    lines = (line for _, line in lines_of(read_edited(path)))
    tokens = (line.partition(":")[2].strip() if ":" in line else line for line in lines)
    return frozenset(_digest(token) for token in tokens if token)  # the empty one would let everybody in


def _why(error: OSError | ConfigurationError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
