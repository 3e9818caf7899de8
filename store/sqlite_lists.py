"""Lists of the embedded store, page by page, newest first. Runs inside a `store.sqlite_thread`.

A page follows an index backwards, from the place of the last item of the page before; conditions without an index
are looked at on the way.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from store.protocol import (
    PAGE_BYTES,
    EventQuery,
    Page,
    Rejected,
    RejectedQuery,
    RejectedStep,
    RejectedSummary,
    StoredEvent,
)
from store.sqlite_tables import category_to_find, key_column, list_index, select, stored_event, table_of

#: Index entries that are counted to find the key that few events have: what a key has beyond it is many.
_MANY = 1000
_REJECTED = ("id", "stream", "reason", "detail", "source", "first_seen", "body")
_SUMMARY = (*_REJECTED[:-1], "size")
#: The length of a blob is known without reading it.
_SUMMARY_COLUMNS = ", ".join((*_REJECTED[:-1], "length(body)"))
_STEP = ("item", "what", "frame", "stream", "at", "note")
#: `Rejected.status` of a row of `rejected`.
_STATUS = """CASE
    WHEN EXISTS (SELECT 1 FROM rejected_steps WHERE item = rejected.id AND what = 'discarded') THEN 'discarded'
    WHEN EXISTS (
        SELECT frame FROM rejected_steps WHERE item = rejected.id AND what = 'replayed'
        EXCEPT SELECT frame FROM rejected_steps WHERE item = rejected.id AND what = 'again'
    ) THEN 'replayed'
    ELSE 'open' END"""


class _Conditions:
    """What a list's rows have to meet: SQL and its values."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        self._parts.append(condition)
        self.values += values

    def add_given(self, condition: str, value: Any) -> None:
        """A condition for a value that may not be asked for."""
        if value is not None:
            self.add(condition, value)

    def where(self) -> str:
        return f"WHERE {' AND '.join(self._parts)}" if self._parts else ""


def event_page(
    connection: sqlite3.Connection, stream: str, names: Sequence[str], query: EventQuery
) -> Page[StoredEvent]:
    """A page of a stream's events; `names` are those of its keys."""
    if not query.keys.keys() <= set(names):
        return Page()
    asked = _Conditions()
    for name, value in query.keys.items():
        asked.add(f"{key_column(name)} = ?", value)
    asked.add_given("day = ?", query.day)
    if query.category is not None:
        asked.add("instr(categories, ?)", category_to_find(query.category))
    asked.add_given("amount >= ?", query.at_least)
    asked.add_given("amount <= ?", query.at_most)
    if query.after is not None and not _go_on(connection, stream, query, asked):
        return Page()
    index = list_index(stream, _rarest(connection, stream, names, query))
    rest = f"INDEXED BY {index} {asked.where()} ORDER BY day DESC, time DESC, id DESC LIMIT ?"
    found, size = Page[StoredEvent](), 0
    for row in connection.execute(select(stream, names, rest), [*asked.values, query.limit + 1]):
        event = stored_event(row, names)
        size += len(event.body)
        if found and (len(found) == query.limit or size > PAGE_BYTES):
            found.more = True
            break
        found.append(event)
    return found


def _go_on(connection: sqlite3.Connection, stream: str, query: EventQuery, asked: _Conditions) -> bool:
    """Ask for what is behind `after` only; False when there is nothing."""
    statement = f"SELECT day, time FROM {table_of(stream)} WHERE id = ?"  # noqa: S608 - the name is checked
    place = connection.execute(statement, (query.after,)).fetchone()
    if place is None:
        return False
    day, time = place
    if query.day is None:
        asked.add("(day, time, id) < (?, ?, ?)", day, time, query.after)
    elif query.day == day:  # an index is followed from here only if this does not speak of the day again
        asked.add("(time, id) < (?, ?)", time, query.after)
    return query.day is None or query.day <= day


def _rarest(connection: sqlite3.Connection, stream: str, names: Sequence[str], query: EventQuery) -> str | None:
    """Which of the keys asked for the fewest events have: its index is the short way. None when none is asked for."""
    keys = [name for name in names if name in query.keys]
    if len(keys) <= 1:
        return keys[0] if keys else None

    def count(name: str) -> int:
        same = _Conditions()
        same.add(f"{key_column(name)} = ?", query.keys[name])
        same.add_given("day = ?", query.day)
        from_index = f"FROM {table_of(stream)} INDEXED BY {list_index(stream, name)}"
        found = connection.execute(f"SELECT 1 {from_index} {same.where()} LIMIT {_MANY}", same.values)
        return len(found.fetchall())

    return min(keys, key=count)


def rejected_page(connection: sqlite3.Connection, stream: str, query: RejectedQuery) -> Page[RejectedSummary]:
    """A page of what a stream rejected."""
    asked = _Conditions()
    asked.add("stream = ?", stream)
    asked.add_given("reason = ?", query.reason)
    asked.add_given("first_seen >= ?", query.since)
    asked.add_given("first_seen < ?", query.before)
    asked.add_given(f"{_STATUS} = ?", query.status)
    if query.after is not None:
        place = "SELECT first_seen FROM rejected WHERE id = ? AND stream = ?"
        last = connection.execute(place, (query.after, stream)).fetchone()
        if last is None:
            return Page()
        asked.add("(first_seen, id) < (?, ?)", last[0], query.after)
    statement = f"SELECT {_SUMMARY_COLUMNS} FROM rejected {asked.where()} ORDER BY first_seen DESC, id DESC LIMIT ?"  # noqa: S608
    rows = connection.execute(statement, [*asked.values, query.limit + 1]).fetchall()
    page = rows[: query.limit]
    steps = _steps(connection, [row[0] for row in page])
    found = (RejectedSummary(**dict(zip(_SUMMARY, row, strict=True)), steps=steps[row[0]]) for row in page)
    return Page(found, more=len(rows) > len(page))


def rejected_item(connection: sqlite3.Connection, stream: str, id: str) -> Rejected | None:
    """One rejected item."""
    statement = f"SELECT {', '.join(_REJECTED)} FROM rejected WHERE id = ? AND stream = ?"  # noqa: S608
    row = connection.execute(statement, (id, stream)).fetchone()
    return row and Rejected(**dict(zip(_REJECTED, row, strict=True)), steps=_steps(connection, [id])[id])


def rejected_count(connection: sqlite3.Connection, stream: str, status: str | None) -> dict[str, int]:
    """Rejected items by reason."""
    asked = _Conditions()
    asked.add("stream = ?", stream)
    asked.add_given(f"{_STATUS} = ?", status)
    statement = f"SELECT reason, count(*) FROM rejected {asked.where()} GROUP BY reason"  # noqa: S608
    return dict(connection.execute(statement, asked.values).fetchall())


def _steps(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[RejectedStep, ...]]:
    """What happened to items, by their ids."""
    steps: dict[str, list[RejectedStep]] = {id: [] for id in ids}
    found = connection.execute(
        f"SELECT {', '.join(_STEP)} FROM rejected_steps WHERE item IN (SELECT value FROM json_each(?)) "  # noqa: S608
        "ORDER BY at, what, frame",
        (json.dumps([*ids]),),
    )
    for values in found:
        steps[values[0]].append(RejectedStep(**dict(zip(_STEP, values, strict=True))))
    return {id: tuple(each) for id, each in steps.items()}
