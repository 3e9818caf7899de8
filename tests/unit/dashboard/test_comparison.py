"""Today against yesterday and a week ago, at the same time."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from dashboard import DashboardConfig, Feed
from dashboard.comparison import (
    Change,
    changes,
    minute_now,
    minutes_today,
)
from dashboard.history import NOTHING_READ, Past
from dashboard.messages import Amount
from dashboard.moments import Moment
from tests.unit.dashboard.days import MinutesOfDay, past_of
from tests.unit.dashboard.said import DAY, NOON, PARIS, body, feed_of, moment_of

BEFORE, A_WEEK_BEFORE = "2026-11-20", "2026-11-14"


def day_so_far(
    minutes: MinutesOfDay, *, as_of: float = NOON, day: str = DAY, complete: bool = True, revision: int = 1
) -> Feed:
    """A feed that heard of today: these minutes by the receipts' own time, and their sum."""
    own = {minute: {"sum": revenue, "count": receipts} for minute, (revenue, receipts) in minutes.items()}
    revenue, receipts = (sum(row[column] for row in minutes.values()) for column in (0, 1))
    return feed_of(
        ("count", "receipts", body(revision, day=day, as_of=as_of, sum=revenue, count=receipts)),
        ("metrics", "receipts.minutes", body(revision, day=day, received={}, own=own, complete=complete)),
    )


def look(feed: Feed, past: Past, zone: ZoneInfo = PARIS) -> Moment:
    """The moment of a feed's last message."""
    return moment_of(feed, past=past, config=DashboardConfig(timezone=zone))


def test_both_sides_are_what_was_before_this_minute() -> None:
    """At 12:40 the minute of 12:40 counts on neither side, whatever is in it."""
    moment = look(
        day_so_far({"09:00": (60.0, 3), "12:39": (60.0, 3), "12:40": (500.0, 1)}),
        past_of(
            {
                BEFORE: {"08:00": (100.0, 4), "12:40": (900.0, 9), "19:00": (1.0, 1)},
                A_WEEK_BEFORE: {"12:39": (240.0, 6)},
            }
        ),
    )
    assert changes(moment).revenue == Change(
        kind="more", text="20.0% more", than="than yesterday at 12:40", was="€100.00"
    )
    assert changes(moment).revenue_week == Change(
        kind="less", text="50.0% less", than="than a week ago at 12:40", was="€240.00"
    )
    assert changes(moment).receipts.text == "50.0% more"
    assert changes(moment).basket.text == "20.0% lower"
    assert changes(moment).basket.was == "€25.00"


@pytest.mark.parametrize(
    ("past", "reason"),
    [
        (NOTHING_READ, "not read from the store yet"),
        (past_of({}, failing=True), "the store does not answer"),
        (past_of({BEFORE: {}}), "no receipts of that day"),
        (past_of({BEFORE: {"12:40": (5.0, 1)}}), "no receipts before 12:40"),
    ],
)
def test_what_is_not_known_is_a_dash_with_its_reason(past: Past, reason: str) -> None:
    """No number is invented for a day that was not read or has none."""
    moment = look(day_so_far({"09:00": (60.0, 3)}), past)
    found = changes(moment)
    for change in (found.revenue, found.receipts, found.basket):
        assert change == Change(kind="unknown", text="–", than=f"yesterday: {reason}")  # noqa: RUF001


@pytest.mark.parametrize("then", [0.0, -20.0])
def test_a_day_of_returns_is_nothing_to_compare_with(then: float) -> None:
    """What is no part of anything gets no percentage, and its amount is said."""
    change = changes(look(day_so_far({"09:00": (60.0, 3)}), past_of({BEFORE: {"09:00": (then, 2)}}))).revenue
    assert change.kind == "unknown"
    assert "nothing to compare with" in change.than
    assert change.was == ("€0.00" if then == 0 else "-€20.00")


def test_today_below_nothing_is_less() -> None:
    """More returns than sales is a change of more than all."""
    change = changes(look(day_so_far({"09:00": (-5.0, 1)}), past_of({BEFORE: {"09:00": (10.0, 1)}}))).revenue
    assert (change.kind, change.text) == ("less", "150.0% less")


def test_no_receipts_today_is_all_less_and_has_no_basket() -> None:
    """An empty day is known to be empty; an average of nothing is not known."""
    moment = look(day_so_far({}), past_of({BEFORE: {"09:00": (10.0, 1)}}))
    assert changes(moment).revenue.text == "100.0% less"
    assert changes(moment).receipts.text == "100.0% fewer"
    assert changes(moment).basket.than == "yesterday: no receipts today before 12:40"


def test_before_anything_was_heard() -> None:
    """A page without totals compares nothing."""
    assert "nothing heard" in changes(look(feed_of(), past_of({}))).revenue.than


def test_the_day_has_a_beginning() -> None:
    """In its first minute there is nothing before it on either side."""
    midnight = datetime(2026, 11, 21, 0, 0, 30, tzinfo=PARIS).timestamp()
    moment = look(day_so_far({"00:00": (5.0, 1)}, as_of=midnight), past_of({BEFORE: {"00:00": (5.0, 1)}}))
    assert minute_now(moment) == 0
    assert changes(moment).revenue.than == "yesterday: the day has only begun"


