"""A thread that owns one SQLite connection: transactions off the event loop, errors translated.

A writing thread turns all work that waits for it into one transaction, so many small writes share one fsync, and
each piece of work in it stands or falls alone. A reading thread gives every piece of work a snapshot of its own and
never waits for a writer. Not here: tables and queries, see `store.embedded`.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from store.errors import StoreError, StoreRefusedError, StoreTimeoutError, StoreUnavailableError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: How long a write waits for another process's transaction before the store counts as unavailable.
_BUSY_TIMEOUT_SECONDS = 5.0
#: Pages in the write-ahead log before they are copied into the file (16 MiB): fewer fsyncs than the default's 4 MiB.
_CHECKPOINT_PAGES = 4_000
_CACHE_KIB = 32 * 1024
#: Steps of SQLite's machine between two looks whether anybody still waits for what is read: about a millisecond.
_STEPS = 50_000
#: Pieces of work in one transaction: bounds how long the first of them waits for the last.
_BATCH = 64
_OPEN_ATTEMPTS = 20
_UNAVAILABLE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN)
#: Too large, a value that its column does not take, or a constraint; our unique keys never raise.
_REFUSED = (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT)
#: Python's own words, without a code of SQLite, for a value of a kind that SQLite has not.
_NOT_BOUND = "Error binding parameter"
#: What Python raises for values that SQLite has no form for.
_NOT_ENCODED = (OverflowError, UnicodeEncodeError)


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection with our settings to a file that is there, or, with `create`, to one that is made if need be.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=_BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a commit survives power loss
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; several processes that open a new file at once get in each other's way."""
    for attempt in range(1, _OPEN_ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as exc:
            # SQLite does not wait out its busy timeout here.
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == _OPEN_ATTEMPTS:
                raise
            time.sleep(0.05)


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """The StoreError for what SQLite raised."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:  # the progress handler ended it
        return StoreTimeoutError(f"{path}: the query took too long: ask for less, such as one day")
    if code in _UNAVAILABLE:
        return StoreUnavailableError(f"{path}: {error}")
    refused = code in _REFUSED or isinstance(error, sqlite3.DataError) or str(error).startswith(_NOT_BOUND)
    return (StoreRefusedError if refused else StoreError)(f"{path}: {error}")


class _Call:
    """One piece of work and the future of who waits for it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work, self.future = work, future
        self.result: Any = None
        self.error: BaseException | None = None

    def fail(self, error: Exception, path: Path) -> None:
        """Note why it failed; what SQLite raised, or cannot take, is translated."""
        self.error = error
        if isinstance(error, sqlite3.Error):
            self.error = translate(error, path)
        elif isinstance(error, _NOT_ENCODED):
            self.error = StoreRefusedError(f"{path}: {error}")
        if self.error is not error:
            self.error.__cause__ = error

    def settle(self) -> None:
        """Tell who waits; in the event loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class SqliteThread:
    """One thread, one connection, opened again after every error.

    Arguments:
        path: the file.
        writes: whether work is put into `BEGIN IMMEDIATE` transactions, together; else each reads a snapshot.
        limit_s: reading that takes longer, in seconds since it began, ends with StoreTimeoutError; None for no limit.
    """

    def __init__(self, path: Path, *, writes: bool, limit_s: float | None = None) -> None:
        self._path, self._writes, self._limit_s = path, writes, limit_s
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        name = f"store {'writer' if writes else 'reader'} {path.name}"
        # A daemon, so that a program that forgot to close the store can still end; the file survives that.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do work in the thread; when this returns, what it wrote is durable.

        Cancelling the caller leaves the outcome of a write unknown, and ends a reading. Raises StoreError, and whatever
        else the work raises.
        """
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Call(work, future))
        return await future

    async def close(self) -> None:
        """Finish what was asked for, then close the file."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            calls, stopping = self._gather()
            if calls:
                self._carry_out(calls)
                self._report(calls)
        self._disconnect()

    def _gather(self) -> tuple[list[_Call], bool]:
        """Wait for work, then take what else is there; and whether that is all there will ever be."""
        calls: list[_Call] = []
        limit = _BATCH if self._writes else 1
        try:
            call = self._inbox.get()
            while call is not None:
                calls.append(call)
                if len(calls) == limit:
                    return calls, False
                call = self._inbox.get_nowait()
        except queue.Empty:
            return calls, False
        return calls, True

    def _carry_out(self, calls: list[_Call]) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self._path)
            self._connection.execute("BEGIN IMMEDIATE" if self._writes else "BEGIN")
            for call in calls:
                self._attempt(self._connection, call)
            self._connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - whatever it is, no commit is certain and every caller must know
            for call in calls:
                call.fail(exc, self._path)
            self._disconnect()

    def _attempt(self, connection: sqlite3.Connection, call: _Call) -> None:
        """Do one piece of work so that its failure undoes only itself, unless SQLite undid all of them."""
        if not self._writes:  # nobody waits for a reading that was given up, and others wait behind it
            if call.future.cancelled():
                return
            connection.set_progress_handler(self._given_up(call.future), _STEPS)
        connection.execute("SAVEPOINT one")
        try:
            call.result = call.work(connection)
        except Exception as exc:  # belongs to this caller alone
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO one")
            call.fail(exc, self._path)
        connection.execute("RELEASE one")

    def _given_up(self, future: asyncio.Future[Any]) -> Callable[[], bool]:
        """Tells, while work reads, whether it shall end: nobody waits any more, or it took too long."""
        if self._limit_s is None:
            return future.cancelled
        end = time.monotonic() + self._limit_s
        return lambda: future.cancelled() or time.monotonic() > end

    def _report(self, calls: list[_Call]) -> None:
        def settle() -> None:
            for call in calls:
                call.settle()

        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def _disconnect(self) -> None:
        """Close the connection, undoing what it had begun; the next work opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
