"""The Store protocol on SQLite: one file, for one machine, nothing to install.

Every write is one transaction with `synchronous=FULL`, so it survives a kill and a power loss once it returned. One
thread writes, another reads, so a read never waits for a write. A second process may open the same file at the same
time, as `tillstream audit` does.

Not here: threads and transactions (`store.sqlite_thread`), tables and rows (`store.sqlite_tables`), lists page by page
(`store.sqlite_lists`).
"""

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from analytics import DayTally, encode_day, encode_tally
from store.codec import (
    day_from_text,
    head_from_text,
    head_to_text,
    month_from_text,
    month_to_text,
    tally_from_text,
)
from store.errors import StoreDataError, StoreError
from store.protocol import (
    LEDGER_BYTES,
    LEDGER_LIMIT,
    EncodedEvent,
    EventQuery,
    Head,
    LedgerEntry,
    Owner,
    Page,
    Rejected,
    RejectedQuery,
    RejectedStep,
    RejectedSummary,
    StoredEvent,
    StoreIdentity,
    seal_id,
)
from store.sqlite_lists import event_page, rejected_count, rejected_item, rejected_page
from store.sqlite_tables import (
    categories_to_text,
    insert_statement,
    key_columns,
    make_file,
    make_stream,
    select,
    stored_event,
    table_of,
)
from store.sqlite_thread import SqliteThread
from streams.base import Event

T = TypeVar("T")

