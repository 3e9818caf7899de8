"""The group commit on real brokers: what it says was confirmed is in the queue, once, in the frame that it named."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import broker
from broker import Broker, receipts_topology
from broker.errors import BrokerFullError
from broker.frames import Frame
from broker.group_commit import GroupCommit, GroupCommitLimits
from tests.integration.entrypoint.harness import WAIT

TOPOLOGY = receipts_topology()


@pytest.fixture(params=["embedded", pytest.param("amqp", marks=pytest.mark.rabbit)])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty broker of either kind."""
    if request.param == "embedded":
        yield f"sqlite:{tmp_path / 'broker.db'}"
        return
    server = request.getfixturevalue("rabbit")
    url: str = server.vhost()
    yield url
    server.drop_vhost(url)


@pytest.fixture
async def opened(broker_url: str) -> AsyncIterator[Broker]:
    """A connection to it."""
    connected = await broker.connect(broker_url, TOPOLOGY)
    yield connected
    await connected.close()


@pytest.mark.parametrize("frames_in_flight", [1, 3])
async def test_every_confirmed_request_is_in_the_frame_that_was_named(opened: Broker, frames_in_flight: int) -> None:
    """Many clients at once: each request is whole in one frame, none is lost, none is there twice."""
    limits = GroupCommitLimits(frames_in_flight=frames_in_flight, frame_max_bytes=2000)
    commit = GroupCommit(opened, "receipts", limits)

    async def client(number: int) -> dict[bytes, str]:
        answers = {}
        for turn in range(20):
            lines = b"\n".join(
                b'{"client":%d,"turn":%d,"line":%d}' % (number, turn, line) for line in range(turn % 3 + 1)
            )
            answers[lines] = await commit.commit(lines, turn % 3 + 1)
        return answers

    async with asyncio.timeout(60):
        told = {
            lines: name for answers in await asyncio.gather(*map(client, range(25))) for lines, name in answers.items()
        }
    assert await commit.drain(WAIT)
    assert commit.requests == len(told) == 500
    assert commit.frames < 500

    delivered: list[Frame] = []
    consumer = await opened.consume(TOPOLOGY.work, prefetch=1000)
    async with asyncio.timeout(WAIT):
        async for delivery in consumer:
            frame = Frame.from_body("receipts", delivery.body)
            assert frame.id == delivery.message_id
            assert frame.events == delivery.headers["events"]
            delivered.append(frame)
            await delivery.ack()
            if len(delivered) == commit.frames:
                break
    await consumer.close()
    assert sum(frame.events for frame in delivered) == commit.events
    by_id = {frame.id: b"\n%b\n" % frame.body for frame in delivered}
    assert len(by_id) == len(delivered)
    for lines, name in told.items():
        assert b"\n%b\n" % lines in by_id[name]


async def test_a_full_queue_refuses_every_request_of_the_frame(broker_url: str) -> None:
    """Reject-publish reaches the callers; what was confirmed before is in the queue."""
    topology = receipts_topology(work_max_bytes=5000)
    opened = await broker.connect(broker_url, topology)
    try:
        commit = GroupCommit(opened, "receipts")
        confirmed = 0

        async def until_full() -> None:
            nonlocal confirmed
            while True:
                await commit.commit(b"x" * 1000, 1)
                confirmed += 1

        with pytest.raises(BrokerFullError):
            async with asyncio.timeout(30):
                await until_full()
        assert 1 <= confirmed < 100
        assert commit.failures == {"BrokerFullError": 1}
        assert (commit.events, commit.pending_events) == (confirmed, 0)
    finally:
        await opened.close()


async def test_frames_name_the_store_as_soon_as_it_is_known(opened: Broker) -> None:
    """Until then they name none, and any worker takes them."""
    commit = GroupCommit(opened, "receipts")
    await commit.commit(b"{}", 1)
    commit.store = "0123"
    await commit.commit(b"{} ", 1)
    consumer = await opened.consume(TOPOLOGY.work, prefetch=2)
    named = []
    async with asyncio.timeout(WAIT):
        async for delivery in consumer:
            named.append(delivery.headers.get("store"))
            await delivery.ack()
            if len(named) == 2:
                break
    assert named == [None, "0123"]
    await consumer.close()
