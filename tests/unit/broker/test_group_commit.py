"""The group commit, with a broker whose confirms come when the test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from structlog.testing import capture_logs

from broker import group_commit as module
from broker.errors import (
    BrokerBlockedError,
    BrokerFullError,
    BrokerUnavailableError,
    OverloadedError,
    PublishUnknownError,
)
from broker.frames import frame_id
from broker.group_commit import GroupCommit, GroupCommitLimits
from broker.protocol import Broker, Message

WAIT = 30.0


class HandConfirmed:
    """A broker that only publishes, and answers when told to."""

    def __init__(self) -> None:
        self.blocked = False
        self.published: asyncio.Queue[tuple[Message, asyncio.Future[None]]] = asyncio.Queue()

    async def publish(self, message: Message) -> None:
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.published.put_nowait((message, confirm))
        await confirm

    async def next(self) -> tuple[Message, "asyncio.Future[None]"]:
        """The next message that was published, and the future of its confirm."""
        async with asyncio.timeout(WAIT):
            return await self.published.get()

    async def confirm_next(self) -> bytes:
        """Confirm the next message; return its body."""
        message, confirm = await self.next()
        confirm.set_result(None)
        return message.body


@asynccontextmanager
async def group_commit(broker: HandConfirmed, **limits: int) -> AsyncIterator[GroupCommit]:
    """A group commit that leaves nothing behind."""
    commit = GroupCommit(cast(Broker, broker), "receipts", GroupCommitLimits(**limits))
    yield commit
    await commit.drain(0)


async def settled(*futures: "asyncio.Future[str]") -> list[object]:
    """Their results or errors, within the time limit."""
    async with asyncio.timeout(WAIT):
        return list(await asyncio.gather(*futures, return_exceptions=True))


async def turn() -> None:
    """Let everything that is runnable run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_idle_group_commit_sends_a_frame_at_once() -> None:
    """One request, nothing in flight: its frame leaves in the next turn of the loop, as it is."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        confirmed = commit.commit(b'{"a":1}', 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        message, confirm = broker.published.get_nowait()
        assert (message.exchange, message.routing_key) == ("receipts", "receipts")
        assert message.body == b'{"a":1}'
        assert message.message_id == frame_id("receipts", b'{"a":1}')
        assert message.headers == {"stream": "receipts", "schema": 1, "events": 1}
        assert not confirmed.done()
        confirm.set_result(None)
        assert await settled(confirmed) == [message.message_id]
        assert (commit.frames, commit.requests, commit.events, commit.bytes) == (1, 1, 1, 7)


async def test_requests_of_one_turn_share_a_frame() -> None:
    """What is runnable together leaves together, even when nothing is in flight."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        confirmed = [commit.commit(b"%d" % number, 1) for number in range(3)]
        assert await broker.confirm_next() == b"0\n1\n2"
        assert set(await settled(*confirmed)) == {frame_id("receipts", b"0\n1\n2")}


async def test_requests_that_arrive_during_a_publish_share_the_next_frame() -> None:
    """While a frame is in flight others wait, and leave together after its confirm."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        first = commit.commit(b"first", 1)
        _, confirm = await broker.next()
        later = [commit.commit(b"two\nlines", 2), commit.commit(b"three", 1)]
        await turn()
        assert broker.published.empty()
        assert commit.pending_events == 4
        confirm.set_result(None)
        message, confirm = await broker.next()
        assert message.body == b"two\nlines\nthree"
        assert message.headers["events"] == 3
        await settled(first)  # within some turns of the loop, whatever becomes of the next frame
        assert not any(each.done() for each in later)
        confirm.set_result(None)
        await settled(*later)
        assert commit.pending_events == commit.pending_bytes == 0


async def test_the_next_frame_leaves_before_the_callers_of_the_last_are_told() -> None:
    """The broker is not kept waiting by answers; they come a few turns of the loop later."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        first = commit.commit(b"1", 1)
        _, confirm = await broker.next()
        second = commit.commit(b"2", 1)
        told_before = []
        publish = broker.publish

        async def noting(message: Message) -> None:
            told_before.append(first.done())
            await publish(message)

        broker.publish = noting  # type: ignore[method-assign]
        confirm.set_result(None)
        await settled(first)
        assert told_before == [False]
        assert await broker.confirm_next() == b"2"
        assert await commit.drain(WAIT)
        assert second.done()


