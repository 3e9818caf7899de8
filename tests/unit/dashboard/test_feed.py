"""The feed: order, silence, malformed messages, subscribing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from analytics.tally import DayTally
from broker.errors import BrokerUnavailableError
from dashboard import Feed
from dashboard.feed import MOST_REASONS, RESTART_AFTER_SECONDS, STALE_AFTER_SECONDS
from engine.messages import EngineState, View, messages
from streams import ReceiptStream
from tests.support import eventually
from tests.unit.dashboard.said import Clock, body, count, feed_of, minutes

ROW = {"08:00": {"sum": 9.0, "count": 9}}


def test_the_engines_own_messages_are_understood() -> None:
    """What `engine.messages` builds, of an empty day and of one with minutes, fills every part of the snapshot."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    tally = DayTally()
    tally.add("categories", "Pain", 12_3400, 10_000, 1)
    for day_tally, received in ((DayTally(), {}), (tally, {"08:01": [2, 12_3400]})):
        feed = Feed()
        view = View(
            day="2026-11-21",
            tally=day_tally,
            seconds={},
            revision=3,
            as_of=1795266000.5,
            received=received,
            changed=None,
        )
        for message in messages(stream, view, EngineState(writers=2, lag=0, queue_depth=None)):
            feed.take(message.exchange, message.routing_key, message.body)
        known = feed.latest
        assert known.malformed == known.ignored == 0
        assert None not in (known.count, known.categories, known.rate, known.delay, known.stores, known.payments)
        assert known.engine is not None
        assert known.engine.writers == 2
        assert known.minutes is not None
        assert known.minutes.complete
        assert {minute: row.count for minute, row in known.minutes.received.items()} == {
            minute: row[0] for minute, row in received.items()
        }


def test_amounts_are_exact() -> None:
    """Amounts keep the digits that were published: no binary fraction comes between."""
    feed = feed_of(
        ("count", "receipts", b'{"sum":90071992547409.93,"count":1,"day":"2026-11-21","revision":1,"asOf":1}')
    )
    assert feed.latest.count is not None
    assert feed.latest.count.sum == Decimal("90071992547409.93")


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (count(1.0, 1, 5), count(2.0, 2, 6), 2),
        (count(1.0, 1, 5), count(2.0, 2, 5), 2),
        (count(1.0, 1, 5), count(2.0, 2, 4), 1),
        (count(1.0, 1, 5, day="2026-11-21"), count(2.0, 2, 1, day="2026-11-22"), 2),
        (count(1.0, 1, 5, day="2026-11-22"), count(2.0, 2, 9, day="2026-11-21"), 1),
    ],
)
def test_order(first: tuple[str, str, bytes], second: tuple[str, str, bytes], shown: int) -> None:
    """A message counts unless its day, or its revision on the same day, is older than what is known."""
    known = feed_of(first, second).latest
    assert known.count is not None
    assert known.count.count == shown
    assert known.ignored == (1 if shown == 1 else 0)


def test_parts_are_ordered_each_by_itself() -> None:
    """A part that lags behind another is taken."""
    rate = body(3, averagePerMinute=7, averageMsSystem=None, averageMsCreation=None)
    assert feed_of(count(1.0, 1, 5), ("metrics", "receipts.rate", rate)).latest.rate is not None


def test_older_messages_do_not_hide_silence() -> None:
    """Messages that are ignored leave the numbers as old as they are."""
    clock = Clock()
    feed = feed_of(count(1.0, 1, 5), clock=clock)
    clock.now += STALE_AFTER_SECONDS + 0.5
    feed.take(*count(1.0, 1, 4))
    assert feed.stale
    feed.take(*count(1.0, 1, 5))
    assert not feed.stale


def test_totals_that_began_anew_are_believed() -> None:
    """When only older messages come for long, as after the store was emptied, they are the truth."""
    clock = Clock()
    feed = feed_of(count(9.0, 9, 5), minutes({"08:00": 9}, 5), clock=clock)
    clock.now += RESTART_AFTER_SECONDS
    feed.take(*count(1.0, 1, 1))
    feed.take(*minutes({"08:05": 1}, 1))
    assert feed.latest.count is not None
    assert feed.latest.count.count == 1
    assert feed.latest.minutes is not None
    assert list(feed.latest.minutes.received) == ["08:05"]


