"""How the figures of the system are judged, and what was rejected is shown; without a browser."""

import json
import time
from typing import Any

import pytest

from dashboard.formats import UNKNOWN, Formats
from dashboard.pages.system import verdict
from dashboard.rejected_view import content, differences, identity
from dashboard.system_view import MOST_WORKERS, State, SystemView, duration, rejected_figure, system_view, troubles
from engine.prepare import rejected
from streams import ReceiptStream
from tests.unit.dashboard.said import NOON, PARIS, body, count, feed_of, minutes, moment_of
from tests.unit.streams.sample import receipt

NONE = {"mean": None, "max": None, "p50": None, "p99": None}


def look(engine: dict[str, Any] | None = None, delay: dict[str, Any] | None = None) -> SystemView:
    """The page of a system that says this of itself, besides a count."""
    messages = [("count", "receipts", body(7, sum=1.0, count=1, as_of=NOON))]
    if engine is not None:
        known = {"writers": 1, "lag": 0, "queueDepth": 0, "deadLetters": 0, "consumers": 1, "workers": []}
        messages.append(("metrics", "receipts.engine", body(**{**known, **engine})))
    if delay is not None:
        messages.append(("metrics", "receipts.delay", body(connectionDelay=NONE, networkDelay=NONE, recent=delay)))
    return system_view(moment_of(feed_of(*messages)))


@pytest.mark.parametrize(
    ("figure", "said", "value", "state"),
    [
        ("waiting", {"queueDepth": 99}, "99", "good"),
        ("waiting", {"queueDepth": 100}, "100", "look"),
        ("waiting", {"queueDepth": 1000}, "1,000", "bad"),
        ("waiting", {"queueDepth": None}, UNKNOWN, "unknown"),
        ("dead", {"deadLetters": 0}, "0", "good"),
        ("dead", {"deadLetters": 1}, "1", "bad"),
        ("dead", {"deadLetters": None}, UNKNOWN, "unknown"),
        ("lag", {"lag": 99}, "99", "good"),
        ("lag", {"lag": 100}, "100", "look"),
        ("lag", {"lag": 1000}, "1,000", "bad"),
        ("workers", {"consumers": 2}, "2", "good"),
        ("workers", {"consumers": 0}, "0", "bad"),
        ("workers", {"consumers": None}, UNKNOWN, "unknown"),
    ],
)
def test_each_figure_is_judged(figure: str, said: dict[str, Any], value: str, state: State) -> None:
    """The bounds are where they are said to be; what is not good says what to do, what is not known is a dash."""
    found = getattr(look(said), figure)
    assert (found.value, found.state) == (value, state)
    assert bool(found.todo) == (state in ("look", "bad"))


@pytest.mark.parametrize(
    ("storing", "sending", "states"),
    [(0.5, 59.0, ("good", "good")), (1.0, 60.0, ("look", "look")), (5.0, 600.0, ("bad", "bad"))],
)
def test_delays_are_judged_by_their_slowest_hundredth(
    storing: float, sending: float, states: tuple[State, State]
) -> None:
    """It is the last minute that counts, since that is what can be helped."""
    view = look(
        delay={
            "networkDelay": {"mean": 0.01, "max": 99.0, "p50": 0.01, "p99": storing},
            "connectionDelay": {"mean": 0.01, "max": 99.0, "p50": 0.01, "p99": sending},
            "seconds": 60,
        }
    )
    assert (view.storing.state, view.sending.state) == states
    assert [(row.what, row.when, row.p50, row.max) for row in view.delays][:2] == [
        ("Entrypoint to store", "last minute", "10 ms", "99 s"),
        ("Entrypoint to store", "the day", UNKNOWN, UNKNOWN),
    ]


def test_a_minute_without_receipts_has_no_delay() -> None:
    """Known to be none is fine; an older engine that does not say is not known."""
    quiet = look(delay={"networkDelay": NONE, "connectionDelay": NONE, "seconds": 60})
    assert (quiet.storing.value, quiet.storing.state) == ("none in the last minute", "good")
    assert look().storing.state == "unknown"


