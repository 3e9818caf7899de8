"""Clients that post receipts while everything around them breaks, and the history of what each was answered.

A client sends some receipts twice, some with another content than the first time, hangs up now and then, tries again
most of what was not answered with 202 and gives the rest up, so that there are receipts whose fate nobody was told.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

from bench.faults.judge import Sent, describe
from feeds import Generator, GeneratorOptions

#: What a 503 says that promises nothing: the broker may or may not have the receipts.
_UNKNOWN_PROBLEM = "broker-unconfirmed"
#: A copy is one of the last so many receipts: younger and older than what fails meanwhile.
_REMEMBERED = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficOptions:
    """What is sent.

    Attributes:
        rate: receipts a second.
        size: receipts in a request at most; they vary from 1 on.
        copies, conflicts: shares of receipts sent again, and with another content.
        gives_up: share of requests that are not tried again after anything but a 202.
        hangs_up: share of requests whose client leaves after some milliseconds.
        outstanding: requests under way or waiting for their next attempt at most; beyond it nothing new is sent.
        timeout_s: after which a client takes an answer for lost.
    """

    rate: float = 80.0
    size: int = 12
    copies: float = 0.05
    conflicts: float = 0.01
    gives_up: float = 0.2
    hangs_up: float = 0.02
    outstanding: int = 150
    timeout_s: float = 15.0


@dataclass(slots=True)
class Request:
    """Receipts on their way, and how their client behaves."""

    sent: list[Sent]
    body: bytes
    gives_up: bool
    timeout_s: float


@dataclass(slots=True)
class Traffic:
    """Posts receipts to several entrypoints until it is stopped.

    Attributes:
        history: every distinct receipt (identity and content) that was posted, with what was answered.
        answers: how often each answer came, by receipts.
        full: requests that were refused because the queue was full.
        hurried: send ten times as much as otherwise.
        silence_s: the longest time between two acknowledgements.
    """

    urls: Sequence[str]
    options: TrafficOptions
    seed: int
    history: dict[tuple[str, str], Sent] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    full: int = 0
    hurried: bool = False
    silence_s: float = 0.0
    _heard: float | None = None
    _bodies: list[bytes] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until `stop`, then go on with what has to be tried again until `finish`."""
        rand = random.Random(f"traffic {self.seed}")
        generator = Generator(GeneratorOptions(seed=self.seed, returns=0.02))
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0, force_close=False)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            due = time.monotonic()
            while not self._stopped.is_set():
                if len(self._tasks) < self.options.outstanding:
                    request = self._request(rand, generator)
                    task = asyncio.create_task(self._insist(session, request, random.Random(rand.random())))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    due += len(request.sent) / (self.options.rate * (10 if self.hurried else 1))
                now = time.monotonic()
                due = max(due, now - 1)  # what could not be sent is not made up for
                await _wait(self._stopped, max(0.005, due - now))
            while self._tasks:
                await asyncio.wait(self._tasks)

    @property
    def outstanding(self) -> int:
        """Requests under way, or waiting for their next attempt."""
        return len(self._tasks)

    @property
    def acknowledged(self) -> int:
        """Receipts answered with 202, copies counted each time."""
        return self.answers["acknowledged"]

    def stop(self) -> None:
        """Make nothing new; what is under way is still insisted on."""
        self._stopped.set()

    def give_up(self) -> None:
        """Try nothing again any more."""
        self._over.set()

    def _request(self, rand: random.Random, generator: Generator) -> Request:
        bodies: list[bytes] = []
        for _ in range(rand.randint(1, self.options.size)):
            chance = rand.random()
            if chance < self.options.copies and self._bodies:
                bodies.append(rand.choice(self._bodies))
            elif chance < self.options.copies + self.options.conflicts and self._bodies:
                bodies.append(contradict(rand.choice(self._bodies), rand))
            else:
                bodies.append(generator.receipt())
                self._bodies.append(bodies[-1])
        if len(self._bodies) > _REMEMBERED:
            del self._bodies[: -_REMEMBERED // 2]
        sent = []
        for body in bodies:
            facts = describe(body)
            sent.append(self.history.setdefault((facts.identity, facts.digest), Sent(facts=facts)))
            sent[-1].wanted += 1
        hangs_up = rand.random() < self.options.hangs_up
        return Request(
            sent=sent,
            body=b"\n".join(bodies),
            gives_up=rand.random() < self.options.gives_up,
            timeout_s=rand.uniform(0.001, 0.03) if hangs_up else self.options.timeout_s,
        )

    async def _insist(self, session: aiohttp.ClientSession, request: Request, rand: random.Random) -> None:
        while True:
            answer = await self._attempt(session, request, rand.choice(self.urls))
            self.answers[answer] += len(request.sent)
            if answer == "acknowledged":
                self._hear(time.monotonic())
            for sent in request.sent:
                sent.answers[answer] += 1
            if answer in {"acknowledged", "invalid"} or request.gives_up or self._over.is_set():
                return
            request.timeout_s = self.options.timeout_s
            await _wait(self._over, rand.uniform(0.3, 2.0))

    def _hear(self, now: float) -> None:
        if self._heard is not None:
            self.silence_s = max(self.silence_s, now - self._heard)
        self._heard = now

    async def _attempt(self, session: aiohttp.ClientSession, request: Request, url: str) -> str:
        """`acknowledged`, `refused`, `unknown`, or `invalid`, which is never to be."""
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            async with asyncio.timeout(request.timeout_s):
                async with session.post(f"{url}/receipts", data=request.body, headers=headers) as response:
                    said = await response.read()
        except aiohttp.ClientConnectorError:
            return "refused"  # nothing was sent
        except (TimeoutError, aiohttp.ClientError, OSError):
            return "unknown"
        if response.status == 202:
            return "acknowledged"
        if response.status != 503:
            return "invalid" if response.status < 500 else "unknown"
        problem = _problem(said)
        self.full += problem == "broker-full"
        return "unknown" if problem == _UNKNOWN_PROBLEM else "refused"


def contradict(body: bytes, rand: random.Random) -> bytes:
    """A receipt of the same identity and another amount."""
    receipt: dict[str, Any] = json.loads(body)
    total = Decimal(str(receipt["documentTotal"]["grossTotal"])) + Decimal(rand.randint(1, 500)) / 100
    receipt["documentTotal"]["grossTotal"] = float(total)
    return json.dumps(receipt).encode()


def _problem(said: bytes) -> str:
    try:
        return str(json.loads(said)["type"]).rpartition("#problem-")[2]
    except (ValueError, KeyError, TypeError):
        return ""


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
