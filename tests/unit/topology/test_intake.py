import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.errors import BrokerUnavailableError, ConsumerRefusedError
from broker.exchanges import Queue
from broker.protocol import QueueState
from engine import GIVE_BACK_AFTER_S, FrameCheck
from runtime import Backoff
from store.protocol import StoreIdentity
from tests.support import eventually
from topology import intake
from topology.intake import Intake

WORK = Queue(name="work")


@dataclass(eq=False)
class Letter:
    """A delivery that remembers how it was settled."""

    body: bytes
    message_id: str | None = None
    headers: dict[str, str | int] = field(default_factory=dict)
    settled: str = ""
    exchange = routing_key = "receipts"
    redelivered = False

    async def ack(self) -> None:
        self.settled += "ack "

    async def nack(self) -> None:
        self.settled += "nack "


class Line:
    """A consumer that delivers what the test puts into it."""

    def __init__(self) -> None:
        self.letters: asyncio.Queue[Letter | Exception | None] = asyncio.Queue()
        self.cancelled = self.closed = False

    def __aiter__(self) -> "Line":
        return self

    async def __anext__(self) -> Letter:
        letter = await self.letters.get()
        if letter is None:
            raise StopAsyncIteration
        if isinstance(letter, Exception):
            raise letter
        return letter

    async def cancel(self) -> None:
        self.cancelled = True
        self.letters.put_nowait(None)

    async def close(self) -> None:
        self.closed = True


