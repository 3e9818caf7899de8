"""Reading back: totals, stored events, and what was rejected. What is answered is the stored truth, never a cache."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from engine.quarantine import REASONS, describe
from entrypoint.problems import INVALID_QUERY, NOT_FOUND, STORE_UNAVAILABLE, ProblemError
from runtime import read_moment
from store.protocol import REJECTED_STATUSES, EventQuery, RejectedQuery, Store, StoredEvent
from streams.base import Stream

TotalsReader = Callable[[str | None], Awaitable[Mapping[str, Any]]]

#: Events on a page, by default and at most.
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
#: A store that takes longer than this to answer a question is not there.
_READ_SECONDS = 30.0
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
#: An amount as people write it; none is beyond 10^9.
_AMOUNT = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,4}))?")

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Queries:
    """Answers GET requests about totals and events.

    Arguments:
        totals_reader: gives the totals of a business day, of the current one for None.
    """

    def __init__(self, *, store: Store, stream: Stream, totals_reader: TotalsReader) -> None:
        self._store = store
        self._stream = stream
        self._totals_reader = totals_reader
        self._parameters = ("day", *stream.key_names, "category", "min", "max", "after", "limit")

    async def totals(self, request: web.BaseRequest) -> web.Response:
        """`/totals` and `/totals/{day}`."""
        self._check_parameters(request, ())
        text = request.rel_url.path.removeprefix("/totals").removeprefix("/")
        day = _day(text) if text else None
        async with _time_limit():
            return _json(await self._totals_reader(day))

    async def event(self, request: web.BaseRequest) -> web.Response:
        """`/receipts/{id}`."""
        self._check_parameters(request, ())
        identity = unquote(request.rel_url.raw_path.rpartition("/")[2])
        async with _time_limit():
            event = await self._store.event(self._stream.name, identity)
        if event is None:
            raise ProblemError(NOT_FOUND, f"no event is stored under the id {identity[:300]}")
        return _json(_shown(event))

    async def events(self, request: web.BaseRequest) -> web.Response:
        """`/receipts?…`: `next` is there only if there is more; a page of large events ends before its limit."""
        given = self._check_parameters(request, self._parameters)
        low, high = _amount("min", given.get("min")), _amount("max", given.get("max"))
        if low is not None and high is not None and low > high:
            raise ProblemError(INVALID_QUERY, f"min is above max: {given['min']} and {given['max']}")
        query = EventQuery(
            day=_day(given["day"]) if "day" in given else None,
            keys={name: given[name] for name in self._stream.key_names if name in given},
            category=given.get("category"),
            at_least=low,
            at_most=high,
            after=given.get("after"),
            limit=_limit(given.get("limit")),
        )
        async with _time_limit():
            page = await self._store.events(self._stream.name, query)
            if not page and query.after is not None:
                await self._check_place(query.after)
        return _json(
            {
                self._stream.name: [_shown(event) for event in page],
                "next": page[-1].id if page.more else None,
            }
        )

    async def rejected_item(self, request: web.BaseRequest) -> web.Response:
        """`/rejected/{id}`."""
        self._check_parameters(request, ())
        id = unquote(request.rel_url.raw_path.rpartition("/")[2])
        async with _time_limit():
            item = await self._store.rejected_item(self._stream.name, id)
        if item is None:
            raise ProblemError(NOT_FOUND, f"nothing was rejected under the id {id[:300]}")
        return _json(describe(item))

    async def rejected(self, request: web.BaseRequest) -> web.Response:
        """`/rejected?…`, without the bytes; pages as those of `/receipts`."""
        given = self._check_parameters(request, ("reason", "status", "since", "before", "after", "limit"))
        query = RejectedQuery(
            reason=_word("reason", given.get("reason"), REASONS),
            status=_word("status", given.get("status"), REJECTED_STATUSES),
            since=_moment("since", given.get("since")),
            before=_moment("before", given.get("before")),
            after=given.get("after"),
            limit=_limit(given.get("limit")),
        )
        async with _time_limit():
            page = await self._store.rejected(self._stream.name, query)
            if not page and query.after is not None:
                await self._check_item(query.after)
        return _json({"rejected": [describe(item) for item in page], "next": page[-1].id if page.more else None})

    async def _check_place(self, after: str) -> None:
        """An empty page is the end of the list only if its place is one: events never go away."""
        if await self._store.event(self._stream.name, after) is None:
            raise ProblemError(INVALID_QUERY, f"expected an id as `after`, no event is stored under {after[:300]!r}")

    async def _check_item(self, after: str) -> None:
        """As `_check_place`: what was rejected never goes away either."""
        if await self._store.rejected_item(self._stream.name, after) is None:
            raise ProblemError(INVALID_QUERY, f"expected an id as `after`, nothing was rejected under {after[:300]!r}")

    def _check_parameters(self, request: web.BaseRequest, known: tuple[str, ...]) -> dict[str, str]:
        given: dict[str, str] = {}
        for name, value in request.query.items():
            if name not in known:
                expected = f"one of {', '.join(known)}" if known else "none here"
                raise ProblemError(INVALID_QUERY, f"unknown query parameter {name[:100]!r}, expected {expected}")
            if name in given:
                raise ProblemError(INVALID_QUERY, f"the query parameter {name!r} is given twice")
            given[name] = value
        return given


def _shown(event: StoredEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "frame": event.frame,
        "day": event.day,
        "received": event.received,
        "stored": event.stored,
        "receipt": msgspec.Raw(event.body),
    }


def _day(text: str) -> str:
    try:
        if _DAY.fullmatch(text) is None:
            raise ValueError
        date.fromisoformat(text)
    except ValueError:
        raise ProblemError(INVALID_QUERY, f"expected a day as YYYY-MM-DD, got {text[:40]!r}") from None
    return text


def _amount(name: str, text: str | None) -> int | None:
    """An amount in 1/10000."""
    if text is None:
        return None
    match = _AMOUNT.fullmatch(text)
    if match is None:
        expected = "an amount such as 12.50, of at most 4 digits after the point"
        raise ProblemError(INVALID_QUERY, f"expected {expected} as {name}, got {text[:40]!r}")
    sign, whole, part = match.groups(default="")
    return int(f"{sign}{whole}{part:0<4}")


def _word(name: str, text: str | None, known: Sequence[str]) -> str | None:
    if text is not None and text not in known:
        raise ProblemError(INVALID_QUERY, f"expected one of {', '.join(known)} as {name}, got {text[:40]!r}")
    return text


def _moment(name: str, text: str | None) -> float | None:
    """A moment in epoch seconds."""
    try:
        return None if text is None else read_moment(text, now=time.time(), zone=None)
    except ValueError as exc:
        raise ProblemError(INVALID_QUERY, f"{name}: expected {exc}") from None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise ProblemError(INVALID_QUERY, f"expected a limit from 1 to {MAX_LIMIT}, got {text[:40]!r}")
    return int(text)


def _json(value: object) -> web.Response:
    return web.Response(body=_encode(value) + b"\n", content_type="application/json")


@asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    """A time limit whose end is a problem, as a store that does not answer is."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            yield
    except TimeoutError:
        raise ProblemError(STORE_UNAVAILABLE, f"no answer within {_READ_SECONDS:g} s") from None
