"""Bodies → events → the group commit → 202. The hot path: a single receipt comes through here thousands of times a
second, so what it does not need is not on its way.

A request is taken whole or refused whole. JSON objects, JSON arrays and NDJSON are told apart by their content type
and first byte; without a content type by their bytes.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from enum import Enum
from itertools import takewhile
from typing import Any, NoReturn

import msgspec
from aiohttp import hdrs, web

from broker.group_commit import GroupCommit
from entrypoint.accepted import AcceptedWriter
from entrypoint.bodies import GZIP_MAGIC, Bodies, Hold, check_transfer
from entrypoint.config import EntrypointConfig
from entrypoint.metrics import EntrypointMetrics
from entrypoint.problems import (
    INVALID_BODY,
    MAX_ERRORS,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    ProblemError,
    invalid_events,
)
from entrypoint.tokens import Tokens
from streams.base import Stream
from streams.decoding import find_unreadable, json_path
from streams.errors import InvalidEventError, UndecodableEventError

#: Events checked in one go, between which others have their turn: a few milliseconds' work.
_TURN_EVENTS = 200
_BLANK_LINES = re.compile(rb"\n\s+")
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"


class BodyKind(Enum):
    """What a content type promises."""

    JSON = "json"
    LINES = "lines"
    GZIP = "gzip"
    UNSAID = "unsaid"


_KINDS: dict[str | None, BodyKind] = {
    "application/json": BodyKind.JSON,
    "application/x-ndjson": BodyKind.LINES,
    "application/ndjson": BodyKind.LINES,
    "application/jsonl": BodyKind.LINES,
    "application/gzip": BodyKind.GZIP,
    "application/x-gzip": BodyKind.GZIP,
}
#: As clients write them, so that most headers need no taking apart.
_USUAL_KINDS: dict[str | None, BodyKind] = {
    None: BodyKind.UNSAID,
    **_KINDS,
    "application/json; charset=utf-8": BodyKind.JSON,
    "application/json;charset=utf-8": BodyKind.JSON,
    "application/json; charset=UTF-8": BodyKind.JSON,
}


class Intake:
    """Takes events by POST.

    Delivery guarantee: what was answered 202 is confirmed by the broker, in the frame that the answer names. A client
    that goes away cancels nothing. Any other answer but 503 says that nothing was taken; after 503 sending again is
    safe.
    """

    def __init__(
        self,
        config: EntrypointConfig,
        *,
        stream: Stream,
        commit: GroupCommit,
        tokens: Tokens | None,
        metrics: EntrypointMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accept = stream.accept
        self._commit = commit.commit
        self._tokens = tokens
        self._metrics = metrics
        self._clock = clock
        self._bodies = Bodies(config)
        self._body_max_bytes = config.body_max_bytes
        self._events_max = config.events_max
        self._array = _array_decoder(config.events_max)
        self._accepted = AcceptedWriter()

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one POST. Raises ProblemError, or the BrokerError of its publish."""
        headers = request.headers
        if self._tokens is not None:
            self._tokens.check(headers.get(hdrs.AUTHORIZATION))
        now = self._clock()
        content = request.content
        if content.is_eof() and hdrs.CONTENT_ENCODING not in headers and hdrs.TRANSFER_ENCODING not in headers:
            body = content.read_nowait()
            kind = _USUAL_KINDS.get(headers.get(hdrs.CONTENT_TYPE))
            if kind is BodyKind.JSON and body[:1] == b"{" and len(body) <= self._body_max_bytes:
                try:
                    lines = self._accept(body, now)
                except UndecodableEventError:
                    pass  # below it gets a second look, for what else it may have been meant to be
                except InvalidEventError as exc:
                    self._refuse([(0, exc)])
                else:
                    return self._accepted.answer(request, 1, await self._commit(lines, 1), now)
        else:
            body = None
        with self._bodies.hold() as hold:
            lines, events = await self._read(request, body, now, hold)
            confirmed = self._commit(lines, events)
        del lines, body  # the group commit has them; a frame lets go of them before its confirm is here
        return self._accepted.answer(request, events, await confirmed, now)

    async def _read(self, request: web.BaseRequest, body: bytes | None, now: float, hold: Hold) -> tuple[bytes, int]:
        """All other bodies: what is still coming in, compressed, or more than one event."""
        check_transfer(request)
        kind = _kind(request.headers.get(hdrs.CONTENT_TYPE))
        if body is None:
            content = request.content
            body = content.read_nowait() if content.is_eof() else await self._bodies.receive(request, hold)
        if len(body) > self._body_max_bytes:
            raise self._bodies.too_large()
        hold.grow(len(body))
        if encoding := request.headers.get(hdrs.CONTENT_ENCODING):
            body = await self._bodies.decompress(body, encoding, hold)
        if kind is not BodyKind.JSON and body[:2] == GZIP_MAGIC:  # a .gz file as it is
            body = await self._bodies.gunzip(body, hold)
        elif kind is BodyKind.GZIP:
            raise ProblemError(INVALID_BODY, "the body is not gzip data")
        body = body.removeprefix(_BOM).strip(_SPACE)
        if not body:
            raise ProblemError(INVALID_BODY, "the body is empty")
        if kind is not BodyKind.LINES and body[:1] == b"[":
            return await self._take_array(body, now)
        if kind is BodyKind.LINES or (kind is not BodyKind.JSON and _looks_like_lines(body)):
            return await self._take_lines(body, now)
        try:
            return self._accept(body, now), 1
        except UndecodableEventError as exc:
            if kind is BodyKind.JSON and _looks_like_lines(body):
                raise ProblemError(
                    INVALID_BODY, "several JSON values: send lines of JSON as application/x-ndjson"
                ) from exc
            self._refuse([(0, exc)])
        except InvalidEventError as exc:
            self._refuse([(0, exc)])

    async def _take_array(self, body: bytes, now: float) -> tuple[bytes, int]:
        try:
            array = self._array.decode(body)
        except RecursionError:
            raise ProblemError(INVALID_BODY, "the JSON is too deep") from None
        except msgspec.DecodeError as exc:
            match find_unreadable(body):
                case (int(index), *path), expected:
                    self._refuse([(index, InvalidEventError(json_path(tuple(path)), expected))])
            raise ProblemError(INVALID_BODY, f"the body is not a JSON array: {exc}") from None
        elements = (getattr(array, name) for name in array.__struct_fields__)
        raws = [bytes(raw) for raw in takewhile(lambda element: element is not None, elements)]
        if not raws:
            raise ProblemError(INVALID_BODY, "the array is empty")
        if len(raws) > self._events_max:
            raise self._too_many()
        return await self._take_events(raws, now)

    async def _take_lines(self, body: bytes, now: float) -> tuple[bytes, int]:
        if body.count(b"\n") >= self._events_max:  # not to be split before we know that these are not blank lines
            body = _BLANK_LINES.sub(b"\n", body)
            if body.count(b"\n") >= self._events_max:
                raise self._too_many()
        return await self._take_events((line for line in body.split(b"\n") if not line.isspace() and line), now)

    async def _take_events(self, raws: Iterable[bytes], now: float) -> tuple[bytes, int]:
        """Check all events, listing what is wrong with them, and make their lines."""
        accept = self._accept
        lines: list[bytes] = []
        errors: list[tuple[int, InvalidEventError]] = []
        for index, raw in enumerate(raws):
            try:
                lines.append(accept(raw, now))
            except InvalidEventError as exc:
                errors.append((index, exc))
                if len(errors) == MAX_ERRORS:
                    break
            if index % _TURN_EVENTS == _TURN_EVENTS - 1:
                await asyncio.sleep(0)
        if errors:
            self._refuse(errors)
        return b"\n".join(lines), len(lines)

    def _refuse(self, errors: list[tuple[int, InvalidEventError]]) -> NoReturn:
        self._metrics.invalid_events += len(errors)
        raise invalid_events(errors, more=len(errors) == MAX_ERRORS) from None

    def _too_many(self) -> ProblemError:
        return ProblemError(TOO_LARGE, f"the body holds more than {self._events_max} events")


