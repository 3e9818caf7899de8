"""Errors in the form of RFC 9457."""

import json

import pytest

from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    BrokerUnavailableError,
    OverloadedError,
    PublishUnknownError,
)
from entrypoint.problems import PROBLEM_TYPES, UNSUPPORTED_TYPE, ProblemError, from_error, invalid_events
from store.errors import StoreDataError
from streams.errors import InvalidEventError, TillstreamError


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (OverloadedError("x"), "overloaded"),
        (BrokerFullError("x"), "broker-full"),
        (BrokerBlockedError("x"), "broker-blocked"),
        (PublishUnknownError("x"), "broker-unconfirmed"),
        (BrokerUnavailableError("x"), "broker-unavailable"),
        (BrokerError("x"), "broker-unavailable"),
        (StoreDataError("x"), "store-unavailable"),
    ],
)
def test_what_keeps_us_from_answering_is_503_with_a_time_to_come_back(error: TillstreamError, slug: str) -> None:
    """Every error of broker and store says when to try again."""
    response = from_error(error).response()
    assert response.status == 503
    assert response.content_type == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    assert isinstance(response.body, bytes)
    document = json.loads(response.body)
    assert document["type"] == f"/docs#problem-{slug}"
    assert document["detail"] == "x"


def test_any_other_error_of_ours_tells_nothing() -> None:
    """What a client cannot do anything about is for the log."""
    response = from_error(TillstreamError("a secret")).response()
    assert response.status == 500
    assert isinstance(response.body, bytes)
    assert b"secret" not in response.body


def test_a_problem_keeps_its_headers() -> None:
    """Such as what would have been accepted."""
    response = ProblemError(UNSUPPORTED_TYPE, "no", headers={"Accept-Post": "application/json"}).response()
    assert response.headers["Accept-Post"] == "application/json"


def test_invalid_events_are_listed_with_field_and_expectation() -> None:
    """One entry for each, and the first of them in words."""
    problem = invalid_events([(3, InvalidEventError("$.a", "expected b")), (4, InvalidEventError("$", "expected c"))])
    assert problem.members["errors"] == [
        {"event": 3, "field": "$.a", "expected": "expected b"},
        {"event": 4, "field": "$", "expected": "expected c"},
    ]
    assert str(problem) == "2 events are invalid; event 3: $.a: expected b"


def test_problem_types_have_names_of_their_own() -> None:
    """A `type` leads to one meaning."""
    assert len({kind.slug for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)
