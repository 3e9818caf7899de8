"""Tables of the embedded store, and events to and from their rows. Runs inside a `store.sqlite_thread`.

Each stream has a table of its own, with one column for each of its keys. The version of all this is SQLite's
`user_version`; a newer one is refused, never guessed at.
"""

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.errors import StoreDataError, StoreUnavailableError
from store.protocol import EventQuery, StoredEvent
from store.sqlite_thread import connect, translate

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    frame TEXT PRIMARY KEY, stream TEXT NOT NULL, writer TEXT NOT NULL, seq INTEGER NOT NULL, tally TEXT,
    at REAL NOT NULL, UNIQUE (stream, writer, seq)
);
CREATE INDEX IF NOT EXISTS ledger_kept ON ledger (stream, at) WHERE tally IS NOT NULL;
CREATE TABLE IF NOT EXISTS checkpoints (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS days (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, day TEXT NOT NULL, tally TEXT NOT NULL, version INTEGER NOT NULL,
    at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS rejected (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, source TEXT NOT NULL,
    body BLOB NOT NULL, first_seen REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS rejected_stream ON rejected (stream, id);
CREATE INDEX IF NOT EXISTS rejected_reason ON rejected (stream, reason);
"""
#: Columns of every stream's table, before those of its keys.
_COLUMNS = ("id", "frame", "hash", "day", "received", "stored", "body")
_KEY = "key_"


def make_file(name: str) -> Path:
    """Make a file and its tables if they are not there; its absolute path. Raises StoreError, and its branch
    StoreDataError for a newer file."""
    path = Path(name).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreDataError(f"{path} is of version {version}, this release reads up to {SCHEMA_VERSION}")
            if version < SCHEMA_VERSION:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc
    except OSError as exc:
        raise StoreUnavailableError(f"{path} cannot be made: {exc.strerror}") from exc
    return path


def make_stream(connection: sqlite3.Connection, stream: str, key_names: Sequence[str]) -> None:
    """Make a stream's table, missing key columns, and the indexes for its queries."""
    table = table_of(stream)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY, frame TEXT NOT NULL, hash TEXT NOT NULL, "
        "day TEXT NOT NULL, received REAL NOT NULL, stored REAL NOT NULL, body BLOB NOT NULL)"
    )
    there = key_columns(connection, stream) or ()
    for name in key_names:
        column = f"{_KEY}{_checked(name)}"
        if name not in there:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")
        # The first key is the one that is asked for together with a day.
        indexed = {"": f"{column}, id", "_day": f"{column}, day, id"} if name == key_names[0] else {"": f"{column}, id"}
        for suffix, columns in indexed.items():
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS {table}_{column}{suffix} ON {table} ({columns}) WHERE {column} IS NOT NULL"
            )
    connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_day ON {table} (day, id)")


def table_of(stream: str) -> str:
    """The name of a stream's table. Raises ValueError for a name that cannot be part of SQL."""
    return f"events_{_checked(stream)}"


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"not a name for a stream or a key: {name!r}")
    return name


def key_columns(connection: sqlite3.Connection, stream: str) -> tuple[str, ...] | None:
    """The names of the keys that a stream's table has columns for; None when the table is not there."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table_of(stream),)).fetchall()
    names: list[str] = [row[0] for row in rows]
    return tuple(name.removeprefix(_KEY) for name in names if name.startswith(_KEY)) if names else None


def insert_statement(stream: str, names: Sequence[str]) -> str:
    """SQL that inserts one event unless its id is taken; values as in `_COLUMNS`, then the keys."""
    columns = [*_COLUMNS, *(f"{_KEY}{name}" for name in names)]
    marks = ", ".join("?" * len(columns))
    into = f"{table_of(stream)} ({', '.join(columns)})"
    return f"INSERT INTO {into} VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - names are checked


def select(stream: str, names: Sequence[str], rest: str) -> str:
    """SQL that reads rows for `stored_event`, each after its rowid."""
    columns = ["rowid", *_COLUMNS, *(f"{_KEY}{name}" for name in names)]
    return f"SELECT {', '.join(columns)} FROM {table_of(stream)} {rest}"  # noqa: S608 - names are checked


def page(query: EventQuery, names: Sequence[str]) -> tuple[str, list[Any]] | None:
    """The end of a SELECT for a query and its values; None when it asks for a key that no event has."""
    conditions, values = [], []
    for name, value in query.keys.items():
        if name not in names:
            return None
        conditions.append(f"{_KEY}{name} = ?")
        values.append(value)
    if query.day is not None:
        # The plus keeps SQLite from choosing the day's index, which is the long way round for a single key.
        conditions.append("+day = ?" if query.keys and names[0] not in query.keys else "day = ?")
        values.append(query.day)
    if query.after is not None:
        conditions.append("id > ?")
        values.append(query.after)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return f"{where}ORDER BY id LIMIT ?", [*values, query.limit]


def stored_event(row: Sequence[Any], names: Sequence[str]) -> StoredEvent:
    """Read a row of `select`."""
    keys = {name: value for name, value in zip(names, row[8:], strict=True) if value is not None}
    return StoredEvent(**dict(zip(_COLUMNS, row[1:8], strict=True)), keys=keys, time=0.0, amount=0, categories=())
