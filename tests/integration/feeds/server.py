"""A stand-in for the entrypoint on a real socket, whose answers a test decides."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[["Taken"], Awaitable[web.StreamResponse] | web.StreamResponse]


class Taken:
    """One request as it came in."""

    def __init__(self, request: web.Request, body: bytes) -> None:
        self.path = request.path
        self.headers = request.headers
        self.lines = body.split(b"\n")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its events."""
        return [json.loads(line) for line in self.lines]


class StandIn:
    """What came in, and what is answered: 202 unless `answer` is set.

    Attributes:
        requests: every request, in order.
        accepted: events of the requests that were answered with 202.
        busiest: most requests that were in at once.
    """

    def __init__(self) -> None:
        self.answer: Answer = accepted
        self.requests: list[Taken] = []
        self.accepted: list[dict[str, Any]] = []
        self.busiest = 0
        self.url = ""
        self._in = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self._in += 1
        self.busiest = max(self.busiest, self._in)
        try:
            taken = Taken(request, await request.read())
            self.requests.append(taken)
            answer = self.answer(taken)
            response = await answer if isinstance(answer, Awaitable) else answer
            if response.status == 202:
                self.accepted += taken.events
            return response
        finally:
            self._in -= 1


def accepted(taken: Taken) -> web.Response:
    """202."""
    return web.json_response({"accepted": len(taken.lines), "frame": "0" * 32}, status=202)


def busy(retry_after: str | None = "0") -> web.Response:
    """503, as when the broker is away."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return web.json_response({"title": "Too much under way", "detail": "try later"}, status=503, headers=headers)


def refuse(taken: Taken, bad: Callable[[dict[str, Any]], bool], *, most: int = 100) -> web.Response:
    """400 naming the bad events, or 202 if there are none."""
    indexes = [index for index, event in enumerate(taken.events) if bad(event)][:most]
    if not indexes:
        return accepted(taken)
    errors = [{"event": index, "field": "$.n", "expected": "a good number"} for index in indexes]
    return web.json_response({"title": "An event is not valid", "detail": "bad", "errors": errors}, status=400)


@asynccontextmanager
async def stand_in(port: int = 0) -> AsyncIterator[StandIn]:
    """A stand-in that listens on loopback."""
    server = StandIn()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await asyncio.wait_for(runner.cleanup(), 30)