async def test_as_many_frames_as_allowed_are_in_flight() -> None:
    """With two frames in flight allowed, a second leaves before the first is confirmed, a third does not."""
    broker = HandConfirmed()
    async with group_commit(broker, frames_in_flight=2) as commit:
        first = commit.commit(b"1", 1)
        _, confirm_first = await broker.next()
        second = commit.commit(b"2", 1)
        _, confirm_second = await broker.next()
        third = commit.commit(b"3", 1)
        await turn()
        assert broker.published.empty()
        assert commit.in_flight == 2
        confirm_second.set_result(None)  # in any order
        assert await broker.confirm_next() == b"3"
        await settled(second, third)
        assert not first.done()
        confirm_first.set_result(None)
        await settled(first)


async def test_large_frames_do_not_wait_for_company() -> None:
    """Half a frame's bytes leave although another frame is in flight, up to a limit; little ones wait."""
    broker = HandConfirmed()
    async with group_commit(broker, frame_max_bytes=100, large_in_flight=2) as commit:
        first = commit.commit(b"a", 1)
        await turn()
        small = commit.commit(b"b", 1)
        await turn()
        assert commit.in_flight == 1
        large = commit.commit(b"c" * 60, 1)
        await turn()
        assert commit.in_flight == 2
        more = commit.commit(b"d" * 60, 1)
        await turn()
        assert commit.in_flight == 2
        bodies = [await broker.confirm_next() for _ in range(3)]
        assert bodies == [b"a", b"b\n" + b"c" * 60, b"d" * 60]
        assert len(await settled(first, small, large, more)) == 4


async def test_a_frame_is_capped_in_bytes_and_never_splits_a_request() -> None:
    """Requests are put together up to the cap, in order; one that is larger than the cap goes alone, whole."""
    broker = HandConfirmed()
    async with group_commit(broker, frame_max_bytes=10) as commit:
        confirmed = [commit.commit(lines, 1) for lines in (b"aaaa", b"bbbb", b"c", b"d" * 25, b"e", b"f")]
        frames = [await broker.confirm_next() for _ in range(4)]
        assert frames == [b"aaaa\nbbbb", b"c", b"d" * 25, b"e\nf"]
        assert await settled(*confirmed) == [
            frame_id("receipts", frame) for frame in (frames[0], frames[0], frames[1], frames[2], frames[3], frames[3])
        ]


async def test_a_failed_publish_fails_every_request_of_its_frame_and_no_other() -> None:
    """The broker's error reaches all who shared the frame; the next frame is none of its business."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        together = [commit.commit(b"1", 1), commit.commit(b"2", 1)]
        _, confirm = await broker.next()
        after = commit.commit(b"3", 1)
        confirm.set_exception(BrokerFullError("the queue is full"))
        errors = await settled(*together)
        assert [type(error) for error in errors] == [BrokerFullError, BrokerFullError]
        assert errors[0] is not errors[1]
        assert await broker.confirm_next() == b"3"
        assert await settled(after) == [frame_id("receipts", b"3")]
        assert commit.failures == {"BrokerFullError": 1}
        assert (commit.frames, commit.pending_events, commit.pending_bytes) == (1, 0, 0)


async def test_a_caller_that_leaves_does_not_cancel_the_shared_publish() -> None:
    """A cancelled caller in flight changes nothing for the frame or for those who share it."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:

        async def caller(lines: bytes) -> str:
            return await commit.commit(lines, 1)

        leaving, staying = asyncio.create_task(caller(b"1")), asyncio.create_task(caller(b"2"))
        message, confirm = await broker.next()
        leaving.cancel()
        await turn()
        assert leaving.cancelled()
        assert not confirm.cancelled()
        confirm.set_result(None)
        assert await settled(staying) == [message.message_id]
        assert message.body == b"1\n2"
        assert commit.pending_events == 0


