"""The group commit: requests that arrive while frames are in flight share the next frame.

One confirmed publish costs the same for one event as for a thousand, so the busier it gets the more requests share a
frame, and the cheaper each becomes; while idle a frame leaves at once. There is no timer: what is batched is what came
while nothing could leave. Nothing here knows HTTP or what an event is.
"""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from broker.errors import BrokerBlockedError, BrokerError, BrokerUnavailableError, OverloadedError, PublishUnknownError
from broker.frames import STORE_HEADER, Frame
from broker.protocol import Broker, Message
from runtime import debugging

#: From the start of a publish until its bytes are with the system: the publish's task, that of the driver which writes,
#: the loop's own writing, and one to spare. Answering a frame's callers only then is worth 10 to 20 % of throughput
#: (64 connections, RabbitMQ, two cores) and delays them by some 100 microseconds; where nothing waits, by nothing.
_TURNS_TO_THE_WIRE = 3
#: How often the log says at most that requests are refused, however many are.
_COMPLAINT_SECONDS = 10.0

log = structlog.get_logger()


Failure = TypeVar("Failure", bound=BaseException)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCommitLimits:
    """How much may be under way.

    Attributes:
        frames_in_flight: publishes waiting for their confirm at once. More of them trade larger frames for latency.
        large_in_flight: the same for large frames, of at least half of `frame_max_bytes`: those gain nothing from
            waiting for company, so more of them may be under way.
        frame_max_bytes: a frame takes no further request beyond this; a single request may be larger.
        pending_max_events, pending_max_bytes: what may wait or be in flight in all before requests are refused;
            a request that alone exceeds them is taken when nothing else is pending.
    """

    frames_in_flight: int = 1
    large_in_flight: int = 8
    frame_max_bytes: int = 1024 * 1024
    pending_max_events: int = 200_000
    pending_max_bytes: int = 64 * 1024 * 1024


class _Waiting:
    """One request's share of a frame to come."""

    __slots__ = ("confirmed", "events", "lines")

    def __init__(self, lines: bytes, events: int, confirmed: "asyncio.Future[str]") -> None:
        self.lines = lines
        self.events = events
        self.confirmed = confirmed


