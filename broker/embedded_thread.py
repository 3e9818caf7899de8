"""The embedded broker's one thread: it owns the file, and turns everything that waits into one transaction.

So publishing from many tasks gives group commit by itself, and the event loop never waits for a disk. While the disk
fails, publishers are refused, settlements are kept, and the turn is tried again until it goes through.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from broker.embedded_file import BrokerFile
from broker.embedded_queues import Leave, Operation, Outcome, Publish, Queues, Settle, TurnFailedError
from broker.errors import BrokerUnavailableError, PublishUnknownError
from broker.exchanges import Queue

log = structlog.get_logger()

#: Bodies published in one turn: bounds what one transaction and one write-ahead log take.
TURN_BYTES = 16 * 1024**2
#: Operations in one turn.
TURN_OPERATIONS = 10_000


@dataclass(slots=True)
class Report:
    """What one turn has to tell the event loop.

    Attributes:
        failing: why the disk cannot be used right now, None when it can.
        ended: the file is closed; nothing follows.
    """

    outcome: Outcome = field(default_factory=Outcome)
    failing: str | None = None
    ended: bool = False


class BrokerThread:
    """Runs turns until it is told to stop.

    Arguments:
        report: called in this thread after each turn; it must only pass the report on.
        retry_seconds: pause between tries while the disk fails.
    """

    def __init__(
        self, path: Path, queues: tuple[Queue, ...], report: Callable[[Report], None], *, retry_seconds: float
    ) -> None:
        self._path = path
        self._wanted = queues
        self._report = report
        self._retry_seconds = retry_seconds
        self._inbox: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._stopping = False
        self._failing = False
        self._kept: list[Operation] = []
        # A daemon, so that a program that forgot to close the broker can still end; the file survives that.
        self._thread = threading.Thread(target=self._run, name=f"broker {path.name}", daemon=True)

    def start(self) -> None:
        """Open the file in the thread; the first report says whether that worked."""
        self._thread.start()

    def submit(self, operation: Operation) -> None:
        """Add an operation to the next turn; from any thread, never waits."""
        self._inbox.put(operation)

    def stop(self) -> None:
        """Carry out what was submitted, then close the file and report `ended`."""
        self._inbox.put(None)

    def join(self) -> None:
        """Wait for the thread after it reported `ended`."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._file = BrokerFile(self._path, [queue.name for queue in self._wanted])
            self._queues = Queues(self._file, self._wanted)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the opener has to hear of it
            self._report(Report(failing=str(exc), ended=True))
            return
        self._report(Report())
        try:
            while not self._stopping:
                self._turn(self._gather())
        finally:
            with suppress(sqlite3.Error):  # nothing is lost: the next owner finds the log beside the file
                self._file.close()
            self._report(Report(ended=True))

    def _gather(self) -> list[Operation]:
        """Wait for something to do, then take everything that is there, within bounds; while failing, wait longer."""
        operations, self._kept = self._kept, []
        size = 0
        tries_at = time.monotonic() + self._retry_seconds if self._failing else None
        try:
            while size <= TURN_BYTES and len(operations) <= TURN_OPERATIONS:
                operation = self._next(tries_at, wait=self._failing or not operations)
                if operation is None:
                    self._stopping = True
                    break
                operations.append(operation)
                if isinstance(operation, Publish):
                    size += len(operation.record.body)
        except queue.Empty:
            pass
        return operations

    def _next(self, until: float | None, *, wait: bool) -> Operation | None:
        if not wait:
            return self._inbox.get_nowait()
        return self._inbox.get(timeout=None if until is None else max(0.0, until - time.monotonic()))

    def _turn(self, operations: list[Operation]) -> None:
        try:
            if self._failing:
                self._recover()
            outcome = self._queues.turn(operations)
        except Exception as exc:  # noqa: BLE001 - the turn did not happen, whatever the reason
            self._failed(operations, exc)
            return
        if self._failing:
            log.info("embedded broker works again", path=str(self._path))
        if operations or self._failing:
            self._report(Report(outcome))
        self._failing = False

    def _recover(self) -> None:
        self._file.reopen()
        self._queues.recount()

    def _failed(self, operations: list[Operation], exc: Exception) -> None:
        """Refuse what has a caller waiting; keep settlements and leavings, which must happen in the end."""
        if not self._failing:
            log.error(
                "embedded broker cannot write, trying again",
                path=str(self._path),
                error=str(exc),
                delay_s=self._retry_seconds,
            )
        self._failing = True
        text = f"{self._path}: {exc}"
        unknown = isinstance(exc, TurnFailedError) and exc.unknown
        error = PublishUnknownError(text) if unknown else BrokerUnavailableError(text)
        outcome = Outcome()
        for operation in operations:
            if isinstance(operation, Settle | Leave):
                self._kept.append(operation)
                outcome.answers.append((operation, None))
            else:
                outcome.answers.append((operation, _refusal(operation, error)))
        self._report(Report(outcome, failing=text))


def _refusal(operation: Operation, error: BrokerUnavailableError) -> Any:
    """The error for a caller; only a publish can be unknown."""
    return error if isinstance(operation, Publish) else BrokerUnavailableError(str(error))