#: A list that takes longer is ended: nobody waits longer for one, and others wait behind it.
LIST_LIMIT_S = 25.0
#: Rows read at once by scans, and tallies dropped in one transaction: other work gets its turn in between.
_CHUNK = 500
#: A scan reads no more rows at once when those read have so many bytes.
_CHUNK_BYTES = 1024**2
_APPEND = (
    "INSERT INTO ledger (frame, stream, writer, seq, tally, at, open) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
_ENTRIES = "SELECT frame, stream, writer, seq, tally, at, rowid FROM ledger"
_OPEN = "SELECT writer FROM ledger INDEXED BY ledger_open WHERE stream = ? AND open = 1"
_TAIL = f"{_ENTRIES} WHERE stream = ? AND writer = ? AND seq > ? ORDER BY seq LIMIT ?"


@dataclass(frozen=True, slots=True)
class _EventRow:
    """An event's columns before and after `stored`, and its keys by name."""

    before: tuple[Any, ...]
    body: bytes
    keys: Mapping[str, str]


class EmbeddedStore:
    """A store in one SQLite file. Made by `store.connect`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = SqliteThread(path, writes=True)
        self._reader = SqliteThread(path, writes=False)
        # Lists may take long, and nothing that receipts wait for may wait for what somebody looks up.
        self._lister = SqliteThread(path, writes=False, limit_s=LIST_LIMIT_S)
        self._keys: dict[str, tuple[str, ...]] = {}

    @classmethod
    async def open(cls, path: str, *, create: bool = True) -> "EmbeddedStore":
        """Open a file, made if need be and if `create`. Raises StoreError."""
        return cls(await asyncio.to_thread(make_file, path, create=create))

    async def prepare(self, stream: str, key_names: Sequence[str]) -> None:
        """Make a stream's table and indexes; see the protocol."""

        def work(connection: sqlite3.Connection) -> None:
            make_stream(connection, stream, key_names)

        await self._writer.run(work)
        self._keys.pop(stream, None)

    def _names(self, connection: sqlite3.Connection, stream: str) -> tuple[str, ...] | None:
        """The stream's key names; None when nobody prepared it yet, so that nothing is stored."""
        names = self._keys.get(stream)
        if names is None:
            names = key_columns(connection, stream)
            if names is not None:
                self._keys[stream] = names
        return names

    # Events

    def encode(self, event: Event, frame: str) -> EncodedEvent:
        """An event as a row: its body is its line. What else the event holds can go."""
        columns = (
            event.id,
            frame,
            event.hash,
            event.day,
            float(event.time),
            event.amount,
            categories_to_text(event.categories),
            float(event.received),
        )
        return EncodedEvent(id=event.id, record=_EventRow(columns, event.line, event.keys))

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        """Insert what is not there, all in one transaction; see the protocol."""

        def work(connection: sqlite3.Connection) -> set[int]:
            names = self._names(connection, stream)
            if names is None:
                raise StoreError(f"{self._path}: the stream {stream} is not prepared")
            statement = insert_statement(stream, names)
            cursor = connection.cursor()
            taken = set()
            for index, encoded in enumerate(events):
                row: _EventRow = encoded.record
                keys = (row.keys.get(name) for name in names)
                cursor.execute(statement, (*row.before, stored, row.body, *keys))
                if cursor.rowcount == 0:
                    taken.add(index)
            return taken

        return await self._writer.run(work) if events else set()

    async def owners(self, stream: str, ids: Sequence[str]) -> dict[str, Owner]:
        """Owners by id."""

        def work(connection: sqlite3.Connection) -> dict[str, Owner]:
            if self._names(connection, stream) is None:
                return {}
            statement = f"SELECT frame, hash FROM {table_of(stream)} WHERE id = ?"  # noqa: S608 - the name is checked
            found = ((one, connection.execute(statement, (one,)).fetchone()) for one in ids)
            return {one: Owner(*row) for one, row in found if row is not None}

        return await self._reader.run(work)

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        """One stored event."""
        found = await self._select(stream, "WHERE id = ?", [id])
        return found[0][1] if found else None

    async def events(self, stream: str, query: EventQuery) -> Page[StoredEvent]:
        """A page of stored events."""

        def work(connection: sqlite3.Connection) -> Page[StoredEvent]:
            names = self._names(connection, stream)
            return Page() if names is None else event_page(connection, stream, names, query)

        return await self._lister.run(work)

    async def scan_events(self, stream: str) -> AsyncIterator[StoredEvent]:
        """All stored events, in the order of their rows."""
        after = 0
        while found := await self._select(stream, "WHERE rowid > ? ORDER BY rowid LIMIT ?", [after, _CHUNK]):
            for _, event in found:
                yield event
            after = found[-1][0]

    async def _select(self, stream: str, rest: str, values: Sequence[Any]) -> list[tuple[int, StoredEvent]]:
        def work(connection: sqlite3.Connection) -> list[tuple[int, StoredEvent]]:
            names = self._names(connection, stream)
            found: list[tuple[int, StoredEvent]] = []
            size = 0
            if names is not None:
                for row in connection.execute(select(stream, names, rest), values):
                    found.append((row[0], stored_event(row, names)))
                    size += len(found[-1][1].body)
                    if size > _CHUNK_BYTES:
                        break
            return found

        return await self._reader.run(work)

    # Ledger

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        """Append in order up to the first that is taken; see the protocol."""

        def work(connection: sqlite3.Connection) -> int:
            for index, entry in enumerate(entries):
                tally = None if entry.tally is None else encode_tally(entry.tally).decode()
                done = connection.execute(
                    _APPEND,
                    (
                        entry.frame,
                        entry.stream,
                        entry.writer,
                        entry.seq,
                        tally,
                        float(entry.at),
                        1 if entry.seq == 1 else None,
                    ),
                )
                if done.rowcount == 0:
                    return index
            return len(entries)

        return await self._writer.run(work) if entries else 0

    async def entry(self, stream: str, frame: str) -> LedgerEntry | None:
        """The ledger entry of a frame."""

        def work(connection: sqlite3.Connection) -> LedgerEntry | None:
            row = connection.execute(f"{_ENTRIES} WHERE frame = ? AND stream = ?", (frame, stream)).fetchone()
            return None if row is None else _entry(row, lenient=True)

        return await self._reader.run(work)

    async def ledger_after(
        self,
        stream: str,
        offsets: Mapping[str, int],
        *,
        limit: int = LEDGER_LIMIT,
        max_bytes: int = LEDGER_BYTES,
    ) -> Page[LedgerEntry]:
        """Entries past the offsets, writer by writer, in one snapshot."""

        def work(connection: sqlite3.Connection) -> Page[LedgerEntry]:
            found: list[LedgerEntry] = []
            size = 0
            writers = {row[0] for row in connection.execute(_OPEN, (stream,))} | offsets.keys()
            for writer in sorted(writers):
                room = limit - len(found) + 1
                for row in connection.execute(_TAIL, (stream, writer, offsets.get(writer, 0), room)):
                    size += len(row[4] or "")
                    if found and (len(found) == limit or size > max_bytes):
                        return Page(found, more=True)
                    found.append(_entry(row))
            return Page(found, more=False)

        return await self._reader.run(work)

    async def close_writers(self, stream: str, writers: Iterable[str]) -> None:
        """Mark their first entries."""
        rows = [(stream, writer) for writer in writers]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE ledger SET open = NULL WHERE stream = ? AND writer = ? AND seq = 1", rows)

        if rows:
            await self._writer.run(work)

    async def scan_ledger(self, stream: str, since: float = 0.0) -> AsyncIterator[LedgerEntry]:
        """All ledger entries since a time, in the order of their rows."""
        after = 0
        while found := await self._reader.run(partial(_ledger_page, stream, since, after)):
            for _, entry in found:
                yield entry
            after = found[-1][0]

    async def tallies_dropped_until(self, stream: str) -> float:
        """When the newest entry without its tally was appended."""

        def work(connection: sqlite3.Connection) -> float:
            newest = "SELECT max(at) FROM ledger WHERE stream = ? AND tally IS NULL"
            return float(connection.execute(newest, (stream,)).fetchone()[0] or 0.0)

        return await self._reader.run(work)

    # Checkpoints

    async def head(self, stream: str) -> Head | None:
        """The stream's head."""

        def work(connection: sqlite3.Connection) -> Head | None:
            row = connection.execute("SELECT version, state FROM checkpoints WHERE stream = ?", (stream,)).fetchone()
            return None if row is None else head_from_text(stream, row[0], row[1])

        return await self._reader.run(work)

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        """Write a new day document."""
        return await self._write_document(stream, day, encode_day(tally).decode(), version)

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        """Read a day document."""
        return await self._read_document(stream, document, day_from_text)

    async def write_month(self, stream: str, month: str, days: Mapping[str, str], version: int) -> str:
        """Write a new month document; it lies beside the days, under a name of its own."""
        return await self._write_document(stream, month, month_to_text(days), version)

    async def read_month(self, stream: str, document: str) -> dict[str, str] | None:
        """Read a month document."""
        return await self._read_document(stream, document, month_from_text)

    async def _write_document(self, stream: str, name: str, text: str, version: int) -> str:
        document = f"{stream}:{name}:{uuid.uuid4().hex}"
        values = (document, stream, name, text, version, time.time())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO days (id, stream, day, tally, version, at) VALUES (?, ?, ?, ?, ?, ?)", values
            )

        await self._writer.run(work)
        return document

    async def _read_document(self, stream: str, document: str, read: Callable[[str, str], T]) -> T | None:
        def work(connection: sqlite3.Connection) -> T | None:
            row = connection.execute(
                "SELECT tally FROM days WHERE id = ? AND stream = ?", (document, stream)
            ).fetchone()
            return None if row is None else read(document, row[0])

        return await self._reader.run(work)

    async def swap_head(self, head: Head) -> bool:
        """Compare and set the head's version; see the protocol."""
        state = head_to_text(head)

        def work(connection: sqlite3.Connection) -> bool:
            if head.version == 1:
                done = connection.execute(
                    "INSERT INTO checkpoints (stream, version, state) VALUES (?, 1, ?) ON CONFLICT DO NOTHING",
                    (head.stream, state),
                )
            else:
                done = connection.execute(
                    "UPDATE checkpoints SET version = ?, state = ? WHERE stream = ? AND version = ?",
                    (head.version, state, head.stream, head.version - 1),
                )
            return done.rowcount == 1

        return await self._writer.run(work)

    async def tidy(self, head: Head, *, named: AbstractSet[str], tallies_before: float, days_before: float) -> None:
        """Drop old tallies, a few at a time, and old documents of days and months; see the protocol."""

        def old_tallies(connection: sqlite3.Connection) -> list[int]:
            rows = connection.execute(
                "SELECT rowid, writer, seq FROM ledger INDEXED BY ledger_kept "
                "WHERE stream = ? AND tally IS NOT NULL AND at < ?",
                (head.stream, tallies_before),
            )
            offsets: dict[str, float] = dict(head.offsets)
            found = []
            for rowid, writer, seq in rows:
                if writer not in offsets:
                    offsets[writer] = inf if _is_closed(connection, head.stream, writer) else 0
                if seq <= offsets[writer]:
                    found.append(rowid)
            return found

        dropped = await self._reader.run(old_tallies)
        for start in range(0, len(dropped), _CHUNK):
            await self._writer.run(partial(_drop_tallies, dropped[start : start + _CHUNK]))

        def drop_days(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM days WHERE stream = ? AND at < ? AND version <= ? "
                "AND id NOT IN (SELECT value FROM json_each(?))",
                (head.stream, days_before, head.version, json.dumps([*named])),
            )

        await self._writer.run(drop_days)

    # Identity

    async def identify(self, stream: str, zone: str) -> StoreIdentity:
        """Insert what is not there; see the protocol."""
        rows = [("id", uuid.uuid4().hex), ("epoch", uuid.uuid4().hex), ("adopted", "[]"), (f"zone:{stream}", zone)]

        def work(connection: sqlite3.Connection) -> StoreIdentity | None:
            connection.executemany("INSERT INTO identity VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
            return _identity(connection, stream)

        found = await self._writer.run(work)
        assert found is not None
        return found

    async def identity(self, stream: str) -> StoreIdentity | None:
        """Read it."""
        return await self._reader.run(partial(_identity, stream=stream))

    async def renew(self) -> str:
        """Set another epoch."""
        epoch = uuid.uuid4().hex
        await self._change_identity("epoch", lambda _: epoch)
        return epoch

    async def adopt(self, id: str) -> None:
        """Add an id to those that are accepted."""
        await self._change_identity("adopted", lambda ids: json.dumps(sorted({*json.loads(ids), id})))

    async def _change_identity(self, name: str, change: Callable[[str], str]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT value FROM identity WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise StoreDataError(f"{self._path} has no identity yet: nothing was ever stored in it")
            connection.execute("UPDATE identity SET value = ? WHERE name = ?", (change(row[0]), name))

        await self._writer.run(work)

    # Rejected

    async def reject(self, items: Sequence[Rejected]) -> None:
        """Insert what is not there yet, and note what is rejected again; see the protocol."""
        rows = [
            (one.id, one.stream, one.reason, one.detail, one.source, one.body, float(one.first_seen)) for one in items
        ]
        again = [(one.id, one.source, one.stream, float(one.first_seen), one.id, one.source) for one in items]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO rejected (id, stream, reason, detail, source, body, first_seen) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                rows,
            )
            connection.executemany(
                "INSERT INTO rejected_steps (item, what, frame, stream, at, note) SELECT ?, 'again', ?, ?, ?, '' "
                "WHERE NOT EXISTS (SELECT 1 FROM rejected WHERE id = ? AND source = ?) ON CONFLICT DO NOTHING",
                again,
            )

        if rows:
            await self._writer.run(work)

    async def note(self, steps: Sequence[RejectedStep]) -> None:
        """Insert what is not there yet."""
        rows = [(one.item, one.what, one.frame, one.stream, float(one.at), one.note) for one in steps]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO rejected_steps (item, what, frame, stream, at, note) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                rows,
            )

        if rows:
            await self._writer.run(work)

    async def rejected(self, stream: str, query: RejectedQuery) -> Page[RejectedSummary]:
        """A page of rejected items."""
        return await self._lister.run(lambda connection: rejected_page(connection, stream, query))

    async def rejected_item(self, stream: str, id: str) -> Rejected | None:
        """One rejected item."""
        return await self._lister.run(lambda connection: rejected_item(connection, stream, id))

    async def rejected_count(self, stream: str, status: str | None = None) -> dict[str, int]:
        """Rejected items by reason."""
        return await self._lister.run(lambda connection: rejected_count(connection, stream, status))

    # The file

    async def ping(self) -> None:
        """Read something from the file."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("SELECT count(*) FROM checkpoints").fetchone()

        await self._reader.run(work)

    async def close(self) -> None:
        """Finish what was asked for, then close the file."""
        await self._writer.close()
        await self._reader.close()
        await self._lister.close()


def _entry(row: Sequence[Any], *, lenient: bool = False) -> LedgerEntry:
    frame, stream, writer, seq, text, at, _ = row
    tally = tally_from_text(frame, text, lenient=lenient)
    return LedgerEntry(frame=frame, stream=stream, writer=writer, seq=seq, tally=tally, at=at)


def _ledger_page(
    stream: str, since: float, after: int, connection: sqlite3.Connection
) -> list[tuple[int, LedgerEntry]]:
    statement = f"{_ENTRIES} WHERE stream = ? AND rowid > ? AND at >= ? ORDER BY rowid LIMIT ?"
    found: list[tuple[int, LedgerEntry]] = []
    size = 0
    for row in connection.execute(statement, (stream, after, since, _CHUNK)):
        found.append((row[-1], _entry(row)))
        size += len(row[4] or "")
        if size > _CHUNK_BYTES:
            break
    return found


def _drop_tallies(rows: Sequence[int], connection: sqlite3.Connection) -> None:
    connection.executemany("UPDATE ledger SET tally = NULL WHERE rowid = ?", [(row,) for row in rows])


def _is_closed(connection: sqlite3.Connection, stream: str, writer: str) -> bool:
    """Whether a writer is sealed, and its first entry says that it is no longer open: all of it is folded."""
    sealed = connection.execute("SELECT 1 FROM ledger WHERE frame = ?", (seal_id(writer),)).fetchone()
    first = connection.execute(
        "SELECT open FROM ledger WHERE stream = ? AND writer = ? AND seq = 1", (stream, writer)
    ).fetchone()
    return sealed is not None and first is not None and first[0] is None


def _identity(connection: sqlite3.Connection, stream: str) -> StoreIdentity | None:
    found = dict(connection.execute("SELECT name, value FROM identity").fetchall())
    zone = found.get(f"zone:{stream}")
    if zone is None:
        return None
    return StoreIdentity(id=found["id"], epoch=found["epoch"], zone=zone, adopted=tuple(json.loads(found["adopted"])))