def _array_decoder(events_max: int) -> msgspec.json.Decoder[Any]:
    """A decoder that keeps the first `events_max` + 1 elements of a JSON array, each as it stands.

    msgspec looks at a list's length only after it has made an object of every element, which a body of tiny elements
    turns into hundreds of megabytes. A struct that is written as an array skips what it has no field for.
    """
    fields = [(f"e{index}", msgspec.Raw, None) for index in range(events_max + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Elements", fields, array_like=True))


def _kind(content_type: str | None) -> BodyKind:
    """What a content type promises. Raises ProblemError for one that is not known here."""
    kind = _USUAL_KINDS.get(content_type)
    if kind is None and content_type is not None:
        essence, _, parameters = content_type.lower().partition(";")
        kind = _KINDS.get(essence.strip())
        charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters)
        if kind is None or (charset is not None and charset[1] not in ("utf-8", "utf8", "us-ascii")):
            raise ProblemError(
                UNSUPPORTED_TYPE,
                f"expected application/json or application/x-ndjson in UTF-8, got {content_type[:100]!r}",
                headers={"Accept-Post": "application/json, application/x-ndjson, application/gzip"},
            )
    assert kind is not None
    return kind


def _looks_like_lines(body: bytes) -> bool:
    """Whether more than one JSON value stands there, the first of them on a line of its own."""
    first, newline, _ = body.partition(b"\n")
    if not newline:
        return False
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
