"""Keeping a rate, and a duration, with a clock of our own."""

from collections.abc import Iterator

import pytest

from feeds import Counts, send_requests
from feeds.counts import OTHER_REASONS
from feeds.pace import Pace


class Clock:
    """An outlet whose `rest` moves the time, and which may be slow or stop."""

    def __init__(self, *, takes: float = 0.0, stops_at: float = float("inf")) -> None:
        self.now = 1000.0
        self.sent: list[tuple[float, int]] = []
        self._takes = takes
        self._stops_at = 1000.0 + stops_at

    async def submit(self, events: list[bytes]) -> bool:
        self.now += self._takes
        if self.now >= self._stops_at:
            return False
        self.sent.append((self.now - 1000.0, len(events)))
        return True

    async def rest(self, seconds: float) -> bool:
        assert seconds >= 0
        self.now = min(self.now + seconds, self._stops_at)
        return self.now >= self._stops_at


def requests(size: int = 1, count: int = 1_000_000) -> Iterator[list[bytes]]:
    """Requests of one size."""
    return ([b"{}"] * size for _ in range(count))


@pytest.mark.parametrize(("rate", "size"), [(200.0, 1), (200.0, 50), (0.5, 1), (1000.0, 7)])
async def test_events_leave_at_the_rate(rate: float, size: int) -> None:
    """Ten seconds' worth of events in ten seconds, evenly, whatever the size of requests."""
    outlet = Clock()
    await send_requests(outlet, requests(size), rate=rate, for_s=10, clock=lambda: outlet.now)
    assert abs(sum(count for _, count in outlet.sent) - rate * 10) <= size
    for number, (at, _) in enumerate(outlet.sent):
        assert at == pytest.approx(number * size / rate, abs=1e-6)
    assert outlet.now == pytest.approx(1010.0)


async def test_a_slow_outlet_does_not_slow_the_rate_below_what_it_takes() -> None:
    """Time spent in the outlet is part of the interval, not on top of it."""
    outlet = Clock(takes=0.004)
    await send_requests(outlet, requests(), rate=200, for_s=10, clock=lambda: outlet.now)
    assert 1990 <= len(outlet.sent) <= 2001


async def test_without_a_rate_nothing_waits() -> None:
    """A burst is over when all is handed over."""
    outlet = Clock()
    await send_requests(outlet, requests(10, 100), clock=lambda: outlet.now)
    assert len(outlet.sent) == 100
    assert outlet.now == 1000.0


async def test_a_burst_ends_with_its_time_too() -> None:
    """`for_s` holds without a rate."""
    outlet = Clock(takes=1.0)
    await send_requests(outlet, requests(), for_s=5, clock=lambda: outlet.now)
    assert len(outlet.sent) == 5


@pytest.mark.parametrize("takes", [0.0, 0.5])
async def test_a_stop_ends_the_feed(takes: float) -> None:
    """Whether it comes while waiting for the next one or while handing it over."""
    outlet = Clock(takes=takes, stops_at=3.2)
    await send_requests(outlet, requests(), rate=10, clock=lambda: outlet.now)
    assert outlet.sent
    assert outlet.now == pytest.approx(1003.2, abs=0.5)


def test_at_most_a_second_is_caught_up() -> None:
    """After a long stop of the server the feed goes on at its rate, with a second's worth on top."""
    pace = Pace(100.0, 0.0)
    at_once = 0
    while pace.delay(60.0) == 0.0:
        pace.sent(1, 60.0)
        at_once += 1
    assert at_once in (100, 101)


def test_reasons_are_kept_apart_up_to_a_bound() -> None:
    """A reason may quote what was found: a file of nonsense must not fill the memory."""
    counts = Counts()
    for number in range(1, 1001):
        counts.refuse(f"reason {number}", number)
    counts.refuse("reason 7", 5000)
    assert counts.refused == 1001
    assert len(counts.reasons) == 201
    assert counts.reasons[OTHER_REASONS].count == 800
    assert counts.reason_lines(2) == [
        "800 x other reasons (first: event 201)",
        "2 x reason 7 (first: event 7)",
        "199 for 199 more reasons",
    ]


def test_the_summary_says_what_is_not_zero() -> None:
    """Accepted and refused always; the rest where there is any."""
    assert Counts(accepted=12_000).summary() == "12,000 accepted, 0 refused"
    counts = Counts(accepted=1, refused=2, unknown=3, unsent=4, retried=1)
    assert counts.summary() == (
        "1 accepted, 2 refused, 3 unknown (no answer; sending them again is safe), 4 not sent, 1 request retried"
    )
    assert counts.settled == 10
    assert not counts.complete