def test_silence_is_trouble() -> None:
    """Totals that say nothing are the first thing to see to; before the first message it is not known."""
    feed = feed_of(count(1.0, 1))
    assert system_view(moment_of(feed)).live.state == "good"
    silent = system_view(moment_of(feed, 12))
    assert (silent.live.state, silent.live.value) == ("bad", "silent for 12 s")
    assert troubles(silent.figures)[0] is silent.live
    assert system_view(moment_of(feed_of())).live.state == "unknown"


def test_totals_that_catch_up_are_not_called_live() -> None:
    """While the ledger is read to its end there is no calm: the page says what to look at."""
    view = system_view(moment_of(feed_of(("count", "receipts", body(sum=0, count=0, complete=False)))))
    assert (view.live.value, view.live.state) == ("catching up", "look")
    assert view.live in troubles(view.figures)


def test_the_last_hour_of_arrivals() -> None:
    """Sixty minutes that are over, gaps included, so that they change once a minute; the running one as a number."""
    said = ("count", "receipts", body(1, sum=1.0, count=9, as_of=NOON))
    heard = minutes({"12:40": 9, "12:38": 4, "11:40": 1, "11:39": 8}, complete=True)
    view = system_view(moment_of(feed_of(said, heard)))
    assert (len(view.minutes), view.minutes[0].time, view.minutes[-1].time, view.top) == (60, "11:40", "12:39", "4")
    assert {row.time: (row.count, row.height) for row in view.minutes if row.height} == {
        "11:40": ("1", 25.0),
        "12:38": ("4", 100.0),
    }
    assert (view.so_far, view.note) == ("Since 12:40: 9.", "")


def test_after_midnight_the_hour_is_shorter() -> None:
    """What came in yesterday is not in today's minutes, and is not shown as nothing."""
    night = NOON - 12 * 3600 - 35 * 60
    said = ("count", "receipts", body(1, sum=1.0, count=1, as_of=night))
    view = system_view(moment_of(feed_of(said, minutes({"00:03": 1}))))
    assert [row.time for row in view.minutes] == [f"00:0{minute}" for minute in range(5)]
    assert (view.so_far, bool(view.note)) == ("Since 00:05: 0.", True)


def test_workers_and_their_shares() -> None:
    """The busiest are named, the rest share a line."""
    workers = [{"worker": f"w{n}", "events": 10, "share": 0.05} for n in range(20)]
    view = look({"workers": workers, "consumers": 20})
    assert len(view.shares) == MOST_WORKERS
    assert (view.shares[0].name, view.shares[0].share, view.shares[0].width) == ("w0", "5.0%", 5.0)
    assert (view.shares[-1].name, view.shares[-1].events, view.shares[-1].share) == ("9 others", "90", "45.0%")


def test_malformed_messages_deserve_a_look() -> None:
    """What the feed passed over is told."""
    feed = feed_of(count(1.0, 1), ("count", "receipts", b"{}"))
    found = system_view(moment_of(feed)).messages
    assert (found.value, found.state) == ("1", "look")


@pytest.mark.parametrize(
    ("counts", "newest", "error", "value", "state"),
    [
        (None, None, "", UNKNOWN, "unknown"),
        ({}, None, "", "0", "good"),
        ({"conflict": 2, "invalid": 1}, NOON - 3601, "", "3", "good"),
        ({"conflict": 2}, NOON - 3599, "", "2", "look"),
        ({"conflict": 2}, NOON - 9999, "no answer", "2", "bad"),
    ],
)
def test_what_was_rejected_is_judged(
    counts: dict[str, int] | None, newest: float | None, error: str, value: str, state: State
) -> None:
    """Old ones are only told; one of the last hour deserves a look; a store that does not answer is trouble."""
    found = rejected_figure(counts, newest, error, moment_of(feed_of()))
    assert (found.value, found.state) == (value, state)


