"""Tables of the embedded store, and events to and from their rows. Runs inside a `store.sqlite_thread`.

Each stream has a table of its own, with one column for each of its keys. The version of all this is SQLite's
`user_version`; another one is refused, never guessed at. Not here: lists and their order (`store.sqlite_lists`).
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from store.errors import StoreDataError, StoreMissingError, StoreUnavailableError
from store.protocol import StoredEvent
from store.sqlite_thread import connect, translate

SCHEMA_VERSION = 4
#: Versions that are brought up to this one by making what is missing; 0 is a new file.
_UPGRADED = (0, 2, 3)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    frame TEXT PRIMARY KEY, stream TEXT NOT NULL, writer TEXT NOT NULL, seq INTEGER NOT NULL, tally TEXT,
    at REAL NOT NULL, open INTEGER, UNIQUE (stream, writer, seq)
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
CREATE TABLE IF NOT EXISTS rejected_steps (
    item TEXT NOT NULL, what TEXT NOT NULL, frame TEXT NOT NULL, stream TEXT NOT NULL, at REAL NOT NULL,
    note TEXT NOT NULL, PRIMARY KEY (item, what, frame)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rejected_newest ON rejected (stream, first_seen, id);
CREATE INDEX IF NOT EXISTS rejected_reason ON rejected (stream, reason, first_seen, id);
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ledger_open ON ledger (stream, writer) WHERE open = 1;
"""
#: Columns of every stream's table, before those of its keys.
_COLUMNS = {
    "id": "TEXT PRIMARY KEY",
    "frame": "TEXT NOT NULL",
    "hash": "TEXT NOT NULL",
    "day": "TEXT NOT NULL",
    "time": "REAL NOT NULL",
    "amount": "INTEGER NOT NULL",
    "categories": "TEXT NOT NULL",
    "received": "REAL NOT NULL",
    "stored": "REAL NOT NULL",
    "body": "BLOB NOT NULL",
}
_KEY = "key_"
#: Stands before, between and after the names in the column `categories`, and is escaped within them.
_SEPARATOR = "\n"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\0": "\\0"})
_ESCAPED = re.compile(r"\\(.)")
_MEANINGS = {"\\": "\\", "n": "\n", "0": "\0"}


def make_file(name: str, *, create: bool = True) -> Path:
    """Make a file and its tables if they are not there; its absolute path. A file of the version before gets what it
    lacks. Raises StoreError, and its branches StoreDataError for a file of another version and StoreMissingError for
    one that is not there and not to be made."""
    path = Path(name).expanduser().absolute()
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            _check_made(path)
        connection = connect(path, create=create)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (*_UPGRADED, SCHEMA_VERSION):
                raise StoreDataError(f"{path} is of version {version}, this release reads version {SCHEMA_VERSION}")
            if version != SCHEMA_VERSION:
                _upgrade(connection)
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc
    except OSError as exc:
        raise StoreUnavailableError(f"{path} cannot be made: {exc.strerror}") from exc
    return path


def _check_made(path: Path) -> None:
    """Raise StoreMissingError unless the file is a store. It is only read: it may be a database of another program."""
    if not path.is_file():
        raise StoreMissingError(f"there is no store at {path}")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            raise StoreMissingError(f"{path} holds no store")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Make what a file lacks, in one transaction; another process may have done so meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            if _lacks_open(connection):
                connection.execute("ALTER TABLE ledger ADD COLUMN open INTEGER")
                connection.execute("UPDATE ledger SET open = 1 WHERE seq = 1")  # as none of them is closed
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _lacks_open(connection: sqlite3.Connection) -> bool:
    """Whether there is a ledger of before version 4, in which no entry says whether its writer is open."""
    names = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info('ledger')")}
    return bool(names) and "open" not in names


def make_stream(connection: sqlite3.Connection, stream: str, key_names: Sequence[str]) -> None:
    """Make a stream's table, missing key columns, and the indexes for its queries."""
    table = table_of(stream)
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
    there = key_columns(connection, stream) or ()
    for name in key_names:
        column = key_column(name)
        if name not in there:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {list_index(stream, name)} ON {table} ({column}, day, time, id) "
            f"WHERE {column} IS NOT NULL"
        )
    connection.execute(f"CREATE INDEX IF NOT EXISTS {list_index(stream)} ON {table} (day, time, id)")


def table_of(stream: str) -> str:
    """The name of a stream's table. Raises ValueError for a name that cannot be part of SQL."""
    return f"events_{_checked(stream)}"


def key_column(name: str) -> str:
    """The name of a key's column. Raises ValueError for a name that cannot be part of SQL."""
    return f"{_KEY}{_checked(name)}"


def list_index(stream: str, key: str | None = None) -> str:
    """The name of the index in which a stream's events, or those that have a key, are in the order of lists."""
    return f"{table_of(stream)}_newest" if key is None else f"{table_of(stream)}_{key_column(key)}_newest"


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


def categories_to_text(categories: Sequence[str]) -> str:
    """Names as one text, in which `category_to_find` is found for exactly these names; they may hold anything."""
    return "".join((_SEPARATOR, *(one.translate(_ESCAPES) + _SEPARATOR for one in categories))) if categories else ""


def category_to_find(category: str) -> str:
    """What a text of `categories_to_text` holds if this name is one of them."""
    return f"{_SEPARATOR}{category.translate(_ESCAPES)}{_SEPARATOR}"


def categories_from_text(text: str) -> tuple[str, ...]:
    """Read what `categories_to_text` wrote."""
    names = text[1:-1].split(_SEPARATOR) if text else []
    return tuple(_ESCAPED.sub(lambda found: _MEANINGS[found[1]], one) if "\\" in one else one for one in names)


def stored_event(row: Sequence[Any], names: Sequence[str]) -> StoredEvent:
    """Read a row of `select`."""
    end = len(_COLUMNS) + 1
    values = dict(zip(_COLUMNS, row[1:end], strict=True))
    values["categories"] = categories_from_text(values["categories"])
    keys = {name: value for name, value in zip(names, row[end:], strict=True) if value is not None}
    return StoredEvent(**values, keys=keys)
