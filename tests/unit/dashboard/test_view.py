"""What the page says, without a browser."""

from decimal import Decimal

import pytest

from dashboard.formats import UNKNOWN, Formats
from dashboard.view import MOST_BARS, bars, common, minutes_chart, nice_top, today
from tests.unit.dashboard.days import past_of
from tests.unit.dashboard.said import DAY, NOON, body, count, feed_of, minutes, moment_of

ENGLISH = Formats()


def test_before_the_first_message_nothing_is_invented() -> None:
    """Numbers that are not known are dashes, and the page says what it waits for, then that something is wrong."""
    first = moment_of(feed_of())
    page, frame = today(first), common(first)
    assert (page.revenue, page.receipts, page.pace, frame.day) == (UNKNOWN,) * 4
    assert frame.notice is not None
    assert not frame.notice.alarm
    later = common(moment_of(feed_of(), 12))
    assert later.notice is not None
    assert later.notice.alarm
    assert "12 s" in later.notice.text
    assert not later.empty


def test_a_day_with_receipts() -> None:
    """Money and numbers are grouped, the day is spelt out, times are in the zone of the tills."""
    message = ("count", "receipts", body(sum=1234567.5, count=81234, as_of=NOON))
    rate = body(averagePerMinute=1212.0, averageMsSystem=43.4, averageMsCreation=9.0)
    moment = moment_of(feed_of(message, ("metrics", "receipts.rate", rate)))
    page, frame = today(moment), common(moment)
    assert page.revenue == "€1,234,567.50"
    assert page.receipts == "81,234"
    assert page.basket == "€15.20"
    assert page.pace == "1,212"
    assert page.speed == "counted in 43 ms (mean)"
    assert frame.day == "Saturday 21 November 2026"
    assert frame.updated == "12:40:00"
    assert frame.notice is None
    assert not frame.empty


def test_an_empty_day_is_said_to_be_empty() -> None:
    """Known to be none is something else than not known."""
    moment = moment_of(feed_of(count(0, 0)))
    page = today(moment)
    assert common(moment).empty
    assert page.receipts == "0"
    assert page.revenue == "€0.00"
    assert page.basket == UNKNOWN


def test_silence_is_said_with_its_beginning() -> None:
    """After three seconds the page says since when it is not live, and for how long."""
    feed = feed_of(count(1, 1))
    assert common(moment_of(feed, 3.0)).notice is None
    notice = common(moment_of(feed, 65.0)).notice
    assert notice is not None
    assert notice.alarm
    assert "12:40:00" in notice.text
    assert "(65 s)" in notice.text
    assert "(10 min)" in getattr(common(moment_of(feed, 600.0)).notice, "text", "")


def test_totals_that_catch_up_say_so() -> None:
    """Figures of a part of the ledger are said to be too low; with the whole of it the notice goes."""
    feed = feed_of(("count", "receipts", body(sum=0, count=0, complete=False)))
    notice = common(moment_of(feed)).notice
    assert notice is not None
    assert notice.text.startswith("Catching up: ")
    feed.take("count", "receipts", body(2, sum=1.0, count=1))
    assert common(moment_of(feed)).notice is None


def test_parts_of_another_day_are_not_mixed_in() -> None:
    """Just after midnight, what is still of yesterday is left out."""
    feed = feed_of(
        ("categories", "receipts", body(9, categories={"Pain": 1.0})),
        minutes({"08:00": 1}, 9),
        count(0, 0, 1, day="2026-11-22"),
    )
    moment = moment_of(feed)
    assert today(moment).bars == ()
    assert minutes_chart(moment).minutes == ()


