"""Log lines: one form for ours and the libraries'."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from runtime import configure_logging, debugging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON objects logged so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_event_values_level_and_utc_time() -> None:
    """One object a line, with an ISO time in UTC."""
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    structlog.get_logger("tillstream.test").info("store unavailable", delay_s=1.5)
    [line] = lines(stream)
    age = datetime.now(UTC) - datetime.fromisoformat(line.pop("timestamp"))
    assert abs(age.total_seconds()) < 60
    assert line == {"event": "store unavailable", "delay_s": 1.5, "level": "info", "logger": "tillstream.test"}


def test_a_line_begins_with_what_is_read_first() -> None:
    """When, how bad, what; only then what may be long."""
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    structlog.get_logger("tillstream.test").warning("flush failed", frames=["a", "b"])
    assert list(lines(stream)[0]) == ["timestamp", "level", "event", "frames", "logger"]


def test_a_librarys_line_has_the_same_form() -> None:
    """`logging` is routed through the same processors, arguments filled in."""
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    logging.getLogger("some.library").warning("lost %d of %s", 3, "them")
    [line] = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("lost 3 of them", "warning", "some.library")
    assert line["timestamp"].endswith("Z")


def test_nothing_below_the_level_is_logged() -> None:
    """Neither ours nor a library's."""
    stream = io.StringIO()
    configure_logging("warning", "json", stream=stream)
    structlog.get_logger().info("ours")
    logging.getLogger("library").info("theirs")
    assert lines(stream) == []


def test_chatty_libraries_are_quiet_at_info() -> None:
    """A driver that reconnects says so at warning at most; at debug it may talk."""
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    logging.getLogger("aiormq.connection").info("connecting")
    assert lines(stream) == []
    configure_logging("debug", "json", stream=stream)
    logging.getLogger("aiormq.connection").info("connecting")
    assert len(lines(stream)) == 1


def test_a_second_setup_replaces_the_first() -> None:
    """A line is written once, to the newer stream, by loggers made before, too."""
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger()
    configure_logging("info", "json", stream=first)
    log.info("one")
    configure_logging("info", "json", stream=second)
    log.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]


@pytest.mark.parametrize(("form", "is_text"), [("auto", False), ("text", True)])
def test_auto_is_json_where_there_is_no_terminal(form: str, is_text: bool) -> None:
    """A file or a pipe gets JSON unless text is asked for; no colours either way."""
    stream = io.StringIO()
    configure_logging("info", form, stream=stream)
    structlog.get_logger().info("stopping", signal="SIGTERM")
    assert ("signal=SIGTERM" in stream.getvalue()) == is_text
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_logged_traceback_shows_no_local_variables(form: str) -> None:
    """Whatever a frame holds may be a secret."""
    stream = io.StringIO()
    configure_logging("info", form, stream=stream)

    def connect(password: str) -> None:
        raise RuntimeError("refused")

    try:
        connect("hun" + "ter2")
    except RuntimeError:
        structlog.get_logger().exception("no connection")
    assert "RuntimeError: refused" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_whether_debug_is_logged_can_be_asked() -> None:
    """Before a line about each frame is put together."""
    for level, expected in (("debug", True), ("info", False)):
        configure_logging(level, "json", stream=io.StringIO())
        assert debugging() is expected
