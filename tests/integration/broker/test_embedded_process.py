"""The embedded broker among processes: kill -9, the lock, a failing disk, and what others may hear."""

import asyncio
import os
import resource
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.embedded_tap import listen, socket_path
from broker.errors import BrokerError, BrokerUnavailableError
from broker.exchanges import receipts_topology
from broker.protocol import Consumer, Delivery, Message
from tests.integration.broker.place import topology
from tests.integration.broker.talk import assert_silent, bodies, publish, receipt, rest, take, take_one
from tests.support import eventually

ALL = receipts_topology()
ROOT = Path(__file__).parents[3]
VICTIM = Path(__file__).with_name("victim.py")


@asynccontextmanager
async def victim(path: Path, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that owns a broker; killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(VICTIM), str(path), what, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    """The next lines that a process prints."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return [(await process.stdout.readline()).decode().strip() for _ in range(count)]


async def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    """Every publish that was confirmed before kill -9 is there afterwards, once."""
    path = tmp_path / "broker.db"
    async with victim(path, "publish") as process:
        confirmed = await lines(process, 500)
        process.kill()
        assert process.stdout is not None
        printed = (await process.stdout.read()).decode().rsplit("\n", 1)[0]
        confirmed += printed.split()
    broker = await EmbeddedBroker.open(path, ALL)
    try:
        depth = (await broker.state(ALL.work)).ready
        stored = bodies(await take(await broker.consume(ALL.work, prefetch=depth), depth))
        assert len(stored) == len(set(stored))
        assert {line.encode() for line in confirmed} <= set(stored)
    finally:
        await broker.close()


async def test_what_was_in_hand_is_redelivered_after_kill_9(tmp_path: Path) -> None:
    """Unsettled deliveries come again, marked, before the rest; acknowledged ones do not."""
    path = tmp_path / "broker.db"
    small = topology(limit=1)
    broker = await EmbeddedBroker.open(path, small)
    await publish(broker, b"0", b"1", b"2", b"3", b"4")
    await broker.close()
    async with victim(path, "hold") as process:
        assert await lines(process, 3) == ["0", "1", "2"]
        process.kill()
    broker = await EmbeddedBroker.open(path, small)
    try:
        deliveries = await take(await broker.consume(small.work, prefetch=10), 4)
        assert bodies(deliveries) == [b"1", b"2", b"3", b"4"]
        # 3 was on its way to the victim, which had a hand free: it may be marked, and must not be lost
        assert [delivery.redelivered for delivery in deliveries[:2]] == [True, True]
        assert not deliveries[3].redelivered
    finally:
        await broker.close()


async def test_deliveries_that_end_in_kill_9_count_towards_the_limit(tmp_path: Path) -> None:
    """A message that kills each process that takes it ends among the dead letters, its origin kept."""
    path = tmp_path / "broker.db"
    small = topology(limit=1)
    broker = await EmbeddedBroker.open(path, small)
    await broker.publish(receipt(b"poison", headers={"events": 3}, message_id="m"))
    await publish(broker, b"1", b"2", b"3")
    await broker.close()
    for _ in range(2):
        async with victim(path, "take") as process:
            assert await lines(process, 3) == ["poison", "1", "2"]
            process.kill()
    broker = await EmbeddedBroker.open(path, small)
    try:
        assert bodies(await take(await broker.consume(small.work, prefetch=10))) == [b"3"]
        dead = await take(await broker.consume(small.dead, prefetch=10), 3)
        assert bodies(dead) == [b"poison", b"1", b"2"]
        assert dict(dead[0].headers) == {
            "events": 3,
            "x-delivery-count": 2,
            "x-first-death-exchange": "receipts",
            "x-first-death-queue": "receipts.work",
            "x-first-death-reason": "delivery_limit",
        }
        assert (dead[0].message_id, dead[0].exchange, dead[0].routing_key) == ("m", "receipts", "receipts")
    finally:
        await broker.close()


async def test_one_process_owns_the_file(tmp_path: Path) -> None:
    """A second process is told who has it; after kill -9 of the owner the file is free at once."""
    path = tmp_path / "broker.db"
    async with victim(path, "own") as process:
        assert await lines(process, 1) == ["open"]
        with pytest.raises(BrokerError, match=rf"in use by process {process.pid}\b"):
            await EmbeddedBroker.open(path, ALL)
        process.kill()
        await process.wait()
        broker = await EmbeddedBroker.open(path, ALL)
        await broker.ping()
        await broker.close()


async def test_one_owner_within_a_process(tmp_path: Path) -> None:
    """The same process cannot open a file twice either, and can again after closing."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    with pytest.raises(BrokerError, match="in use"):
        await EmbeddedBroker.open(path, ALL)
    await broker.close()
    await (await EmbeddedBroker.open(path, ALL)).close()


async def test_a_folder_is_made(tmp_path: Path) -> None:
    """The data folder need not be there."""
    broker = await EmbeddedBroker.open(tmp_path / "new" / "folder" / "broker.db", ALL)
    await broker.close()


async def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """What is no database, or of a newer release, is refused with a reason and left alone."""
    path = tmp_path / "broker.db"
    path.write_bytes(b"something else altogether" * 100)
    with pytest.raises(BrokerError, match="not a database"):
        await EmbeddedBroker.open(path, ALL)
    assert path.read_bytes() == b"something else altogether" * 100
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(BrokerError, match="format 99"):
        await EmbeddedBroker.open(newer, ALL)


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be made gives one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerUnavailableError, match="cannot be opened"):
        await EmbeddedBroker.open(tmp_path / "file" / "broker.db", ALL)