def test_bars_are_ordered_and_share_the_whole() -> None:
    """Largest first, equal ones by name; returns have an amount, no bar and no share."""
    rows = bars({"Pain": Decimal(25), "Menu": Decimal(75), "Pizza": Decimal(-10), "Boisson": Decimal(25)}, ENGLISH)
    assert [row.name for row in rows] == ["Menu", "Boisson", "Pain", "Pizza"]
    assert [row.width for row in rows] == [100.0, 33.3, 33.3, 0.0]
    assert [row.share for row in rows] == ["65.2%", "21.7%", "21.7%", ""]
    assert rows[-1].amount == "-€10.00"
    assert bars({"Pain": Decimal(0)}, ENGLISH)[0].width == 0.0
    assert bars({"": Decimal(1)}, ENGLISH)[0].name == "(no category)"


def test_many_categories_share_the_last_bar() -> None:
    """However odd the data, the page has a bounded number of bars, and they still add up."""
    rows = bars({f"c{number:04}": Decimal(number) for number in range(2000)}, ENGLISH)
    assert len(rows) == MOST_BARS
    assert rows[-1].name == f"{2000 - MOST_BARS + 1:,} others"
    assert sum(Decimal(row.amount.replace(",", "").replace("€", "")) for row in rows) == sum(range(2000))


def test_a_payment_without_a_name_is_no_category() -> None:
    """Each list has its own words for what has no name."""
    paid = "metrics", "receipts.payments", body(payments={"": {"sum": 1.0, "count": 1}})
    assert [row.name for row in today(moment_of(feed_of(count(1.0, 1), paid))).payments] == ["(not named)"]


def test_the_chart_covers_whole_hours_from_the_first_minute_to_the_last_update() -> None:
    """Its window grows hour by hour; minutes without receipts have no bar."""
    feed = feed_of(
        ("count", "receipts", body(sum=3, count=3, as_of=NOON)), minutes({"10:59": 2, "09:05": 1, "11:00": 0})
    )
    shown = minutes_chart(moment_of(feed))
    assert (shown.minutes, shown.counts) == ((9 * 60 + 5, 10 * 60 + 59), (1, 2))
    assert (shown.start, shown.end, shown.top) == (9 * 60, 13 * 60, 5)


def test_the_chart_of_no_receipts_is_the_current_hour() -> None:
    """An empty day has a chart that can be read, and so has a feed that knows nothing."""
    shown = minutes_chart(moment_of(feed_of(("count", "receipts", body(sum=0, count=0, as_of=NOON)))))
    assert (shown.start, shown.end) == (12 * 60, 13 * 60)
    unknown = minutes_chart(moment_of(feed_of()))
    assert (unknown.start, unknown.end) == (0, 24 * 60)


def test_minutes_that_may_be_missing_are_said_to_be() -> None:
    """Until the first complete set, earlier minutes may be unknown."""
    assert today(moment_of(feed_of(count(1, 1), minutes({"08:00": 1})))).minutes_note
    assert not today(moment_of(feed_of(count(1, 1), minutes({"08:00": 1}, complete=True)))).minutes_note


def test_minutes_read_from_the_store_fill_what_was_not_heard() -> None:
    """A page that begins in the middle of the day has its bars at once; of a minute known twice the larger is newer."""
    past = past_of({DAY: {"07:00": (4.0, 4), "08:00": (1.0, 1), "09:00": (3.0, 3)}})
    moment = moment_of(feed_of(count(8, 8), minutes({"08:00": 2, "09:00": 2, "09:01": 1})), past=past)
    shown = minutes_chart(moment)
    assert dict(zip(shown.minutes, shown.counts, strict=True)) == {420: 4, 480: 2, 540: 3, 541: 1}
    assert not today(moment).minutes_note


@pytest.mark.parametrize("highest", [0, 4, 5, 9, 10, 14, 99, 100, 260, 999, 1000, 123456])
def test_the_scale_holds_the_highest_bar(highest: int) -> None:
    """Above every bar, and not so far above that they look small."""
    assert highest < nice_top(highest) <= max(5, highest * 2 + 2)


def test_equal_views_are_equal() -> None:
    """Looking twice at the same snapshot within a second gives nothing to push."""
    feed = feed_of(count(1, 1))
    assert today(moment_of(feed, 0.2)) == today(moment_of(feed, 0.9))