def test_a_restored_store_replaces_all_that_is_known() -> None:
    """A newer message of another epoch counts although its day and revision are lower, and nothing older stays."""
    before: dict[str, Any] = {"epoch": "a", "as_of": 100.0}
    after: dict[str, Any] = {"epoch": "b", "as_of": 101.0}
    feed = feed_of(
        ("count", "receipts", body(50, sum=9.0, count=9, **before)),
        ("metrics", "receipts.minutes", body(50, received=ROW, own={}, complete=True, **before)),
        ("categories", "receipts", body(50, categories={"Pain": 9.0}, **before)),
        ("count", "receipts", body(3, sum=1.0, count=1, day="2026-11-20", **after)),
    )
    assert feed.latest.count is not None
    assert (feed.latest.count.count, feed.latest.count.day) == (1, "2026-11-20")
    assert (feed.latest.minutes, feed.latest.categories, feed.latest.epoch) == (None, None, "b")
    feed.take("metrics", "receipts.minutes", body(3, received=ROW, own={}, complete=True, **after))
    assert feed.latest.minutes is not None
    feed.take("count", "receipts", body(4, sum=2.0, count=2, epoch="b", as_of=102.0, day="2026-11-20"))
    assert feed.latest.count.count == 2
    assert feed.latest.minutes is not None
    assert feed.latest.accepted == 6


def test_late_messages_of_the_store_before_its_restore_are_passed_over() -> None:
    """What was under way when the store was restored changes nothing, whatever its revision."""
    feed = feed_of(
        ("count", "receipts", body(50, sum=9.0, count=9, epoch="a", as_of=100.0)),
        ("count", "receipts", body(3, sum=1.0, count=1, epoch="b", as_of=102.0)),
        ("categories", "receipts", body(51, categories={}, epoch="a", as_of=101.0)),
    )
    assert feed.latest.count is not None
    assert (feed.latest.count.count, feed.latest.categories, feed.latest.ignored) == (1, None, 1)


def test_an_engine_that_names_no_epoch_is_ordered_by_revision() -> None:
    """Around an upgrade messages come with and without an epoch: neither replaces what the other said."""
    feed = feed_of(
        ("count", "receipts", body(5, sum=1.0, count=5)),
        ("categories", "receipts", body(5, categories={"Pain": 1.0})),
        ("count", "receipts", body(6, sum=1.0, count=6, epoch="a")),
        ("count", "receipts", body(4, sum=1.0, count=4)),
        ("count", "receipts", body(7, sum=1.0, count=7, epoch="")),
    )
    assert feed.latest.count is not None
    assert feed.latest.categories is not None
    assert (feed.latest.count.count, feed.latest.ignored, feed.latest.epoch) == (7, 1, "a")


def test_silence_is_that_of_the_part_that_is_silent_longest() -> None:
    """One part that stops is noticed although the others go on; what was never heard is no silence."""
    clock = Clock()
    feed = feed_of(clock=clock)
    clock.now += 2
    assert feed.silence == 2
    feed.take(*count(1.0, 1))
    assert feed.silence == 0
    feed.take(*minutes({}))
    clock.now += 4
    feed.take(*count(1.0, 1))
    assert feed.silence == 4


@pytest.mark.parametrize(
    "message",
    [
        ("count", "receipts", b"not json"),
        ("count", "receipts", b'\xff{"sum":1}'),
        ("count", "receipts", body(sum=1.0)),
        ("count", "receipts", body(sum="NaN", count=1)),
        ("count", "receipts", body("x", sum=1.0, count=1)),  # type: ignore[arg-type]
        ("categories", "receipts", body(categories={"Pain": "Infinity"})),
        ("metrics", "receipts.stores", body(stores={"612": {"sum": "NaN", "count": 1}})),
        ("metrics", "receipts.payments", body(payments={"Especes": {"sum": "NaN", "count": 1}})),
        ("metrics", "receipts.minutes", body(received={}, own={"08:00": {"sum": "NaN", "count": 1}}, complete=False)),
        ("metrics", "receipts.minutes", body(received={"25:00": {"sum": 1, "count": 1}}, own={}, complete=False)),
        ("metrics", "receipts.minutes", body(received={"0800": {"sum": 1, "count": 1}}, own={}, complete=False)),
    ],
)
def test_a_malformed_message_changes_nothing_but_its_count(message: tuple[str, str, bytes]) -> None:
    """It is counted and passed over, and the next good one is taken."""
    registry = CollectorRegistry()
    feed = Feed(registry=registry)
    feed.take(*count(1.0, 1))
    before = feed.latest
    feed.take(*message)
    assert feed.latest.malformed == 1
    assert (feed.latest.count, feed.latest.categories, feed.latest.minutes) == (before.count, None, None)
    assert registry.get_sample_value("tillstream_dashboard_messages_total", {"outcome": "malformed"}) == 1
    feed.take(*count(2.0, 2, 2))
    assert feed.latest.count is not None
    assert feed.latest.count.count == 2


