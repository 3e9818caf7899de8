"""Decoding what the engine says about itself: this release's messages, and an older one's."""

from zoneinfo import ZoneInfo

import pytest

from analytics import DayTally, Histogram
from dashboard.messages import Delay, Engine, MalformedMessageError, WorkerShare, decode
from engine import EngineState, RecentDelays, View, messages
from engine import WorkerShare as Share
from streams import ReceiptStream
from tests.unit.dashboard.said import body

NOTHING = {"mean": None, "max": None, "p50": None, "p99": None}


def histogram(*values: int) -> Histogram:
    """A histogram of microseconds."""
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def said(name: str, engine: EngineState) -> bytes:
    """The body of a part as the engine makes it."""
    tally = DayTally(delays={"creation": histogram(9_000_000), "system": histogram(1_000_000, 3_000_000)})
    view = View(
        day="2026-11-21",
        tally=tally,
        seconds={},
        revision=3,
        as_of=1795266000.5,
        received={},
        changed=None,
        recent=RecentDelays(delays={"system": histogram(3_000_000)}, seconds=60),
    )
    made = {one.routing_key: one.body for one in messages(ReceiptStream(ZoneInfo("UTC")), view, engine)}
    return made[f"receipts.{name}"]


def test_what_the_engine_says_of_queues_and_workers_is_understood() -> None:
    """Depths, consumers and each worker's share arrive as they were meant."""
    workers = (Share(worker="till-7", events=2, share=2 / 3), Share(worker="till-9", events=1, share=1 / 3))
    engine = EngineState(writers=2, lag=1, queue_depth=4, dead_letters=5, consumers=6, workers=workers)
    part = decode("engine", said("engine", engine))
    assert isinstance(part, Engine)
    assert (part.writers, part.lag, part.queue_depth, part.dead_letters, part.consumers) == (2, 1, 4, 5, 6)
    assert part.workers == (
        WorkerShare(worker="till-7", events=2, share=0.6667),
        WorkerShare(worker="till-9", events=1, share=0.3333),
    )


def test_what_the_broker_did_not_say_is_none() -> None:
    """Unknown is not zero."""
    part = decode("engine", said("engine", EngineState(writers=0, lag=0, queue_depth=None)))
    assert isinstance(part, Engine)
    assert (part.queue_depth, part.dead_letters, part.consumers, part.workers) == (None, None, None, ())


def test_recent_delays_stand_beside_those_of_the_day() -> None:
    """The last minute's mean and the day's, in seconds; none where nothing was counted."""
    part = decode("delay", said("delay", EngineState(writers=0, lag=0, queue_depth=None)))
    assert isinstance(part, Delay)
    assert part.recent is not None
    assert (part.network_delay.mean, part.recent.network_delay.mean, part.recent.seconds) == (2.0, 3.0, 60)
    assert (part.connection_delay.mean, part.recent.connection_delay.mean) == (9.0, None)


def test_an_older_engine_is_understood() -> None:
    """What it does not say yet is none, or empty."""
    delay = decode("delay", body(connectionDelay=NOTHING, networkDelay=NOTHING))
    engine = decode("engine", body(writers=1, lag=0, queueDepth=2))
    assert isinstance(delay, Delay)
    assert isinstance(engine, Engine)
    assert delay.recent is None
    assert (engine.dead_letters, engine.consumers, engine.workers) == (None, None, ())


@pytest.mark.parametrize("workers", [[{"worker": 1, "events": 1, "share": 1.0}], [{"events": 1, "share": 1.0}], None])
def test_malformed_workers_are_told(workers: object) -> None:
    """A field of ours of another type makes the message malformed."""
    with pytest.raises(MalformedMessageError, match="workers"):
        decode("engine", body(writers=1, lag=0, queueDepth=2, workers=workers))