def test_a_day_that_is_over_is_compared_whole() -> None:
    """Totals that still speak of yesterday just after midnight are of all its minutes."""
    after = datetime(2026, 11, 22, 0, 0, 1, tzinfo=PARIS).timestamp()
    moment = look(day_so_far({"23:59": (30.0, 1)}, as_of=after), past_of({BEFORE: {"23:59": (20.0, 1)}}))
    assert minute_now(moment) == 1440
    assert changes(moment).revenue == Change(
        kind="more", text="50.0% more", than="than yesterday at 24:00", was="€20.00"
    )


@pytest.mark.parametrize(
    ("day", "before", "utc", "minute"),
    [
        ("2026-03-29", "2026-03-28", "2026-03-29T00:59:59+00:00", 1 * 60 + 59),
        ("2026-03-29", "2026-03-28", "2026-03-29T01:00:01+00:00", 3 * 60),
        ("2026-10-25", "2026-10-24", "2026-10-25T00:30:00+00:00", 2 * 60 + 30),
        ("2026-10-25", "2026-10-24", "2026-10-25T01:30:00+00:00", 2 * 60 + 30),
        ("2026-10-25", "2026-10-24", "2026-10-25T02:00:00+00:00", 3 * 60),
    ],
)
def test_days_on_which_the_clocks_change(day: str, before: str, utc: str, minute: int) -> None:
    """The wall clock decides on both sides, on the days of 23 and of 25 hours too."""
    as_of = datetime.fromisoformat(utc).timestamp()
    moment = look(
        day_so_far({"01:00": (30.0, 1)}, day=day, as_of=as_of),
        past_of({before: {"01:00": (20.0, 1), "02:30": (10.0, 1)}}),
    )
    assert minute_now(moment) == minute
    expected = "50.0% more" if minute <= 2 * 60 + 30 else "the same"
    assert changes(moment).revenue.text == expected


def test_a_late_receipt_moves_its_own_side() -> None:
    """A receipt of yesterday that comes today raises yesterday's side; one of this morning today's."""
    today = {"09:00": (100.0, 1)}
    assert changes(look(day_so_far(today), past_of({BEFORE: {"09:00": (100.0, 1)}}))).revenue.kind == "same"
    later = past_of({BEFORE: {"09:00": (100.0, 1), "10:00": (100.0, 1)}})
    assert changes(look(day_so_far(today), later)).revenue.text == "50.0% less"
    assert changes(look(day_so_far({**today, "09:01": (100.0, 1)}), later)).revenue.kind == "same"


def test_a_new_page_is_whole_at_once() -> None:
    """Until all minutes were heard, those that were read fill the gaps, and of two figures the larger is the newer."""
    heard = day_so_far({"12:38": (3.0, 3), "12:39": (1.0, 1)}, complete=False)
    read = past_of({DAY: {"09:00": (7.0, 7), "12:38": (2.0, 2), "12:39": (2.0, 2)}})
    assert minutes_today(look(heard, NOTHING_READ)) is None
    assert minutes_today(look(heard, read)) == {
        "09:00": Amount(Decimal("7.0"), 7),
        "12:38": Amount(Decimal("3.0"), 3),
        "12:39": Amount(Decimal("2.0"), 2),
    }
    whole = day_so_far({"12:39": (1.0, 1)})
    assert minutes_today(look(whole, read)) == {"12:39": Amount(Decimal("1.0"), 1)}
    waiting = changes(look(heard, past_of({BEFORE: {"09:00": (1.0, 1)}}))).revenue
    assert waiting.than == "yesterday: today's earlier minutes are still to come"


def test_minutes_that_were_missed_are_not_taken_for_none() -> None:
    """After a lost connection what was heard is too little, and so is what was read before; then the store is read
    again. A second that passes is no gap."""
    feed = day_so_far({"09:00": (60.0, 3)}, as_of=NOON)

    def hear(revision: int, seconds: float, receipts: int) -> None:
        one = {"12:40": {"sum": 5.0, "count": 1}}
        at = NOON + seconds
        feed.take("count", "receipts", body(revision, sum=5.0 * receipts, count=receipts, as_of=at))
        feed.take("metrics", "receipts.minutes", body(revision, received={}, own=one, complete=False, as_of=at))

    old = past_of({DAY: {"09:00": (60.0, 3)}})
    feed.take("metrics", "receipts.minutes", body(as_of=NOON, received={}, own={}, complete=False))
    hear(2, 1.1, 4)
    assert minutes_today(look(feed, old)) == {"09:00": Amount(Decimal(60), 3), "12:40": Amount(Decimal(5), 1)}
    hear(3, 61.0, 40)
    assert minutes_today(look(feed, old)) is None
    read = past_of({DAY: {"09:00": (60.0, 3), "11:00": (70.0, 36)}})
    whole = minutes_today(look(feed, read))
    assert whole is not None
    assert {minute: row.count for minute, row in whole.items()} == {"09:00": 3, "11:00": 36, "12:40": 1}
