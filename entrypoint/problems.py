"""Errors as RFC 9457 problem documents: one form for everything that is refused.

`type` is a reference into our own documentation page, so that it can be followed; `title` is the same for every
problem of a type, `detail` speaks of this one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    MessageTooLargeError,
    OverloadedError,
    PublishUnknownError,
)
from runtime.hosts import ForeignOriginError, UnknownHostError
from store.errors import StoreError
from streams.errors import InvalidEventError, TillstreamError

#: Errors that one problem document lists at most.
MAX_ERRORS = 100
CONTENT_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem.

    Attributes:
        slug: names it in `type`, `/docs#problem-<slug>`.
        status: of the HTTP answer.
        title: the same for every problem of this type.
        meaning: for the documentation: when it happens and what to do.
        retry_after_seconds: when to try again, where that makes sense.
    """

    slug: str
    status: int
    title: str
    meaning: str
    retry_after_seconds: int | None = None

    @property
    def uri(self) -> str:
        """The problem's `type`."""
        return f"/docs#problem-{self.slug}"


INVALID_EVENT = ProblemType(
    "invalid-event",
    400,
    "An event is not valid",
    "At least one event breaks the schema; `errors` names event, field and expectation. Nothing of the request was "
    "taken. Correct the events and send all of the request again.",
)
INVALID_BODY = ProblemType(
    "invalid-body",
    400,
    "The body cannot be read",
    "The body is empty, cut off, not what its `Content-Encoding` says, or not even JSON. Nothing was taken.",
)
INVALID_QUERY = ProblemType(
    "invalid-query", 400, "The query is not valid", "A day or a query parameter is not one that is known here."
)
UNAUTHORIZED = ProblemType(
    "unauthorized",
    401,
    "A valid token is needed",
    "Send `Authorization: Bearer <token>` with a token that is listed. Nothing was taken: then send it again.",
)
UNKNOWN_HOST = ProblemType(
    "unknown-host",
    421,
    "This service does not have that name",
    "The request is for a name that is not known here, which may be another site's. Use an address or `localhost`, or "
    "add the name to `TILLSTREAM_HOST_NAMES`. With tokens, every name is answered.",
)
FOREIGN_ORIGIN = ProblemType(
    "foreign-origin",
    403,
    "Requests from pages of other sites are refused",
    "A browser sent this for a page of another site. If tills send from there, list its origin in "
    "`TILLSTREAM_CORS_ORIGINS`.",
)
NOT_FOUND = ProblemType("not-found", 404, "Not found", "There is nothing at this path, or no event of this id.")
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "The header `Allow` lists what this path takes."
)
TIMEOUT = ProblemType(
    "timeout", 408, "The body took too long", "The body did not arrive in time. Nothing was taken: send it again."
)
TOO_LARGE = ProblemType(
    "too-large",
    413,
    "Too much in one request",
    "The body, decompressed, or the number of its events is beyond the limit. Nothing was taken: send less at once.",
)
UNSUPPORTED_TYPE = ProblemType(
    "unsupported-type",
    415,
    "Content type or encoding not supported",
    "Send `application/json` or `application/x-ndjson` in UTF-8, as it is or gzipped.",
)
EXPECTATION_FAILED = ProblemType(
    "expectation-failed", 417, "Expectation failed", "The only expectation that is known here is `100-continue`."
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large", 431, "The headers are too large", "One header, or their number, is beyond the limit."
)
PATH_TOO_LONG = ProblemType("path-too-long", 414, "The path is too long", "The request line is beyond the limit.")
MALFORMED = ProblemType("malformed-request", 400, "Not an HTTP request", "The request line or a header cannot be read.")
INTERNAL = ProblemType(
    "internal", 500, "An error of ours", "Something went wrong here; the log has it. Trying again is safe."
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Too much under way",
    "More events wait for the broker than this process wants to hold. Nothing was taken: try again later.",
    1,
)
BROKER_FULL = ProblemType(
    "broker-full", 503, "The broker's queue is full", "Nothing was taken: try again when consumers have caught up.", 5
)
BROKER_BLOCKED = ProblemType(
    "broker-blocked", 503, "The broker takes no messages right now", "Nothing was taken: try again later.", 5
)
BROKER_UNKNOWN = ProblemType(
    "broker-unconfirmed",
    503,
    "The broker did not confirm in time",
    "The events may or may not have been taken. Sending them again is safe: they are counted once.",
    2,
)
BROKER_UNAVAILABLE = ProblemType(
    "broker-unavailable", 503, "The broker cannot be reached", "Nothing was taken: try again later.", 2
)
STORE_UNAVAILABLE = ProblemType(
    "store-unavailable", 503, "The store cannot be read", "Try again later; taking events goes on.", 2
)

