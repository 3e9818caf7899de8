import os
import re

import msgspec
import pytest

from analytics import Tally
from engine import Activity, Partial, PartialError, partial_message, read_partial, worker_name
from engine.activity import WORKERS_NAMED


def partial(worker: str | None, events: int, *, writer: str = "w", last: int = 1) -> Partial:
    """A partial of one entry that counts some events."""
    tally = Tally(seconds={1000: [events, 0, 0]} if events else {})
    return Partial(writer=writer, first=last, last=last, tally=tally, worker=worker)


def shares(activity: Activity) -> list[tuple[str, int, float]]:
    """What is told of workers."""
    return [(row.worker, row.events, row.share) for row in activity.workers()]


def test_shares_are_of_all_events_of_the_last_minute() -> None:
    """Events add up by worker, whichever writer ids it has had; the busiest comes first."""
    activity = Activity()
    activity.hear(partial("one", 3, writer="a"), 100.0)
    activity.hear(partial("two", 5, writer="b"), 130.0)
    activity.hear(partial("one", 4, writer="c"), 140.5)
    activity.forget(141.0)
    assert shares(activity) == [
        ("one", 7, 7 / 12),
        ("two", 5, 5 / 12),
    ]
    assert activity.writers() == 3
    activity.forget(165.0)
    assert shares(activity) == [("two", 5, 5 / 9), ("one", 4, 4 / 9)]
    activity.forget(201.0)
    assert (activity.workers(), activity.writers()) == ((), 0)


def test_a_worker_that_counted_nothing_is_a_writer_only() -> None:
    """Repetitions alone give no share of the work, and no division by zero."""
    activity = Activity()
    activity.hear(partial("one", 0), 100.0)
    assert (activity.workers(), activity.writers()) == ((), 1)


def test_a_partial_that_comes_again_counts_once() -> None:
    """The broker may deliver one twice."""
    activity = Activity()
    for last in (1, 2, 2, 1):
        activity.hear(partial("one", 2, last=last), 100.0)
    assert [row.events for row in activity.workers()] == [4]


def test_no_more_than_a_hundred_workers_are_named() -> None:
    """Shares are still of what all of them counted."""
    activity = Activity()
    for number in range(2 * WORKERS_NAMED):
        activity.hear(partial(f"worker-{number:03}", 1, writer=f"{number}"), 100.0)
    rows = activity.workers()
    assert (len(rows), rows[0].worker) == (100, "worker-000")
    assert sum(row.share for row in rows) == pytest.approx(0.5)


def test_a_clock_that_was_set_back_keeps_nothing_for_long() -> None:
    """What was heard in a future that is no more is forgotten, too."""
    activity = Activity()
    activity.hear(partial("one", 1), 10_000.0)
    activity.forget(100.0)
    assert (activity.workers(), activity.writers()) == ((), 0)


def test_a_process_has_one_name() -> None:
    """Host, process id and a few random letters; the same each time."""
    assert re.fullmatch(rf".+-{os.getpid()}-[0-9a-f]{{4}}", worker_name())
    assert worker_name() == worker_name()


def test_the_name_travels_with_the_partial() -> None:
    """And a partial of an older release, which has none, goes by its writer id."""
    named = partial("till-7", 2)
    assert read_partial(partial_message("receipts", named).body) == named
    nameless = partial(None, 2, writer="0123456789abcdef")
    body = partial_message("receipts", nameless).body
    assert "worker" not in msgspec.json.decode(body)
    found = read_partial(body)
    assert (found.worker, found.by, found.events) == (None, "01234567", 2)


def test_a_name_that_is_none_is_refused() -> None:
    """What is published of it every second has a bound."""
    with pytest.raises(PartialError):
        read_partial(partial_message("receipts", partial("x" * 256, 1)).body)