@contextmanager
def no_file_beyond(size_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond so much: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """While writing fails publishes are refused; then everything goes on, and nothing confirmed or held is lost."""
    broker = await EmbeddedBroker.open(tmp_path / "broker.db", ALL, retry_seconds=0.05, tap=False)
    try:
        confirmed = []
        await publish(broker, b"held", b"acked")
        consumer = await broker.consume(ALL.work, prefetch=2)
        held, acked = await take(consumer, 2)
        with no_file_beyond(1024**2), pytest.raises(BrokerUnavailableError):
            for number in range(2000):
                body = b"%d " % number * 5000
                await broker.publish(receipt(body))
                confirmed.append(body)
        assert len(confirmed) > 10
        assert broker.blocked
        await eventually(lambda: not broker.blocked)
        with no_file_beyond(4096):  # less than a page: not even the smallest write
            with pytest.raises(BrokerUnavailableError):
                await broker.publish(receipt(b"refused"))
            with pytest.raises(BrokerUnavailableError, match="disk"):
                await broker.publish(receipt(b"refused at once"))
            with pytest.raises(BrokerError):
                await broker.ping()
            await acked.ack()  # kept until it can be written
            assert broker.blocked
        await eventually(lambda: not broker.blocked)
        await publish(broker, b"after")
        await consumer.cancel()
        early = await rest(consumer)
        await held.nack()
        other = await broker.consume(ALL.work, prefetch=5000)
        seen = bodies(early) + bodies(await take(other, len(confirmed) + 2 - len(early)))
        assert sorted(seen) == sorted([*confirmed, b"after", b"held"])
        await assert_silent(other)
    finally:
        await broker.close()


async def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    """Publishes under way when the broker closes are confirmed and stored; acknowledgements count."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    await publish(broker, b"acked")
    delivery = await take_one(await broker.consume(ALL.work, prefetch=1))
    under_way = [asyncio.create_task(broker.publish(receipt(b"%d" % number))) for number in range(50)]
    await asyncio.sleep(0)
    await delivery.ack()
    await broker.close()
    await asyncio.gather(*under_way)
    broker = await EmbeddedBroker.open(path, ALL)
    assert (await broker.state(ALL.work)).ready == 50
    await broker.close()


async def test_many_publishes_share_a_transaction(tmp_path: Path) -> None:
    """Publishing from many tasks commits groups: far fewer commits than messages."""
    broker = await EmbeddedBroker.open(tmp_path / "broker.db", ALL)
    try:
        eyes = sqlite3.connect(tmp_path / "broker.db")
        before = eyes.execute("PRAGMA data_version").fetchone()[0]
        seen = {before}

        async def look() -> None:
            while True:
                seen.add(eyes.execute("PRAGMA data_version").fetchone()[0])
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        await asyncio.gather(*(broker.publish(receipt(b"x" * 1000)) for _ in range(1000)))
        looking.cancel()
        assert max(seen) - before < 100
        eyes.close()
    finally:
        await broker.close()


def count(number: int) -> Message:
    """Something to hear."""
    return Message(exchange="count", routing_key="receipts", body=b"\xff%d" % number, headers={"n": number})


async def test_other_processes_can_listen(tmp_path: Path) -> None:
    """A listener on the socket hears what it is bound for, whole, also binary bodies; the socket is private."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    client = await EmbeddedBroker.attach(path)
    try:
        assert stat.S_IMODE(socket_path(path).stat().st_mode) == 0o600
        listener = await client.subscribe("watch", {"count": "#"}, max_length=10)
        first = await first_heard(broker, listener)
        assert first.body.startswith(b"\xff")
        assert (first.exchange, first.routing_key, first.redelivered) == ("count", "receipts", False)
        assert first.headers["n"] == int(first.body[1:])
        await first.ack()
        await client.close()
        assert await rest(listener) == []
    finally:
        await client.close()
        await broker.close()
    assert not path.with_suffix(".sock").exists()


async def first_heard(broker: EmbeddedBroker, listener: Consumer) -> Delivery:
    """Announce until the listener, whose connection takes a moment, hears something."""
    heard = asyncio.create_task(take_one(listener))
    number = 0
    while not heard.done():
        number += 1
        await broker.announce(count(number))
        await asyncio.wait([heard], timeout=0.02)
    return heard.result()


async def test_listening_where_nothing_runs_is_an_error(tmp_path: Path) -> None:
    """Without a broker there is one clear line; also beside a socket that a killed broker left."""
    path = tmp_path / "broker.db"
    with pytest.raises(BrokerUnavailableError, match="no embedded broker runs"):
        await EmbeddedBroker.attach(path)
    async with victim(path, "own") as process:
        assert await lines(process, 1) == ["open"]
        await (await EmbeddedBroker.attach(path)).close()
        process.kill()
        await process.wait()
    assert path.with_suffix(".sock").exists()
    with pytest.raises(BrokerUnavailableError, match="no embedded broker runs"):
        await EmbeddedBroker.attach(path)
    broker = await EmbeddedBroker.open(path, ALL)  # replaces what was left
    await (await EmbeddedBroker.attach(path)).close()
    await broker.close()


async def test_a_listener_survives_a_restart(tmp_path: Path) -> None:
    """When the broker comes back, the listener hears again."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    client = await EmbeddedBroker.attach(path)
    try:
        listener = await client.subscribe("watch", {"count": "#"})
        await first_heard(broker, listener)
        await broker.close()
        broker = await EmbeddedBroker.open(path, ALL)
        await first_heard(broker, listener)
    finally:
        await client.close()
        await broker.close()


async def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """Where a path is too long for a socket, a short one is noted beside the file, and removed in the end."""
    path = tmp_path / ("long" * 30) / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    where = socket_path(path)
    assert where.exists()
    assert where.parent != path.parent
    client = await EmbeddedBroker.attach(path)
    listener = await client.subscribe("watch", {"count": "#"})
    await first_heard(broker, listener)
    await client.close()
    await broker.close()
    assert not where.parent.exists()


async def test_listeners_only_listen(tmp_path: Path) -> None:
    """Anything but a request to listen is answered with an error, and harms nobody."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    try:
        for request in (
            b"{}\n",
            b"nonsense\n",
            b'{"publish": 1, "role": "x", "bindings": {}}\n',
            b"x" * 200_000 + b"\n",
        ):
            reader, writer = await asyncio.open_unix_connection(socket_path(path))
            writer.write(request)
            assert b"not a request" in await asyncio.wait_for(reader.readline(), 30)
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        with pytest.raises(BrokerError, match="max_length"):
            await anext(listen(path, {"count": "#"}, max_length=0))
        await broker.ping()
    finally:
        await broker.close()


async def test_a_listener_that_leaves_is_forgotten(tmp_path: Path) -> None:
    """The subscription of a connection that was closed is gone, though nothing was announced in between."""
    path = tmp_path / "broker.db"
    broker = await EmbeddedBroker.open(path, ALL)
    try:
        heard = listen(path, {"count": "#"})
        waiting = asyncio.ensure_future(anext(heard))
        await eventually(lambda: broker._hub.wanted("count", "receipts"))  # nothing public tells
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await eventually(lambda: not broker._hub.wanted("count", "receipts"))
    finally:
        await broker.close()