async def test_a_caller_that_leaves_while_waiting_is_left_out() -> None:
    """A request that is cancelled before its frame leaves is not published; a frame of nobody never leaves."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        first = commit.commit(b"1", 1)
        _, confirm = await broker.next()
        commit.commit(b"2", 1).cancel()
        third = commit.commit(b"3", 1)
        confirm.set_result(None)
        assert await broker.confirm_next() == b"3"
        await settled(first, third)
        commit.commit(b"4", 1).cancel()
        await turn()
        assert broker.published.empty()
        assert (commit.pending_events, commit.pending_bytes, commit.in_flight) == (0, 0, 0)


@pytest.mark.parametrize("limits", [{"pending_max_events": 3}, {"pending_max_bytes": 30}])
async def test_more_than_may_be_pending_is_refused_at_once(limits: dict[str, int]) -> None:
    """Waiting and publishing count together; a refused request was not taken, and room comes back."""
    broker = HandConfirmed()
    async with group_commit(broker, **limits) as commit:
        first = commit.commit(b"0123456789", 1)
        _, confirm = await broker.next()
        second = commit.commit(b"0123456789\n123456789", 2)
        with pytest.raises(OverloadedError):
            commit.commit(b"x", 1)
        confirm.set_result(None)
        await settled(first)
        third = commit.commit(b"x", 1)
        assert await broker.confirm_next() == b"0123456789\n123456789"
        assert await broker.confirm_next() == b"x"
        await settled(second, third)


async def test_a_request_beyond_the_pending_limit_is_taken_when_it_is_alone() -> None:
    """A limit below one request slows it down, and does not lock it out."""
    broker = HandConfirmed()
    async with group_commit(broker, pending_max_bytes=4) as commit:
        alone = commit.commit(b"0123456789", 1)
        await broker.confirm_next()
        await settled(alone)


async def test_a_blocked_broker_is_answered_at_once() -> None:
    """While the broker takes nothing, a request is refused rather than kept waiting."""
    broker = HandConfirmed()
    broker.blocked = True
    async with group_commit(broker) as commit:
        with pytest.raises(BrokerBlockedError):
            commit.commit(b"1", 1)
        assert commit.pending_events == 0


async def test_drain_waits_for_everything_pending_and_takes_no_more() -> None:
    """What waits still leaves, and is confirmed, before the drain is over."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        first = commit.commit(b"1", 1)
        _, confirm = await broker.next()
        second = commit.commit(b"2", 1)
        drain = asyncio.create_task(commit.drain(WAIT))
        await turn()
        with pytest.raises(BrokerUnavailableError):
            commit.commit(b"3", 1)
        assert not drain.done()
        confirm.set_result(None)
        await broker.confirm_next()
        assert await drain
        assert [type(each) for each in await settled(first, second)] == [str, str]
        assert await commit.drain(WAIT)


async def test_a_drain_that_takes_too_long_tells_every_caller() -> None:
    """In flight is unknown, waiting was not taken; nobody is left hanging."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        in_flight = commit.commit(b"1", 1)
        await broker.next()
        waiting = commit.commit(b"2", 1)
        assert not await commit.drain(0.01)
        errors = await settled(in_flight, waiting)
        assert [type(error) for error in errors] == [PublishUnknownError, BrokerUnavailableError]
        assert (commit.pending_events, commit.in_flight) == (0, 0)
        assert broker.published.empty()


async def test_a_publish_cancelled_before_it_began_tells_its_callers() -> None:
    """Even a drain without patience leaves no caller waiting for ever."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        confirmed = commit.commit(b"1", 1)
        assert not await commit.drain(0)
        assert isinstance((await settled(confirmed))[0], BrokerUnavailableError)


async def test_a_defect_in_the_broker_reaches_the_caller() -> None:
    """An error that is none of ours is not swallowed, and does not stop the next frame."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        confirmed = commit.commit(b"1", 1)
        _, confirm = await broker.next()
        confirm.set_exception(ZeroDivisionError())
        assert isinstance((await settled(confirmed))[0], ZeroDivisionError)
        again = commit.commit(b"2", 1)
        await broker.confirm_next()
        await settled(again)


async def test_that_requests_are_refused_is_said_now_and_then_with_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each would fill the disk just when the broker is away; the first one is said at once."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        broker.blocked = True
        with capture_logs() as said:
            for _ in range(100):
                with pytest.raises(BrokerBlockedError):
                    commit.commit(b"{}", 1)
            assert [(line["log_level"], line["requests"]) for line in said] == [("warning", 1)]
            monkeypatch.setattr(module, "_COMPLAINT_SECONDS", 0.0)
            commit._complain_at = 0.0
            with pytest.raises(BrokerBlockedError):
                commit.commit(b"{}", 1)
        assert [line["requests"] for line in said] == [1, 100]


async def test_each_frame_is_in_the_log_by_its_id_at_debug_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client was answered can be looked for."""
    broker = HandConfirmed()
    async with group_commit(broker) as commit:
        for wanted in (False, True):
            monkeypatch.setattr(module, "debugging", lambda wanted=wanted: wanted)
            with capture_logs() as said:
                confirmed = commit.commit(b"{}", 1)
                await broker.confirm_next()
                [name] = await settled(confirmed)
            expected = [("frame confirmed", "debug", name)] if wanted else []
            assert [(line["event"], line["log_level"], line["frame"]) for line in said] == expected
