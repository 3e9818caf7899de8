"""What an answer of the entrypoint means for the events of a request: pure decisions, no I/O.

The answers are those of the HTTP contract: 202 taken whole, 400 refused whole with a problem document (RFC 9457) that
names events by their index, 413 too large, 503 with Retry-After. Only 2xx, 400, 413, 415 and 422 are final.
"""

import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

#: A server that asks for more patience than this is asked again sooner.
_LONGEST_WAIT_S = 60.0
#: Longest reason that is kept of an answer that is no problem document.
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """All events of the request were taken."""


@dataclass(frozen=True, slots=True)
class Refused:
    """These events will never be taken: index in the request → reason. The others were not taken yet."""

    reasons: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Split:
    """The request was refused, and no event can be named: ask again with the halves."""


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing was promised: send the same request again, which is safe, since identity makes it idempotent.

    Attributes:
        why: for the log.
        after_s: seconds that the server asks to wait, None if it does not say.
    """

    why: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Nothing was taken, and every other request would get the same answer: stop, and keep the events."""

    why: str


Verdict = Accepted | Refused | Split | Again | Hopeless

#: Beside 2xx, the answers that are final for the events of a request: they will never be taken as they are.
FINAL = frozenset({400, 413, 415, 422})
#: Nothing was promised, and the same request may be taken later.
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: The events may be taken once the sender is set up otherwise: with a token, or to another address.
UNAUTHORIZED = Hopeless("the server wants a valid token (401)")
_HOPELESS = {
    403: "the server does not allow this (403)",
    404: "there is nothing at this address (404)",
    405: "this address takes no POST (405)",
    421: "the server does not have this name (421)",
}


def judge(status: int, retry_after: str | None, body: bytes, events: int, now: float) -> Verdict:
    """Decide what an answer means.

    Arguments:
        status: of HTTP.
        retry_after: the header, if there was one.
        body: of the answer.
        events: how many the request held.
        now: epoch seconds, against which a date in `retry_after` is read.
    """
    if 200 <= status < 300:
        return Accepted()
    if status in AGAIN:
        return Again(f"the server answers {status}: {_detail(body)}", _seconds(retry_after, now))
    if status in FINAL:
        if events == 1 or status == 415:  # the kind of content is that of all events
            return Refused(dict.fromkeys(range(events), _only_reason(status, body)))
        reasons = _reasons(body, events)
        return Refused(reasons) if reasons else Split()
    if status == 401:
        return UNAUTHORIZED
    return Hopeless(_HOPELESS.get(status) or f"the server answers {status}: {_detail(body)}")


def _problem(body: bytes) -> dict[str, Any]:
    """A problem document, or nothing."""
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _detail(body: bytes) -> str:
    """One line for people."""
    problem = _problem(body)
    text = problem.get("detail") or problem.get("title") or body[:_LONGEST_REASON].decode(errors="replace")
    return " ".join(str(text).split()) or "no reason given"


def _reasons(body: bytes, events: int) -> dict[int, str]:
    """The first reason for each event that the problem document names."""
    reasons: dict[int, str] = {}
    errors = _problem(body).get("errors")
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            index = error.get("event")
            if type(index) is int and 0 <= index < events:
                reasons.setdefault(index, _reason(error))
    return reasons


def _reason(error: Mapping[str, Any]) -> str:
    parts = [str(error[name]) for name in ("field", "expected") if error.get(name)]
    return ": ".join(parts) or str(error.get("detail") or "no reason given")


def _only_reason(status: int, body: bytes) -> str:
    """Why a request of one event was refused."""
    errors = _problem(body).get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return _reason(errors[0])
    return f"too large: {_detail(body)}" if status == 413 else _detail(body)


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT_S)