def test_unknown_messages_and_fields_are_passed_over() -> None:
    """A newer engine may say more than we know."""
    feed = feed_of(("metrics", "receipts.weather", b"?"), ("metrics", "trades.rate", b"?"))
    assert feed.latest.malformed == 0
    feed.take("count", "receipts", body(sum=1.0, count=1, news="yes"))
    assert feed.latest.count is not None


def test_minutes_add_up_over_messages_and_days() -> None:
    """Changed minutes join those known; a complete set replaces them; a new day begins with none."""
    feed = Feed()

    def after(message: tuple[str, str, bytes]) -> tuple[dict[str, int], bool]:
        feed.take(*message)
        tables = feed.latest.minutes
        assert tables is not None
        return {minute: row.count for minute, row in tables.received.items()}, tables.complete

    assert after(minutes({"08:00": 1}, 1)) == ({"08:00": 1}, False)
    assert after(minutes({"08:01": 2, "08:00": 3}, 2)) == ({"08:00": 3, "08:01": 2}, False)
    assert after(minutes({"07:59": 4}, 3, complete=True)) == ({"07:59": 4}, True)
    assert after(minutes({"00:00": 1}, 1, day="2026-11-22")) == ({"00:00": 1}, True)


def test_a_snapshot_that_was_read_stays_as_it_was() -> None:
    """Readers in other threads keep a consistent picture while the next one is made."""
    feed = feed_of(count(1.0, 1), minutes({"08:00": 1}))
    read = feed.latest
    feed.take(*count(2.0, 2, 2))
    feed.take(*minutes({"08:00": 2}, 2))
    assert read.count is not None
    assert read.count.count == 1
    assert read.minutes is not None
    assert read.minutes.received["08:00"].count == 1
    assert feed.latest is not read


class Said:
    """A delivery."""

    def __init__(self, exchange: str, routing_key: str, content: bytes) -> None:
        self.exchange, self.routing_key, self.body = exchange, routing_key, content


class Broker:
    """Refuses the first subscription of each role, then gives out what it was told."""

    def __init__(self, *said: tuple[str, str, bytes]) -> None:
        self.said = said
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.closed = 0

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> Any:
        """Subscribe."""
        self.asked.append((role, bindings))
        if len(self.asked) <= 2:
            raise BrokerUnavailableError("not yet")
        return self

    async def __aiter__(self) -> AsyncIterator[Said]:
        for message in self.said:
            yield Said(*message)
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close."""
        self.closed += 1


async def test_following_subscribes_until_it_may_and_closes_when_cancelled() -> None:
    """A refused subscription is tried again; the one that was made is closed at the end."""
    broker, feed = Broker(count(1.0, 1)), Feed()
    following = asyncio.create_task(feed.follow(broker))
    await eventually(lambda: feed.latest.count and len(broker.asked) == 4)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert dict(broker.asked) == {
        "dashboard": {"count": "receipts", "categories": "receipts", "metrics": "receipts.*"},
        "dashboard-rejected": {"rejected": "receipts.*"},
    }
    assert len(broker.asked) == 4
    assert broker.closed == 2


def test_what_is_rejected_is_counted_by_its_reason() -> None:
    """Whatever the bytes are, they are no malformed totals, and no news of the totals either."""
    clock = Clock()
    feed = feed_of(clock=clock)
    clock.now += 2
    for reason in ("conflict", "undecodable", "conflict"):
        feed.take("rejected", f"receipts.{reason}", b"\xff\x00")
    assert feed.latest.rejected == {"conflict": 2, "undecodable": 1}
    assert feed.latest.malformed == 0
    assert feed.silence == 2
    for number in range(100):
        feed.take("rejected", f"receipts.odd{number}", b"")
    assert sum(feed.latest.rejected.values()) == 103
    assert len(feed.latest.rejected) <= MOST_REASONS + 1
