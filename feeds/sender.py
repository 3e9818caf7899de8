"""Sending events to the entrypoint over HTTP: a bounded number of requests at once, tried again where that helps.

Every event ends as accepted, refused, unknown or unsent; see `feeds.counts`. Trying again is always safe: an event's
identity makes it count once. Not here: what an answer means (`feeds.answers`) and when requests leave (`feeds.pace`).
"""

import asyncio
import os
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import structlog

from feeds.answers import UNAUTHORIZED, Accepted, Again, Hopeless, Refused, Split, Verdict, judge
from feeds.counts import Counts
from runtime import Backoff, masked, tls_words
from streams.errors import ConfigurationError, TillstreamError

log = structlog.get_logger()

#: Where events go if the address names no path.
_PATH = "/receipts"
#: After a wish to stop, requests under way have so long to be answered, seconds.
_GRACE_S = 3.0


class SendingError(TillstreamError):
    """The server cannot be reached, keeps failing for longer than our patience, or refuses every request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """Where to, and how patiently.

    Attributes:
        url: `http://HOST:PORT`, with a path if events don't go to `/receipts`.
        token: sent as a bearer token.
        concurrency: requests under way at once.
        timeout_s: for one request, connecting included.
        patience_s: how long one request is tried again before all is given up; None never gives up.
        first_patience_s: the same while the server has never answered, which is more likely a wrong address.
        backoff: between attempts, where the server does not say when.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    concurrency: int = 8
    timeout_s: float = 30.0
    patience_s: float | None = 120.0
    first_patience_s: float | None = 3.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.2, cap_s=10.0))

    def __post_init__(self) -> None:
        """Raises ConfigurationError for an address that is none, or no concurrency."""
        if self.concurrency < 1:
            raise ConfigurationError(f"concurrency: expected at least 1, got {self.concurrency}")
        self.address()

    def address(self) -> str:
        """The whole address. Raises ConfigurationError."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError(f"expected an address such as http://127.0.0.1:3000, got {_shown(self.url)!r}")
        return urlunsplit(parts._replace(path=_PATH)) if parts.path in {"", "/"} else self.url


@dataclass(slots=True)
class _Request:
    """Events on their way: their numbers in the feed, and whether a server may have taken them."""

    events: list[bytes]
    numbers: Sequence[int]
    doubtful: bool = False

    def pick(self, indexes: Sequence[int]) -> "_Request":
        return _Request([self.events[i] for i in indexes], [self.numbers[i] for i in indexes])

    def halves(self) -> "list[_Request]":
        middle = len(self.events) // 2
        return [self.pick(range(middle, len(self.events))), self.pick(range(middle))]


class _StoppedError(Exception):
    """Raised between two attempts after a wish to stop."""


class Sender:
    """A bounded number of requests under way to one server; an async context manager with one producer.

    Leaving the context cancels what is under way and counts it as unknown; `drain` first to wait for it.
    """

    def __init__(self, options: SenderOptions) -> None:
        self.options = options
        self.counts = Counts()
        self._address = options.address()
        self._tasks: dict[asyncio.Task[None], list[_Request]] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._over = asyncio.Event()
        self._failure: BaseException | None = None
        self._session: aiohttp.ClientSession | None = None
        self._submitted = 0
        self._answered = False
        self._in_trouble = False

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self.options.token}"} if self.options.token else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.options.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.options.timeout_s),
            headers=headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._abandon()
        if self._session is not None:
            await self._session.close()

    @property
    def outstanding(self) -> int:
        """Requests under way, those waiting for their next attempt included."""
        return len(self._tasks)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """Take no more events and try nothing again; requests under way may still be answered. Never blocks."""
        self._stopping = True
        self._over.set()
        self._changed.set()

    async def submit(self, events: list[bytes]) -> bool:
        """Send events in one request; returns when it is under way, having waited for a place.

        Returns False, with nothing sent or counted, after `stop`. After all was given up, events are counted as unsent,
        so that a feed that ends can be counted whole; `drain` says why.
        """
        while len(self._tasks) >= self.options.concurrency and not self.stopping and self._failure is None:
            await self._change()
        if self.stopping:
            return False
        if self._failure is not None:
            self.counts.unsent += len(events)
            await asyncio.sleep(0)  # a feed that does not wait for a place must not keep an interrupt waiting
            return True
        first = self._submitted + 1
        self._submitted += len(events)
        waiting = [_Request(events, range(first, first + len(events)))]
        task = asyncio.create_task(self._settle(waiting), name=f"send events from {first}")
        self._tasks[task] = waiting
        task.add_done_callback(self._ended)
        return True

    async def over(self) -> None:
        """Wait until no more events are taken: after `stop`, or when all was given up."""
        await self._over.wait()

    async def rest(self, seconds: float) -> bool:
        """Wait; True if no more events are taken (see `over`)."""
        try:
            async with asyncio.timeout(seconds):
                return await self._over.wait()
        except TimeoutError:
            return False

    async def drain(self) -> None:
        """Wait until every event has its fate; bounded after `stop`, and after all was given up.

        Raises SendingError in the latter case.
        """
        while self._tasks and not self.stopping and self._failure is None:
            await self._change()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE_S)
        await self._abandon()
        self._raise_failure()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _abandon(self) -> None:
        """Cancel what is under way; it counts as unknown, or as unsent where that is sure."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        for rest in self._tasks.pop(task):
            if rest.doubtful:
                self.counts.unknown += len(rest.events)
            else:
                self.counts.unsent += len(rest.events)
        self._changed.set()
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()
            self._over.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _settle(self, waiting: list[_Request]) -> None:
        """Send requests, and what is left of them after refusals, until every event has its fate.

        A request is taken off the list when it is counted: what a cancelled task leaves there has no fate yet.
        """
        try:
            while waiting:
                verdict = await self._insist(waiting[-1])
                waiting += self._count(waiting.pop(), verdict)
        except _StoppedError:
            pass

    def _count(self, request: _Request, verdict: Accepted | Refused | Split) -> list[_Request]:
        """Count what an answer decided, and give what has to be sent again."""
        if isinstance(verdict, Accepted):
            self.counts.accepted += len(request.events)
            return []
        if isinstance(verdict, Split):
            return request.halves()
        for index, reason in verdict.reasons.items():
            self.counts.refuse(reason, request.numbers[index])
        rest = [index for index in range(len(request.events)) if index not in verdict.reasons]
        return [request.pick(rest)] if rest else []

    async def _insist(self, request: _Request) -> Accepted | Refused | Split:
        """Send a request until the answer is conclusive. Raises SendingError when patience ends."""
        started = time.monotonic()
        attempt = 0
        while True:
            verdict = await self._attempt(request)
            if isinstance(verdict, Hopeless):
                raise SendingError(f"{_shown(self._address)}: {verdict.why}{self._token_hint(verdict)}")
            if not isinstance(verdict, Again):
                self._note_success()
                return verdict
            attempt += 1
            chance = random.random()
            delay = self.options.backoff.delay(attempt, chance)
            if verdict.after_s is not None:  # never earlier than the server asks, and not all at the same moment
                delay = max(delay, verdict.after_s * (1 + chance / 4))
            patience = self.options.patience_s if self._answered else self.options.first_patience_s
            if patience is not None and time.monotonic() - started + delay > patience:
                hint = "" if self._answered else " (is the server running there?)"
                raise SendingError(f"{_shown(self._address)}: {verdict.why}{hint}")
            self._note_trouble(verdict.why, delay)
            if await self.rest(delay):
                raise _StoppedError
            self.counts.retried += 1

    async def _attempt(self, request: _Request) -> Verdict:
        """Send a request once."""
        assert self._session is not None, "a Sender sends only inside its context"
        many = len(request.events) > 1
        doubtful, request.doubtful = request.doubtful, True
        try:
            async with self._session.post(
                self._address,
                data=b"\n".join(request.events),
                headers={"Content-Type": "application/x-ndjson" if many else "application/json"},
                allow_redirects=False,
            ) as response:
                body = await response.read()
                self._answered = True
                if response.status < 500:
                    request.doubtful = doubtful  # this attempt was answered: taken whole, or not at all
                retry_after = response.headers.get("Retry-After")
                return judge(response.status, retry_after, body, len(request.events), time.time())
        except aiohttp.InvalidURL:
            return Hopeless("this is not an address")
        except aiohttp.ClientConnectorError as exc:
            request.doubtful = doubtful  # nothing was sent
            return Again(f"cannot connect: {_reason(exc.os_error)}")
        except TimeoutError:
            return Again(f"no answer within {self.options.timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as exc:
            return Again(f"the connection broke: {str(exc) or type(exc).__name__}")

    def _token_hint(self, verdict: Hopeless) -> str:
        """A line of a tokens file, `name:token`, is easily taken for the token."""
        if verdict == UNAUTHORIZED and ":" in (self.options.token or ""):
            return ": of name:token, send only what is behind the colon"
        return ""

    def _note_trouble(self, why: str, delay_s: float) -> None:
        """Say once that there is trouble, not at each attempt."""
        if not self._in_trouble:
            self._in_trouble = True
            log.warning("sending fails, trying again", to=_shown(self._address), error=why, delay_s=round(delay_s, 3))

    def _note_success(self) -> None:
        if self._in_trouble:
            self._in_trouble = False
            log.info("sending works again", to=_shown(self._address))


def _shown(address: str) -> str:
    """An address for people, its password masked."""
    return masked(address) if "@" in address else address


def _reason(error: OSError) -> str:
    """Why a connection could not be made. The number of an error of TLS is OpenSSL's, not the system's."""
    if words := tls_words(str(error)):
        return words
    known = error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError)
    return (os.strerror(error.errno) if known else str(error)) or "the server hung up"  # type: ignore[arg-type]
