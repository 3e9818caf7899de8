"""The lines of revenue over the day."""

from zoneinfo import ZoneInfo

from dashboard.comparison import MINUTES_A_DAY
from dashboard.curve import STEP, Curve, curve
from dashboard.history import NOTHING_READ, Past
from tests.unit.dashboard.days import MinutesOfDay, past_of
from tests.unit.dashboard.said import feed_of
from tests.unit.dashboard.test_comparison import BEFORE, day_so_far, look


def shown(minutes: MinutesOfDay, past: Past = NOTHING_READ) -> Curve:
    """The lines at 12:40."""
    return curve(look(day_so_far(minutes), past))


def test_lines_rise_by_what_was_sold_before_each_point() -> None:
    """Whole hours from the first receipt of both days to the last, gaps are level, today ends now."""
    lines = shown({"09:03": (10.0, 1), "12:40": (5.0, 1)}, past_of({BEFORE: {"08:10": (4.0, 1), "19:59": (6.0, 1)}}))
    assert (lines.start, lines.end, lines.at[1] - lines.at[0]) == (8 * 60, 20 * 60, STEP)
    at = {minute: row for row, minute in enumerate(lines.at)}
    assert lines.today[at[9 * 60]] == 0
    assert lines.today[at[9 * 60 + 5]] == lines.today[at[12 * 60 + 40]] == 10
    assert lines.today[at[12 * 60 + 45]] is None
    assert lines.before[at[8 * 60 + 10]] == 0
    assert lines.before[at[8 * 60 + 15]] == lines.before[at[19 * 60 + 55]] == 4
    assert lines.before[at[20 * 60]] == 10
    assert lines.now == (12 * 60 + 40, 15.0)
    assert lines.last == (20 * 60, 10.0)
    assert lines.note == "Today €15.00 so far; yesterday €4.00 by 12:40, and €10.00 in all."


def test_what_is_not_known_has_no_line() -> None:
    """No yesterday, no minutes of today, nothing at all: the chart stays readable and says so."""
    alone = shown({"09:03": (10.0, 1)})
    assert set(alone.before) == {None}
    assert alone.last is None
    assert "Yesterday was not read" in alone.note
    assert "Yesterday had no receipts" in shown({"09:03": (10.0, 1)}, past_of({BEFORE: {}})).note
    gaps = curve(look(day_so_far({"12:39": (1.0, 1)}, complete=False), NOTHING_READ))
    assert set(gaps.today) == {None}
    assert gaps.now is None
    unknown = curve(look(feed_of(), NOTHING_READ))
    assert (unknown.start, unknown.end) == (0, MINUTES_A_DAY)
    assert unknown.note == "Nothing is known of today yet."


def test_a_time_zone_in_which_the_day_is_over_has_a_chart() -> None:
    """A dashboard that was not told the zone of the totals is wrong about the time, but has its page."""
    late = curve(look(day_so_far({}), NOTHING_READ, ZoneInfo("Pacific/Kiritimati")))
    assert (late.start, late.end) == (MINUTES_A_DAY - 60, MINUTES_A_DAY)


def test_an_empty_day_is_a_chart_of_the_hour() -> None:
    """Before the first receipt today is known to be nothing."""
    empty = shown({})
    assert (empty.start, empty.end, empty.now) == (12 * 60, 13 * 60, (12 * 60 + 40, 0.0))
    assert empty.top > 0


def test_returns_go_below_the_line() -> None:
    """A morning of returns is on the scale."""
    below = shown({"09:00": (-20.0, 1), "10:00": (5.0, 1)})
    assert below.bottom <= -20
    assert below.now == (12 * 60 + 40, -15.0)


def test_the_scale_holds_both_lines_and_the_name_above() -> None:
    """A line never touches the top."""
    lines = shown({"09:00": (950.0, 1)}, past_of({BEFORE: {"09:00": (400.0, 1)}}))
    assert lines.top == 1500
    assert lines.top > 950 * 1.05