PROBLEM_TYPES = (
    INVALID_EVENT,
    INVALID_BODY,
    INVALID_QUERY,
    MALFORMED,
    UNAUTHORIZED,
    FOREIGN_ORIGIN,
    UNKNOWN_HOST,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    EXPECTATION_FAILED,
    PATH_TOO_LONG,
    HEADERS_TOO_LARGE,
    INTERNAL,
    OVERLOADED,
    BROKER_FULL,
    BROKER_BLOCKED,
    BROKER_UNKNOWN,
    BROKER_UNAVAILABLE,
    STORE_UNAVAILABLE,
)


class ProblemError(TillstreamError):
    """A request is refused. Raised by handlers, answered as problem JSON.

    Arguments:
        type: what kind of problem it is.
        detail: one sentence about this one.
        members: further members of the document, such as `errors`.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        type: ProblemType,
        detail: str,
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type
        self.members = members or {}
        self.headers = headers or {}

    def response(self) -> web.Response:
        """The answer."""
        headers = dict(self.headers)
        if self.type.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.type.retry_after_seconds)
        document = {
            "type": self.type.uri,
            "title": self.type.title,
            "status": self.type.status,
            "detail": str(self),
            **self.members,
        }
        response = web.Response(
            status=self.type.status, body=_encode(document), content_type=CONTENT_TYPE, headers=headers
        )
        if headers.get("Connection") == "close":
            response.force_close()  # the header alone tells the client, not the connection
        return response


def invalid_events(errors: Sequence[tuple[int, InvalidEventError]], more: bool = False) -> ProblemError:
    """The problem of a request with invalid events, at least one.

    Arguments:
        errors: pairs of the event's index in the request and what is wrong with it.
        more: whether checking stopped at MAX_ERRORS, so that there may be more of them.
    """
    first, error = errors[0]
    if len(errors) == 1:
        detail = f"event {first}: {error}"
    else:
        detail = f"{len(errors)}{' or more' if more else ''} events are invalid; event {first}: {error}"
    return ProblemError(
        INVALID_EVENT,
        detail,
        members={"errors": [{"event": index, "field": err.field, "expected": err.expected} for index, err in errors]},
    )


#: Errors of other packages and the problems that they are, the special before the general.
_KINDS: tuple[tuple[type[TillstreamError], ProblemType], ...] = (
    (UnknownHostError, UNKNOWN_HOST),
    (ForeignOriginError, FOREIGN_ORIGIN),
    (OverloadedError, OVERLOADED),
    (MessageTooLargeError, TOO_LARGE),
    (BrokerFullError, BROKER_FULL),
    (BrokerBlockedError, BROKER_BLOCKED),
    (PublishUnknownError, BROKER_UNKNOWN),
    (BrokerError, BROKER_UNAVAILABLE),
    (StoreError, STORE_UNAVAILABLE),
)


def from_error(error: TillstreamError) -> ProblemError:
    """The problem that one of our own errors means to a client."""
    if isinstance(error, ProblemError):
        return error
    for kind, problem in _KINDS:
        if isinstance(error, kind):
            return ProblemError(problem, str(error))
    return ProblemError(INTERNAL, "see the log")
