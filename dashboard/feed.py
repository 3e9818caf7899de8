"""The feed: one subscription per server process, whose last values all sessions share. Knows nothing of pages."""

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from broker.errors import BrokerError
from broker.exchanges import REJECTED
from broker.protocol import Consumer
from dashboard.messages import MalformedMessageError, Part, bindings, decode, part_name
from dashboard.snapshot import Snapshot, value_of
from runtime import Backoff

log = structlog.get_logger("tillstream.dashboard")

#: The engine publishes every second, so this long a silence is trouble.
STALE_AFTER_SECONDS = 3.0
#: When for so long a part hears only messages older than what it knows, the totals have begun anew (their store was
#: emptied, say) and are believed. Far longer than any overlap of two engines at a failover.
RESTART_AFTER_SECONDS = 10.0
#: Our queue at the broker: some ten seconds of messages. What a slower reader loses, the next second replaces.
QUEUE_LENGTH = 100
#: Reasons of rejection told apart: there are three or four.
MOST_REASONS = 20
#: One line in the log per kind of malformed message and this long, however many there are.
COMPLAIN_EVERY_SECONDS = 60.0


class Subscriber(Protocol):
    """The side of a broker that a feed needs; see `broker.protocol.Broker.subscribe`."""

    async def subscribe(self, role: str, bindings: Mapping[str, str], *, max_length: int = 1000) -> Consumer:
        """Listen to exchanges."""


class Feed:
    """Listens to a stream's totals and keeps the last of each part.

    Arguments:
        stream: name of the stream.
        registry: where its counters go; none by default.
        clock: monotonic seconds.

    `latest` may be read from any thread; `follow` and `take` belong to one.
    """

    def __init__(
        self,
        stream: str = "receipts",
        *,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self.clock = clock
        self._latest = Snapshot(started=clock())
        self._order: dict[str, tuple[str, int]] = {}
        self._as_of = 0.0
        self._complained: dict[str, float] = {}
        self._messages = Counter(
            "tillstream_dashboard_messages",
            "Messages that the dashboard's feed got, by what became of them.",
            ["outcome"],
            registry=registry,
        )

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._stream

    @property
    def latest(self) -> Snapshot:
        """What is known now. The same object as long as nothing was heard."""
        return self._latest

    @property
    def silence(self) -> float:
        """Seconds since the totals were last heard; see `Snapshot.silence`."""
        return self._latest.silence(self.clock())

    @property
    def stale(self) -> bool:
        """Whether the silence is too long for the numbers to be called live."""
        return self.silence > STALE_AFTER_SECONDS

    async def follow(self, broker: Subscriber) -> None:
        """Subscribe, and take what comes until cancelled; then the subscriptions are closed.

        A subscription that the broker refuses is tried again; one that was made survives lost connections by itself.
        What is rejected has one of its own: were there ever very much of it, it would push the totals out of theirs.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(broker, "dashboard", bindings(self._stream)), name="dashboard totals")
            rejected = {REJECTED.name: f"{self._stream}.*"}
            group.create_task(self._listen(broker, "dashboard-rejected", rejected), name="dashboard rejected")

    async def _listen(self, broker: Subscriber, role: str, wanted: Mapping[str, str]) -> None:
        backoff, attempt = Backoff(cap_s=5.0), 0
        while True:
            try:
                consumer = await broker.subscribe(role, wanted, max_length=QUEUE_LENGTH)
            except BrokerError as exc:
                attempt += 1
                delay = backoff.delay(attempt, random.random())
                log.warning("no subscription for the dashboard, trying again", error=str(exc), delay_s=round(delay, 1))
                await asyncio.sleep(delay)
                continue
            attempt = 0
            try:
                async for delivery in consumer:
                    self.take(delivery.exchange, delivery.routing_key, delivery.body)
            finally:
                await consumer.close()
            # Only somebody who closed the broker under us ends the iteration: ask it again, and hear what it says.
            await asyncio.sleep(backoff.base_s)

    def take(self, exchange: str, routing_key: str, body: bytes) -> None:
        """Put one message into the next snapshot; or count and pass over it, if it is malformed, old or unknown."""
        if exchange == REJECTED.name:
            self._count_rejected(routing_key.removeprefix(f"{self._stream}."))
            return
        name = part_name(self._stream, exchange, routing_key)
        if name is None:
            return
        now = self.clock()
        before = self._latest
        try:
            part = decode(name, body)
        except MalformedMessageError as exc:
            self._messages.labels("malformed").inc()
            self._latest = dataclasses.replace(before, malformed=before.malformed + 1)
            self._complain(f"{exchange} {routing_key}", str(exc), now)
            return
        if self._older(name, part):
            last = before.heard.get(name, max(before.heard.values(), default=now))
            if now - last < RESTART_AFTER_SECONDS:
                self._messages.labels("ignored").inc()
                self._latest = dataclasses.replace(before, ignored=before.ignored + 1)
                return
            log.warning("the totals began anew, taking them", part=name, day=part.day, revision=part.revision)
            before = dataclasses.replace(before, **{name: None})  # type: ignore[arg-type]  # the minutes: forget them
        if part.epoch and part.epoch != before.epoch:
            before = self._enter(part.epoch, before)
        self._messages.labels("accepted").inc()
        self._order[name] = (part.day, part.revision)
        self._as_of = max(self._as_of, part.as_of)
        self._latest = dataclasses.replace(
            before,
            heard={**before.heard, name: now},
            accepted=before.accepted + 1,
            **{name: value_of(part, before)},  # type: ignore[arg-type]  # each part's name is its field's
        )

    def _count_rejected(self, reason: str) -> None:
        before = self._latest.rejected
        if reason not in before and len(before) >= MOST_REASONS:
            reason = "other"
        rejected = MappingProxyType({**before, reason: before.get(reason, 0) + 1})
        self._latest = dataclasses.replace(self._latest, rejected=rejected)

    def _older(self, name: str, part: Part) -> bool:
        """Whether a message is older than what is known: by day and revision within an epoch, and by time between two,
        since the revisions of a restored store begin lower."""
        if part.epoch and self._latest.epoch and part.epoch != self._latest.epoch:
            return part.as_of <= self._as_of
        return name in self._order and (part.day, part.revision) < self._order[name]

    def _enter(self, epoch: str, before: Snapshot) -> Snapshot:
        """The snapshot in which a message of a new epoch is put. Nothing of the one before is comparable."""
        if not before.epoch:  # the first that is named
            return dataclasses.replace(before, epoch=epoch)
        log.warning("the store was restored or replaced, taking its totals", epoch=epoch, before=before.epoch)
        self._order.clear()
        self._as_of = 0.0
        return before.of_epoch(epoch)

    def _complain(self, what: str, error: str, now: float) -> None:
        last = self._complained.get(what)
        if last is None or now - last >= COMPLAIN_EVERY_SECONDS:
            self._complained[what] = now
            log.warning("malformed message passed over", message=what, error=error)
