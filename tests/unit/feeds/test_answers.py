"""What answers mean."""

import json
import math

import pytest

from feeds.answers import Accepted, Again, Hopeless, Refused, Split, Verdict, judge

NOW = 1_700_000_000.0


def problem(*errors: dict[str, object], detail: str = "3 events are invalid") -> bytes:
    """A problem document as the entrypoint writes it."""
    return json.dumps({"type": "/docs", "title": "An event is not valid", "detail": detail, "errors": errors}).encode()


BAD_DATE = {"event": 1, "field": "$.date", "expected": "a date that exists"}
BAD_SUM = {"event": 3, "field": "$.documentTotal", "expected": "an object"}


@pytest.mark.parametrize(
    ("status", "body", "events", "verdict"),
    [
        (202, b'{"accepted": 5}', 5, Accepted()),
        (
            400,
            problem(BAD_DATE, BAD_SUM),
            5,
            Refused({1: "$.date: a date that exists", 3: "$.documentTotal: an object"}),
        ),
        (400, problem(BAD_DATE, {**BAD_DATE, "field": "$.storeID"}), 5, Refused({1: "$.date: a date that exists"})),
        (400, problem(BAD_SUM), 2, Split()),
        (400, problem({"event": True}), 2, Split()),
        (400, b"no", 2, Split()),
        (400, b"[1]", 2, Split()),
        (400, b'{"errors": 5}', 2, Split()),
        (400, problem({**BAD_DATE, "event": 0}), 1, Refused({0: "$.date: a date that exists"})),
        (400, b"no\n  way", 1, Refused({0: "no way"})),
        (400, b"", 1, Refused({0: "no reason given"})),
        (413, b"", 2, Split()),
        (413, problem(detail="at most 10 MiB"), 1, Refused({0: "too large: at most 10 MiB"})),
        (401, b"", 1, Hopeless("the server wants a valid token (401)")),
        (415, problem(detail="send JSON"), 2, Refused({0: "send JSON", 1: "send JSON"})),
        (421, b"", 1, Hopeless("the server does not have this name (421)")),
        (404, b"", 5, Hopeless("there is nothing at this address (404)")),
        (301, b"moved", 5, Hopeless("the server answers 301: moved")),
        (503, problem(detail="broker down"), 1, Again("the server answers 503: broker down")),
        (500, b"\xff", 1, Again("the server answers 500: \ufffd")),
    ],
)
def test_each_answer_has_one_meaning(status: int, body: bytes, events: int, verdict: Verdict) -> None:
    """Taken, refused by event, to be halved, to be tried again, or the end."""
    assert judge(status, None, body, events, NOW) == verdict


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("-1", 0.0),
        ("100000", 60.0),
        ("inf", 60.0),
        ("nan", None),
        ("soon", None),
        (None, None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """Both forms of the header are honoured, within reason."""
    verdict = judge(503, header, b"", 1, NOW)
    assert isinstance(verdict, Again)
    if seconds is None:
        assert verdict.after_s is None
    else:
        assert verdict.after_s is not None
        assert math.isclose(verdict.after_s, seconds)