def test_the_verdict_names_the_worst_first_in_words() -> None:
    """All that has to be seen to is at the top of the page; when nothing has, it says so."""
    view = look({"deadLetters": 3, "lag": 100})
    text = verdict(view.figures)
    assert text.index("Dead letters: 3.") < text.index("Behind in the ledger: 100.")
    assert "trouble" in text
    assert "have a look" in text
    assert "<code>tillstream rejected replay --reason poison</code>" in text
    assert "Everything is as it should be." in verdict(())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0431, "43 ms"), (0.9994, "999 ms"), (1.26, "1.3 s"), (119.9, "119.9 s"), (900, "15 min"), (18000, "5 h"),
     (-2.0, "-2 s"), (None, UNKNOWN), (0.0, "0 ms")],
)  # fmt: skip
def test_time_spans_are_short(seconds: float | None, text: str) -> None:
    """With as many digits as they are worth."""
    assert duration(seconds, Formats()) == text


def test_bytes_are_shown_as_what_they_are() -> None:
    """JSON is laid out, text stays text, anything else is hexadecimal; what a page must not have is named."""
    assert content(b'{"a":1,"b":["\\u00e9"]}').lines == ("{", '  "a": 1,', '  "b": [', '    "\\u00e9"', "  ]", "}")
    plain = content("not JSON: \u202eevil\0<b>é".encode())
    assert (plain.kind, plain.lines) == ("text", ("not JSON: \\u202eevil\\u0000<b>é",))
    binary = content(b"\xff\xfeAB")
    assert binary.kind == "bytes, in hexadecimal"
    assert binary.lines == ("000000  ff fe 41 42" + " " * 36 + "  ··AB",)
    assert content(b"").lines == ("",)
    assert content(b"[" * 50_000).kind == "text"
    long = content(b"x" * 300_000)
    assert (long.cut, len(long.lines[0])) == (True, 100_000)
    assert content("é".encode() * 200_000).kind == "text"


def test_lines_that_differ_are_marked() -> None:
    """Of two receipts that conflict, what is different; not when they were received, and not a comma's place."""
    mine, theirs = content(b'{"receivedTime":1.5,"a":1,"b":2}'), content(b'{"receivedTime":2.5,"a":1,"b":3}')
    left, right = differences(mine, theirs)
    assert [line for line, differs in left if differs] == ['  "b": 2']
    assert [line for line, differs in right if differs] == ['  "b": 3']
    alone, nothing = differences(mine, None)
    assert not any(differs for _, differs in alone)
    assert nothing == ()


def test_a_line_that_differs_in_a_long_text_is_marked() -> None:
    """However much is the same before and behind it."""
    rows = [*range(3000)]
    mine, theirs = (content(json.dumps([*rows, text, 1, *rows]).encode()) for text in ("mine", "theirs"))
    left, right = differences(mine, theirs)
    assert [line.strip() for line, differs in left if differs] == ['"mine",']
    assert [line.strip() for line, differs in right if differs] == ['"theirs",']


def test_texts_that_are_made_to_be_hard_to_compare_are_not_compared_for_long() -> None:
    """A line in common after each line that differs took 40 s, in which no page was answered."""
    mine, theirs = (content(json.dumps([x for row in range(990) for x in (1, f"{of}{row}")]).encode()) for of in "ab")
    begun = time.process_time()
    left, right = differences(mine, theirs)
    assert time.process_time() - begun < 10
    assert (len(left), len(right)) == (len(mine.lines), len(theirs.lines))


def test_the_identity_of_what_was_rejected_is_read_where_it_can_be() -> None:
    """A conflict leads to the receipt that counts; what is no receipt leads nowhere."""
    stream = ReceiptStream(PARIS)
    line = stream.accept(json.dumps(receipt()).encode(), 1.0)
    for body_, found in ((line, "612:3:2026-11-18 11:06:40:40213"), (b"{}", ""), (b"\xff", "")):
        item = rejected(stream.name, "conflict", "other content", source="f", body=body_, first_seen=1.0)
        assert identity(stream, item) == found
