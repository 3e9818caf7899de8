from analytics import Histogram
from engine import DelayWindow, RecentDelays
from engine.recent import COPY_EVERY, RECENT_WINDOW


class Day:
    """A day's delays that grow."""

    def __init__(self) -> None:
        self.window = DelayWindow()
        self.delays: dict[str, Histogram] = {}

    def add(self, value: int) -> None:
        """Count one."""
        self.delays.setdefault("system", Histogram()).add(value)

    def at(self, now: float, begun: object = "2026-11-21") -> RecentDelays:
        """What came in the last minute."""
        return self.window.since_then(begun, self.delays, now)


def total(recent: RecentDelays) -> int:
    """The sum of what was counted lately."""
    return recent.delays["system"].total


def test_only_the_last_minute_counts() -> None:
    """One value a second, each its second: what is told is between one and one and a bit minutes of them."""
    day = Day()
    for second in range(300):
        day.add(second)
        recent = day.at(float(second))
        count = recent.delays["system"].count
        assert count == min(second, RECENT_WINDOW + second % COPY_EVERY)
        assert total(recent) == sum(range(second - count + 1, second + 1))
        assert recent.seconds == min(second // COPY_EVERY * COPY_EVERY, RECENT_WINDOW)
        assert len(day.window._copies) <= RECENT_WINDOW // COPY_EVERY + 1


def test_what_was_there_at_the_beginning_does_not_count() -> None:
    """After a restart the day's totals are read at once; nobody knows when they were counted."""
    day = Day()
    day.add(1000)
    assert (day.at(100.0).delays["system"].count, day.at(100.0).seconds) == (0, 0)
    day.add(50)
    assert total(day.at(101.0)) == 50


def test_a_new_day_or_reloaded_totals_begin_anew() -> None:
    """Then the histograms do not go on from those before, and are not compared with them."""
    day = Day()
    day.at(100.0)
    day.add(1000)
    assert total(day.at(101.0)) == 1000
    day.delays = {"system": Histogram()}
    day.add(7)
    assert (total(day.at(102.0, begun="2026-11-22")), day.at(102.0, begun="2026-11-22").seconds) == (0, 0)
    day.add(8)
    assert total(day.at(103.0, begun="2026-11-22")) == 8


def test_a_clock_set_back_begins_anew() -> None:
    """A window into the future would be told as the last minute for ever."""
    day = Day()
    day.at(1000.0)
    day.add(5)
    assert day.at(100.0).seconds == 0
    day.add(6)
    assert total(day.at(101.0)) == 6


def test_after_a_pause_it_says_how_far_back_it_reaches() -> None:
    """Nothing was noted meanwhile, so the span is longer, and honest."""
    day = Day()
    day.at(100.0)
    day.add(5)
    recent = day.at(400.0)
    assert (total(recent), recent.seconds) == (5, 300)


def test_what_is_told_shares_nothing_with_the_day() -> None:
    """The day's histograms go on growing while the message is made."""
    day = Day()
    day.at(100.0)
    day.add(5)
    recent = day.at(101.0)
    day.add(6)
    assert total(recent) == 5
