"""The embedded broker's file: one SQLite database, one table per queue, and the lock that keeps others out.

Not here: what the rows mean to consumers (`broker.embedded_queues`). Everything but the lock is used by one thread.
A turn costs a handful of statements whatever it carries, since each one is a hand-over of the interpreter's lock.
"""

# ruff: noqa: S608 - only table names are put into statements, quoted, and they come from the topology

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from broker.errors import BrokerError, BrokerUnavailableError

#: Version of the tables, in `PRAGMA user_version`; a newer file is refused.
FILE_VERSION = 1
#: Frames are tens of kilobytes: fewer overflow pages than with 4 KiB, and small rows still cheap.
PAGE_BYTES = 8192
#: 32 MiB of log before it is copied back: most messages are acknowledged by then and never copied.
CHECKPOINT_PAGES = 4096
CACHE_KIB = 16 * 1024
#: Rows per INSERT statement; each number of rows is one prepared statement.
ROWS_PER_INSERT = 64

_COLUMNS = "id, attempts, exchange, routing_key, message_id, headers, body"


@dataclass(frozen=True, slots=True)
class Record:
    """A message as the file keeps it; `headers` is a JSON object."""

    exchange: str
    routing_key: str
    message_id: str | None
    headers: str
    body: bytes


class Row(NamedTuple):
    """A message in a queue: its position, and how often it was handed to a consumer."""

    id: int
    attempts: int
    record: Record


class Ready(NamedTuple):
    """What a queue holds: rows, bytes of their bodies, highest id."""

    messages: int
    size: int
    last: int


class FileLock:
    """Makes one process the owner of a broker file; the kernel releases it with the process, however it dies."""

    def __init__(self, path: Path) -> None:
        """Take the lock beside `path`. Raises BrokerError, naming the process, when somebody has it."""
        self.path = path.with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise BrokerUnavailableError(f"{self.path} cannot be opened: {exc.strerror}") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            owner = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise BrokerError(
                f"{path} is in use by process {owner}: only one process can own an embedded broker; "
                "stop that one first, or give this one a folder of its own"
            ) from exc
        with suppress(OSError):  # the number is there for people only; a full disk must not keep us out
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in; the lock file stays, since removing it could take it from under the next owner."""
        os.close(self._file)


class BrokerFile:
    """The tables of the queues; raises sqlite3.Error as it comes, the caller decides what that means."""

    def __init__(self, path: Path, queues: Iterable[str]) -> None:
        """Open or make the file. Raises BrokerError for a file that is not ours or newer."""
        self.path = path
        self._queues = tuple(queues)
        self._db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, cached_statements=512, timeout=5)
        try:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")  # a confirm has to survive a power loss
            db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            if version > FILE_VERSION:
                raise BrokerError(f"{self.path} has format {version}, this release knows {FILE_VERSION}")
            db.execute("BEGIN IMMEDIATE")
            for queue in self._queues:
                db.execute(
                    f"CREATE TABLE IF NOT EXISTS {_table(queue)} (id INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, "
                    "exchange TEXT NOT NULL, routing_key TEXT NOT NULL, message_id TEXT, headers TEXT NOT NULL, "
                    "body BLOB NOT NULL) STRICT"
                )
            db.execute("CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT")
            db.execute(f"PRAGMA user_version={FILE_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def reopen(self) -> None:
        """Start anew after an error, and write something to see whether that is possible again."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._db = self._connect()
        self._db.execute("INSERT INTO probe VALUES (1, 1) ON CONFLICT DO UPDATE SET count = count + 1")

    def close(self) -> None:
        """Close; SQLite copies the log back and removes it."""
        self._db.close()

    def begin(self) -> None:
        """Begin a turn; one that changes nothing costs nothing."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the turn durable. After an error here its outcome is unknown."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the turn, as far as there is one."""
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def ready(self, queue: str) -> Ready:
        """Count a queue's rows."""
        sql = f"SELECT count(*), ifnull(sum(length(body)), 0), ifnull(max(id), 0) FROM {_table(queue)}"
        return Ready(*self._db.execute(sql).fetchone())

    def ready_among(self, queue: str, ids: Iterable[int]) -> Ready:
        """Count those of some ids that are there."""
        sql = (
            f"SELECT count(*), ifnull(sum(length(body)), 0), ifnull(max(id), 0) FROM {_table(queue)} "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return Ready(*self._db.execute(sql, (_array(ids),)).fetchone())

    def insert(self, queue: str, rows: Sequence[Row]) -> None:
        """Add messages."""
        for start in range(0, len(rows), ROWS_PER_INSERT):
            chunk = rows[start : start + ROWS_PER_INSERT]
            values: list[object] = []
            for number, attempts, record in chunk:
                values += (
                    number,
                    attempts,
                    record.exchange,
                    record.routing_key,
                    record.message_id,
                    record.headers,
                    record.body,
                )
            places = ",".join(["(?,?,?,?,?,?,?)"] * len(chunk))
            self._db.execute(f"INSERT INTO {_table(queue)} ({_COLUMNS}) VALUES {places}", values)

    def after(self, queue: str, id: int, limit: int) -> list[Row]:
        """The first messages past an id, oldest first."""
        sql = f"SELECT {_COLUMNS} FROM {_table(queue)} WHERE id > ? ORDER BY id LIMIT ?"
        return [_row(values) for values in self._db.execute(sql, (id, limit))]

    def sizes_after(self, queue: str, id: int, limit: int) -> list[tuple[int, int]]:
        """Id and body length of the first messages past an id, oldest first."""
        sql = f"SELECT id, length(body) FROM {_table(queue)} WHERE id > ? ORDER BY id LIMIT ?"
        return self._db.execute(sql, (id, limit)).fetchall()

    def some(self, queue: str, ids: Iterable[int]) -> list[Row]:
        """Those of the messages that are there, oldest first."""
        sql = f"SELECT {_COLUMNS} FROM {_table(queue)} WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        return [_row(values) for values in self._db.execute(sql, (_array(ids),))]

    def tried_more_than(self, queue: str, attempts: int) -> list[tuple[int, int]]:
        """Id and attempts of the messages handed out more often than that, oldest first."""
        sql = f"SELECT id, attempts FROM {_table(queue)} WHERE attempts > ? ORDER BY id"
        return self._db.execute(sql, (attempts,)).fetchall()

    def mark(self, queue: str, ids: Iterable[int]) -> None:
        """Count one more attempt for each."""
        sql = f"UPDATE {_table(queue)} SET attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(?))"
        self._db.execute(sql, (_array(ids),))

    def empty(self, queue: str) -> None:
        """Delete all messages of a queue."""
        self._db.execute(f"DELETE FROM {_table(queue)}")

    def delete(self, queue: str, ids: Iterable[int]) -> None:
        """Forget messages."""
        self._db.execute(f"DELETE FROM {_table(queue)} WHERE id IN (SELECT value FROM json_each(?))", (_array(ids),))


def _row(values: tuple[int, int, str, str, str | None, str, bytes]) -> Row:
    return Row(values[0], values[1], Record(*values[2:]))


def _array(ids: Iterable[int]) -> str:
    """Ids as a JSON array: one prepared statement for any number of them."""
    return f"[{','.join(map(str, ids))}]"


def _table(queue: str) -> str:
    """The quoted name of a queue's table."""
    return '"queue:' + queue.replace('"', '""') + '"'