class Office:
    """A broker whose consumers the test holds in its hands."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.refusals = 0

    async def consume(self, queue: Queue, *, prefetch: int, exclusive: bool = False) -> Line:
        if self.refusals:
            self.refusals -= 1
            raise BrokerUnavailableError("no connection")
        self.lines.append(Line())
        return self.lines[-1]

    async def state(self, queue: Queue) -> QueueState:
        return QueueState(7, 1)


class Home:
    """A store without an identity, as before the first process."""

    async def identity(self, stream: str) -> StoreIdentity | None:
        return None


@pytest.fixture
def office() -> Office:
    """A broker."""
    return Office()


@asynccontextmanager
async def running(made: Intake, office: Any) -> AsyncIterator[None]:
    """Run an intake while the block lasts."""
    stop = asyncio.Event()
    task = asyncio.create_task(made.run(office, WORK, FrameCheck(Home(), "receipts"), stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await task


async def taken(made: Intake, count: int) -> list[str]:
    """The ids of the next frames."""
    found: list[str] = []

    def enough() -> bool:
        found.extend(tuple_id for tuple_id, _ in made.take(count - len(found)))
        return len(found) == count

    await eventually(enough)
    return found


async def first_line(office: Office) -> Line:
    """The consumer, once there is one."""
    await eventually(lambda: bool(office.lines))
    return office.lines[-1]


async def test_a_frame_is_settled_once_and_only_by_its_own_id(office: Office) -> None:
    """A second answer, or one to an id of somebody else, changes nothing."""
    made = Intake(prefetch=3, pause=Backoff(base_s=0.001, cap_s=0.001))
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        letters = [Letter(b"1", "a"), Letter(b"2", "b")]
        for letter in letters:
            line.letters.put_nowait(letter)
        first, second = await taken(made, 2)
        made.ack(first)
        made.ack(first)
        made.fail(first)
        made.fail(second)
        made.ack(second)  # too late: it was failed
        made.ack("another process's")
        (again,) = await taken(made, 1)
        made.ack(second)
        assert letters[1].settled == ""
        made.ack(again)
        await eventually(lambda: all(letter.settled for letter in letters))
    assert [letter.settled for letter in letters] == ["ack ", "ack "]


async def test_a_frame_that_fails_is_held_as_long_as_a_worker_would_hold_it(office: Office) -> None:
    """Through ten minutes of failures it is emitted again and again, and only then goes back to its queue, once."""
    now = 0.0
    made = Intake(prefetch=1, pause=Backoff(base_s=0.001, cap_s=0.001), clock=lambda: now)
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        letter = Letter(b"1", "a")
        line.letters.put_nowait(letter)
        ids = []
        for _ in range(60):  # ten seconds each: after so long a bolt gives up
            (tuple_id,) = await taken(made, 1)
            ids.append(tuple_id)
            now += 10
            assert letter.settled == ""
            made.fail(tuple_id)
        await eventually(lambda: letter.settled)
    assert letter.settled == "nack "
    assert len(set(ids)) == 60
    assert now == GIVE_BACK_AFTER_S


async def test_pauses_grow_with_the_failures_of_a_frame(office: Office) -> None:
    """Of each frame for itself: one that kills its flush is slowed down, its neighbours are not."""
    delays: list[float] = []

    class Noted(Backoff):
        def delay(self, attempt: int, chance: float) -> float:
            delays.append(attempt)
            return 0.0

    made = Intake(prefetch=3, pause=Noted())
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        for name in ("bad", "bad", "good", "bad"):
            line.letters.put_nowait(Letter(b"x", name))
        for tuple_id in await taken(made, 4):
            made.fail(tuple_id)
        line.letters.put_nowait(Letter(b"x", "bad"))
        for tuple_id in await taken(made, 1):
            made.ack(tuple_id)
        line.letters.put_nowait(Letter(b"x", "bad"))
        for tuple_id in await taken(made, 1):
            made.fail(tuple_id)
    assert delays == [1, 2, 1, 3, 1]


async def test_a_failed_frame_that_is_paused_goes_back_when_the_spout_rests(office: Office) -> None:
    """Deactivated, it keeps nothing that somebody else could count; the consumer is closed after the last answer."""
    made = Intake(prefetch=3, pause=Backoff(base_s=1000, cap_s=1000))
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        letters = [Letter(b"1"), Letter(b"2"), Letter(b"3")]
        for letter in letters:
            line.letters.put_nowait(letter)
        first, second = await taken(made, 2)
        made.fail(first)
        made.deactivate()
        await eventually(lambda: letters[0].settled and letters[2].settled)
        assert line.cancelled
        assert not line.closed
        made.activate()
        await eventually(lambda: len(office.lines) == 2)
        made.ack(second)
        await eventually(lambda: line.closed)
        assert not office.lines[1].closed
    assert [letter.settled for letter in letters] == ["nack ", "ack ", "nack "]
    assert office.lines[1].closed


async def test_frames_in_storm_are_bounded_in_bytes(office: Office) -> None:
    """Beyond the bound none is taken until one was answered, however; one that exceeds it goes alone."""
    made = Intake(prefetch=4, flying_bytes=10, pause=Backoff(base_s=0.001, cap_s=0.001))
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        for body in (b"1234", b"1234", b"1234", b"larger than all", b"1"):
            line.letters.put_nowait(Letter(body, body.decode()))
        first, second = await taken(made, 2)
        await eventually(line.letters.empty)
        assert made.take(5) == []
        made.ack(first)
        (third,) = await taken(made, 1)
        made.fail(second)
        assert made.take(5) == []
        made.fail(second)  # a second answer frees nothing
        assert made.take(5) == []
        made.ack(third)
        (large,) = await taken(made, 1)
        assert made.take(5) == []
        made.ack(large)
        await taken(made, 1)


async def test_frames_given_back_unsent_take_no_room(office: Office) -> None:
    """A spout that rested takes as much as before."""
    made = Intake(prefetch=4, flying_bytes=10)
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        unsent = [Letter(b"123456789", name) for name in "ab"]
        for letter in unsent:
            line.letters.put_nowait(letter)
        await taken(made, 1)
        await eventually(line.letters.empty)
        made.deactivate()
        await eventually(lambda: unsent[1].settled == "nack ")
        made.activate()
        await eventually(lambda: len(office.lines) == 2)
        office.lines[1].letters.put_nowait(Letter(b"1", "c"))
        await taken(made, 1)


async def test_a_broker_that_is_away_is_waited_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first consume, and when the consumer cannot go on."""
    monkeypatch.setattr(intake, "RETRY", Backoff(base_s=0.001, cap_s=0.001))
    office.refusals = 2
    made = Intake(prefetch=3)
    made.activate()
    async with running(made, office):
        line = await first_line(office)
        line.letters.put_nowait(ConsumerRefusedError("somebody else has it"))
        await eventually(lambda: len(office.lines) == 2)
        office.lines[1].letters.put_nowait(Letter(b"1", "a"))
        await taken(made, 1)
        assert line.closed


async def test_the_lag_is_told_while_the_spout_is_active(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many wait, how many are in flight, and for how long the oldest has been."""
    told: list[dict[str, Any]] = []

    def note(event: str, **said: Any) -> None:
        told.append({"event": event, **said})

    monkeypatch.setattr(intake.log, "info", note)
    now = 100.0
    clock: Callable[[], float] = lambda: now  # noqa: E731
    made = Intake(prefetch=3, report_s=0.01, clock=clock)
    async with running(made, office):
        made.activate()
        line = await first_line(office)
        line.letters.put_nowait(Letter(b"1", "a"))
        await taken(made, 1)
        now += 12.5
        wanted = {"event": "lag", "queue": "work", "ready": 7, "in_flight": 1, "paused": 0, "oldest_s": 12.5}
        await eventually(lambda: wanted in told)
