"""What `tillstream watch` prints, from messages to lines."""

import io
import json
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from cli.commands.watch import LEAVES_A_LINE, JsonLines, PlainLines, table
from cli.settings import read_settings
from dashboard import Feed


def said(exchange: str, key: str, body: bytes) -> Any:
    """A delivery."""
    return SimpleNamespace(exchange=exchange, routing_key=key, body=body)


COUNT = b'{"sum": 1234.50, "count": 2,\n "day": "2026-11-21", "revision": 1, "asOf": 1.5}'


def test_json_lines_keep_every_digit_and_stay_on_one_line() -> None:
    """Exchange, key and body as published, however it was laid out."""
    line = JsonLines().line(said("count", "receipts", COUNT))
    assert line is not None
    assert "\n" not in line
    assert '"sum":1234.50' in line
    assert json.loads(line)["exchange"] == "count"
    assert json.loads(line)["key"] == "receipts"


def test_a_body_that_is_no_json_is_shown_as_text() -> None:
    """What is wrong on an exchange can be seen, and harms nothing."""
    shown = JsonLines().line(said("count", "receipts", b'{"sum": \xff'))
    assert shown is not None
    assert json.loads(shown)["body"] == '{"sum": \\xff'
    assert "body=" in (PlainLines().line(said("count", "receipts", b"\x1b[2J")) or "")
    assert "\x1b" not in (PlainLines().line(said("count", "receipts", b"\x1b[2J")) or "")


def test_plain_lines_say_each_thing_once() -> None:
    """A message that differs in time and revision alone is not printed again; other keys have a memory of their own."""
    lines = PlainLines()
    assert lines.line(said("count", "receipts", COUNT)) == (
        "count receipts sum=1234.50 count=2 day=2026-11-21 revision=1 asOf=1.5"
    )
    assert lines.line(said("count", "receipts", COUNT.replace(b"1.5", b"2.5"))) is None
    assert lines.line(said("count", "trades", COUNT)) is not None
    assert lines.line(said("count", "receipts", COUNT.replace(b"34.50", b"34.51"))) is not None


def test_a_restored_store_is_news() -> None:
    """A new epoch is printed, although the figures are the same; an engine that names none prints none."""
    lines = PlainLines()
    first, second = (COUNT.replace(b"}", b', "epoch": "%b"}' % epoch) for epoch in (b"aa", b"bb"))
    assert (lines.line(said("count", "receipts", first)) or "").endswith("revision=1 asOf=1.5 epoch=aa")
    assert lines.line(said("count", "receipts", first)) is None
    assert (lines.line(said("count", "receipts", second)) or "").endswith("epoch=bb")


def test_names_are_one_word_each_and_no_command_to_a_terminal() -> None:
    """Names with spaces are quoted, and control characters written out."""
    body = json.dumps({"categories": {"Sandwich Froid": 1, "\x1b[2J": 2, "Pâte": None}}).encode()
    line = PlainLines().line(said("categories", "receipts", body))
    assert line is not None
    assert '"categories.Sandwich Froid"=1' in line
    assert "categories.Pâte=null" in line
    assert "\x1b" not in line


def test_long_tables_are_told_by_their_size() -> None:
    """A thousand stores are no line to read."""
    stores = {str(number): {"sum": 1.0, "count": 1} for number in range(LEAVES_A_LINE)}
    line = PlainLines().line(said("metrics", "receipts.stores", json.dumps({"stores": stores}).encode()))
    assert line is not None
    assert f"stores={LEAVES_A_LINE} entries" in line


def test_the_table_shows_what_is_known() -> None:
    """Revenue, receipts, categories, delays and the engine, and that nothing was heard where it was not."""
    settings = read_settings({}, {}).settings
    feed = Feed(clock=lambda: 5.0)

    def drawn() -> str:
        out = io.StringIO()
        Console(file=out, width=100).print(table(feed, settings))
        return out.getvalue()

    assert "Waiting for the first totals" in drawn()
    stamp = {"day": "2026-11-21", "revision": 7, "asOf": 1795261200.0}
    delays = {"mean": 0.25, "max": 1.0, "p50": 0.2, "p99": 0.9}
    for exchange, key, body in (
        ("count", "receipts", {"sum": 1234.5, "count": 2}),
        ("categories", "receipts", {"categories": {"Pain [red]": 10, "\x1b[2J": 5}}),
        ("metrics", "receipts.delay", {"connectionDelay": delays, "networkDelay": delays}),
        ("metrics", "receipts.engine", {"writers": 3, "lag": 1, "queueDepth": None}),
    ):
        feed.take(exchange, key, json.dumps({**body, **stamp}).encode())
    text = drawn()
    for expected in (
        "€1,234.50",
        "€617.25 on average",
        "Pain [red]",
        "250 ms",
        "p99 900 ms",
        "unknown",
        "Saturday 21 Nov",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_lists_are_told_by_their_number_or_their_members() -> None:
    """Workers are a list of names and figures: a few are written out, many are counted."""
    workers = [{"worker": f"till-{number}", "events": number, "share": 0.25} for number in range(1, 3)]
    line = PlainLines().line(said("metrics", "receipts.engine", json.dumps({"workers": workers}).encode()))
    assert line is not None
    assert "workers.1.worker=till-1 workers.1.events=1 workers.1.share=0.25 workers.2.worker=till-2" in line
    line = PlainLines().line(said("metrics", "receipts.engine", json.dumps({"workers": workers * 10}).encode()))
    assert line is not None
    assert "workers=20 entries" in line


def test_the_table_shows_workers_dead_letters_and_recent_delays() -> None:
    """Who is busy, what is lost to everybody, and what is slow now rather than on the whole day."""
    feed = Feed(clock=lambda: 5.0)
    stamp = {"day": "2026-11-21", "revision": 7, "asOf": 1795261200.0}
    day, recent = ({"mean": mean, "max": mean, "p50": mean, "p99": mean} for mean in (0.25, 0.75))
    workers = [{"worker": f"\x1b[2J{number}", "events": 5 - number, "share": (5 - number) / 15} for number in range(5)]
    for key, body in (
        (
            "receipts.delay",
            {
                "connectionDelay": day,
                "networkDelay": day,
                "recent": {"connectionDelay": recent, "networkDelay": recent, "seconds": 60},
            },
        ),
        (
            "receipts.engine",
            {"writers": 5, "lag": 0, "queueDepth": 1, "deadLetters": 1234, "consumers": 6, "workers": workers},
        ),
    ):
        feed.take("metrics", key, json.dumps({**body, **stamp}).encode())
    out = io.StringIO()
    Console(file=out, width=140).print(table(feed, read_settings({}, {}).settings))
    text = out.getvalue()
    for expected in ("dead 1,234", "33%, ", "2 more", "entrypoint, last 60 s", "750 ms", "250 ms"):
        assert expected in text
    assert "\x1b" not in text