class GroupCommit:
    """Publishes requests in shared frames to the exchange of their stream.

    Delivery guarantee: a request whose future has a result is confirmed by the broker, whole, in the frame named by
    it. One whose future has an error was refused, or, with PublishUnknownError, may have been taken; sending it again
    is safe because events have an identity. Cancelling a future never cancels a publish: a request that still waits
    is left out, one that is in flight is published all the same.

    Arguments:
        broker: where frames go.
        stream: name of the stream, which is also that of its exchange and the routing key.
        limits: see GroupCommitLimits.
        on_published: called after each confirm with the seconds that the publish took.

    Attributes:
        frames, requests, events, bytes: confirmed so far.
        failures: name of the error → frames that failed with it.
        pending_events, pending_bytes: waiting or in flight now.
        in_flight: frames in flight now.
        store: id of the store that the events belong into, named in the frames; None while it is not known.
    """

    def __init__(
        self,
        broker: Broker,
        stream: str,
        limits: GroupCommitLimits | None = None,
        *,
        on_published: Callable[[float], None] | None = None,
    ) -> None:
        self.store: str | None = None
        self._broker = broker
        self._stream = stream
        self._limits = limits or GroupCommitLimits()
        self._on_published = on_published
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._publishing: set[asyncio.Task[None]] = set()
        self._departure_set = False
        self._unanswered = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.frames = 0
        self.requests = 0
        self.events = 0
        self.bytes = 0
        self._complain_at = 0.0
        self._unsaid = 0
        self.failures: dict[str, int] = {}
        self.pending_events = 0
        self.pending_bytes = 0

    @property
    def in_flight(self) -> int:
        """Frames that wait for their confirm."""
        return len(self._publishing)

    def commit(self, lines: bytes, events: int) -> "asyncio.Future[str]":
        """Publish one request's events; not split over frames.

        Arguments:
            lines: its events as NDJSON, no newline at the end.
            events: their number, at least 1.

        Returns a future of the id of the frame that they were confirmed in; it fails with the publish's BrokerError.

        Raises OverloadedError, BrokerBlockedError or BrokerUnavailableError (while draining) at once, nothing taken.
        """
        size = len(lines)
        limits = self._limits
        if self.pending_events and (
            self.pending_events + events > limits.pending_max_events
            or self.pending_bytes + size > limits.pending_max_bytes
        ):
            raise self._refused(OverloadedError(f"{self.pending_events} events wait for the broker already"))
        if self._broker.blocked:
            raise self._refused(BrokerBlockedError("the broker takes no messages right now"))
        if self._closing:
            raise BrokerUnavailableError("this entrypoint is stopping")
        self.pending_events += events
        self.pending_bytes += size
        confirmed = self._loop.create_future()
        self._waiting.append(_Waiting(lines, events, confirmed))
        self._waiting_bytes += size
        self._set_departure()
        return confirmed

    async def drain(self, within_seconds: float) -> bool:
        """Take no more, and wait until nothing is pending.

        Publishes still under way after that time are given up, and their callers told so. Returns whether all was
        settled in time. Cancelling it leaves publishes running; call it again.
        """
        self._closing = True
        self._note_idle()
        try:
            async with asyncio.timeout(within_seconds):
                await self._idle.wait()
        except TimeoutError:
            self._refuse_waiting(BrokerUnavailableError("this entrypoint stopped before the broker took it"))
            for publish in self._publishing:
                publish.cancel()
            await self._idle.wait()
            return False
        return True

    def _set_departure(self) -> None:
        """Let a frame leave after whatever is runnable in this turn of the loop has run, and may have joined."""
        if not self._departure_set and self._may_depart():
            self._departure_set = True
            self._idle.clear()
            self._loop.call_soon(self._depart)

    def _may_depart(self) -> bool:
        """Whether what waits may leave as a frame now."""
        limits = self._limits
        large = self._waiting_bytes * 2 >= limits.frame_max_bytes
        return len(self._publishing) < max(limits.frames_in_flight, limits.large_in_flight if large else 0)

    def _depart(self) -> None:
        self._departure_set = False
        while self._waiting and self._may_depart():
            batch = self._next_batch()
            if batch:
                frame = Frame.from_body(
                    self._stream,
                    batch[0].lines if len(batch) == 1 else b"\n".join([request.lines for request in batch]),
                    sum([request.events for request in batch]),
                )
                self._publish(frame, batch)
        self._note_idle()

    def _next_batch(self) -> list[_Waiting]:
        """Requests for one frame, in the order of their arrival; those whose caller has gone are left out."""
        batch: list[_Waiting] = []
        room = self._limits.frame_max_bytes
        waiting = self._waiting
        while waiting and (not batch or len(waiting[0].lines) < room):
            request = waiting.popleft()
            self._waiting_bytes -= len(request.lines)
            if request.confirmed.done():
                self._settle(request)
            else:
                room -= len(request.lines) + 1
                batch.append(request)
        return batch

    def _publish(self, frame: Frame, batch: list[_Waiting]) -> None:
        message = Message(
            exchange=self._stream,
            routing_key=self._stream,
            body=frame.body,
            headers=frame.headers if self.store is None else {**frame.headers, STORE_HEADER: self.store},
            message_id=frame.id,
        )
        publish = self._loop.create_task(self._broker.publish(message), name=f"publish {frame.id}")
        self._publishing.add(publish)
        publish.add_done_callback(partial(self._landed, frame, batch, time.perf_counter()))

    def _landed(self, frame: Frame, batch: list[_Waiting], started: float, publish: "asyncio.Task[None]") -> None:
        """A publish is over, one way or another (a callback, so that not even a cancellation can pass it by)."""
        seconds = time.perf_counter() - started
        self._publishing.discard(publish)
        error = (
            PublishUnknownError("this entrypoint stopped before the broker confirmed")
            if publish.cancelled()
            else publish.exception()
        )
        if error is not None:
            log.debug("frame not confirmed", frame=frame.id, events=frame.events, error=str(error))
            self._fail(batch, error)
        else:
            if debugging():
                log.debug(
                    "frame confirmed",
                    frame=frame.id,
                    events=frame.events,
                    requests=len(batch),
                    bytes=len(frame.body),
                    ms=round(seconds * 1000, 1),
                )
            self._unanswered += 1
            if self._waiting:
                # The next frame first: the broker has nothing to do until it comes, and answering takes a while.
                self._depart()
                self._answer(frame, batch, seconds, _TURNS_TO_THE_WIRE)
            else:
                self._answer(frame, batch, seconds, 0)
        if self._waiting:
            self._set_departure()
        self._note_idle()

    def _answer(self, frame: Frame, batch: list[_Waiting], seconds: float, turns: int) -> None:
        """Tell the callers of a confirmed frame, after some turns of the loop."""
        if turns:
            self._loop.call_soon(self._answer, frame, batch, seconds, turns - 1)
        else:
            self._unanswered -= 1
            self._confirm(frame, batch, seconds)
            self._note_idle()

    def _confirm(self, frame: Frame, batch: list[_Waiting], seconds: float) -> None:
        self.frames += 1
        self.requests += len(batch)
        self.events += frame.events
        self.bytes += len(frame.body)
        name = frame.id
        for request in batch:
            self._settle(request)
            if not request.confirmed.done():
                request.confirmed.set_result(name)
        if self._on_published is not None:
            self._on_published(seconds)

    def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        kind = type(error).__name__
        self.failures[kind] = self.failures.get(kind, 0) + 1
        self._refused(error, len(batch))
        for request in batch:
            self._settle(request)
            if not request.confirmed.done():
                # Each caller raises its own copy: a shared one would gather the tracebacks of all of them.
                own = copy.copy(error) if isinstance(error, BrokerError) else error
                request.confirmed.set_exception(own)

    def _refused(self, error: Failure, requests: int = 1) -> Failure:
        """Have the log say every now and then that requests are refused, and why; returns the error, to be raised."""
        self._unsaid += requests
        now = self._loop.time()
        if now >= self._complain_at:
            log.warning("requests are refused", requests=self._unsaid, error=str(error))
            self._complain_at, self._unsaid = now + _COMPLAINT_SECONDS, 0
        return error

    def _refuse_waiting(self, error: BrokerError) -> None:
        batch = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        if batch:
            self._fail(batch, error)
        self._note_idle()

    def _settle(self, request: _Waiting) -> None:
        self.pending_events -= request.events
        self.pending_bytes -= len(request.lines)

    def _note_idle(self) -> None:
        if not (self._waiting or self._publishing or self._unanswered):
            self._idle.set()
