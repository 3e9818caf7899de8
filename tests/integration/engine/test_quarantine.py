"""Replaying, and repairing, by the engine's own code on a real store."""

import asyncio
import importlib
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import store as stores
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message, QueueState
from engine import Flusher, NotRepairableError, NotReplayedError, audit, discard, prepare, repair, replay, unrest
from engine.quarantine import items
from store import RejectedQuery, Store, StoreError, StoreRefusedError
from store.protocol import LedgerEntry, Rejected
from streams import InvalidEventError, ReceiptStream
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))


class OlderStream(ReceiptStream):
    """A release that cannot read anything yet."""

    def parse(self, line: bytes) -> Any:
        """Refuse it."""
        raise InvalidEventError("$", "something newer")


@dataclass
class Outbox:
    """A broker that keeps what is published."""

    messages: list[Message] = field(default_factory=list)

    async def publish(self, message: Message) -> None:
        """Keep it."""
        self.messages.append(message)

    async def announce(self, message: Message) -> None:
        """Nobody hears it."""


def line(number: int, **changes: Any) -> bytes:
    """A receipt as its line in a frame."""
    return STREAM.accept(json.dumps(receipt({"cashReceiptID": number, **changes})).encode(), 1000.0 + number)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An embedded store."""
    opened = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    await opened.prepare(STREAM.name, STREAM.key_names)
    yield opened
    await opened.close()


@pytest.fixture
def outbox() -> Any:
    """A broker that keeps what is published."""
    return Outbox()


async def count(store: Store, body: bytes, stream: ReceiptStream = STREAM) -> None:
    """Do with a frame what a worker does."""
    flusher = Flusher(store=store, broker=Outbox(), stream=stream)
    await flusher.flush([await prepare(Frame.from_body(stream.name, body), stream, store, lambda: 2000.0)])


async def only(store: Store) -> Rejected:
    """The one item that was rejected, with its bytes."""
    [listed] = [one async for one in items(store, STREAM, RejectedQuery())]
    item = await store.rejected_item(STREAM.name, listed.id)
    assert item is not None
    assert item.summary() == listed
    return item


async def adds_up(store: Store, events: int) -> None:
    """The audit agrees, and so many events count."""
    report = await audit(store, STREAM, patience_s=0.0)
    assert (report.listed, report.events) == ([], events)


async def test_a_line_that_was_alone_in_its_frame_counts_when_it_is_replayed(store: Store, outbox: Any) -> None:
    """Its frame's ledger entry says that it adds nothing, for ever: it is never published under that id again."""
    await count(store, line(1), OlderStream(ZoneInfo("UTC")))
    item = await only(store)
    assert (item.reason, item.status) == ("invalid", "open")
    step = await replay(store, outbox, STREAM, item)
    [message] = outbox.messages
    assert (message.exchange, message.routing_key, message.message_id) == ("receipts", "receipts", step.frame)
    assert message.headers["events"] == 1
    assert message.body.strip() == item.body
    assert step.frame != item.source
    await count(store, message.body)
    await count(store, message.body)  # delivered again
    assert (await only(store)).status == "replayed"
    await adds_up(store, 1)


async def test_each_replay_that_was_rejected_again_is_followed_by_another_frame(store: Store, outbox: Any) -> None:
    """As often as it takes; replaying twice before the first is counted is one frame."""
    older = OlderStream(ZoneInfo("UTC"))
    await count(store, line(1), older)
    for _ in range(3):
        item = await only(store)
        assert item.status == "open"
        first, second = await asyncio.gather(*(replay(store, outbox, STREAM, item) for _ in range(2)))
        assert first.frame == second.frame
        await count(store, outbox.messages[-1].body, older)
    assert len({message.message_id for message in outbox.messages}) == 3
    step = await replay(store, outbox, STREAM, await only(store))
    with pytest.raises(NotReplayedError, match="was replayed"):
        await replay(store, outbox, STREAM, await only(store))
    await count(store, outbox.messages[-1].body)
    assert [one.what for one in (await only(store)).steps if one.frame == step.frame] == ["replayed"]
    assert (await only(store)).status == "replayed"
    await adds_up(store, 1)


async def test_what_would_be_rejected_again_is_not_replayed(store: Store, outbox: Any) -> None:
    """A conflict, a line that cannot be read, something discarded: said plainly, and nothing is published."""
    await count(store, line(1))
    await count(store, line(1, **{"documentTotal.grossTotal": 99}))
    conflict = await only(store)
    with pytest.raises(NotReplayedError, match=r"stored with other content, by frame .*, and the first one wins"):
        await replay(store, outbox, STREAM, conflict)
    assert outbox.messages == []
    await replay(store, outbox, STREAM, conflict, force=True)
    assert (await only(store)).status == "replayed"
    await count(store, outbox.messages[-1].body)
    assert (await only(store)).status == "open"
    assert await discard(store, conflict, "seen") is not None
    assert await discard(store, await only(store), "again") is None
    with pytest.raises(NotReplayedError, match="discarded"):
        await replay(store, outbox, STREAM, await only(store), force=True)
    assert [step.note for step in (await only(store)).steps if step.what == "discarded"] == ["seen"]
    await adds_up(store, 1)


async def orphan(store: Store, *lines: bytes) -> Frame:
    """A frame whose events are stored and not counted."""
    frame = Frame.of(STREAM.name, lines)
    prepared = await prepare(frame, STREAM, store, lambda: 2000.0)
    await store.insert_events(STREAM.name, prepared.encoded, 2000.0)
    return frame


class Failing:
    """A store whose appends fail after they happened, or before, as often as it is told."""

    def __init__(self, inner: Store, failures: list[str]) -> None:
        self._inner = inner
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, entries: list[LedgerEntry]) -> int:
        """Fail, if a failure is left."""
        failure = self._failures.pop() if self._failures else ""
        done = 0 if failure == "before" else await self._inner.append(entries)
        if failure:
            raise StoreError("simulated")
        return done


async def test_repair_counts_what_no_entry_counts(store: Store, outbox: Any) -> None:
    """Every frame once, also after it was ended in between, in whatever way; then there is nothing left to do."""
    await count(store, b"\n".join([line(1), line(2)]))
    frames = [await orphan(store, line(number), line(number + 1)) for number in (3, 5, 7)]
    report = await audit(store, STREAM, patience_s=0.0)
    assert (report.open, report.differences) == (3, 3)
    failing: Any = Failing(store, ["before", "after", "before", "after"])
    counted: dict[str, int] = {}
    for _ in range(4):
        with pytest.raises(StoreError):
            await repair(failing, outbox, STREAM)
    counted = (await repair(store, outbox, STREAM)).counted
    assert set(counted) < {frame.id for frame in frames}
    assert set(counted.values()) == {2}
    await adds_up(store, 8)
    assert (await repair(store, outbox, STREAM)).counted == {}
    for frame in frames:
        await count(store, frame.body)  # it turns up after all
    await adds_up(store, 8)


async def test_a_repair_of_many_frames_holds_few_of_them_at_once(
    store: Store, outbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their number, their events and their bytes; all of them are counted, once, and a damaged one is left."""
    module = importlib.import_module("engine.repair")  # `engine.repair` is the function of that name
    monkeypatch.setattr(module, "_FRAMES_AT_ONCE", 3)
    monkeypatch.setattr(module, "_EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 1000)
    frames = [await orphan(store, line(number), line(number + 1)) for number in range(1, 20, 2)]
    await orphan(store, line(100).replace(b"26.53", b"26.54"))
    done = await repair(store, outbox, STREAM)
    assert done.counted.keys() >= {frame.id for frame in frames}
    assert set(done.counted.values()) <= {1, 2}
    assert (await repair(store, outbox, STREAM)).counted == {}
    await adds_up(store, 21)


class RefusesEntry:
    """The store, which refuses the ledger entry of one frame for good."""

    def __init__(self, inner: Store, frame: str) -> None:
        self._inner = inner
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, entries: list[LedgerEntry]) -> int:
        """Refuse that frame's."""
        if any(entry.frame == self._frame for entry in entries):
            raise StoreRefusedError("too large, says the test")
        return await self._inner.append(entries)


async def test_a_frame_whose_entry_the_store_refuses_is_left(store: Store, outbox: Any) -> None:
    """The others are counted all the same, and the reason is reported."""
    refused, sound = await orphan(store, line(1)), await orphan(store, line(2))
    refusing: Any = RefusesEntry(store, refused.id)
    done = await repair(refusing, outbox, STREAM)
    assert done.counted == {sound.id: 1}
    assert done.left == {refused.id: "the store refuses its entry for good: too large, says the test"}


async def test_two_repairs_at_once_count_once(store: Store, outbox: Any) -> None:
    """The ledger's unique key decides."""
    for number in range(1, 6):
        await orphan(store, line(number))
    await asyncio.gather(*(repair(store, outbox, STREAM) for _ in range(3)))
    await adds_up(store, 5)


async def test_what_is_missing_within_a_writers_entries_is_not_repaired(
    store: Store, outbox: Any, tmp_path: Path
) -> None:
    """The totals may hold it already: counting it again could be once too often. At the end, it is repaired."""
    flusher = Flusher(store=store, broker=outbox, stream=STREAM)
    for number in range(1, 4):
        frame = Frame.of(STREAM.name, [line(number)])
        await flusher.flush([await prepare(frame, STREAM, store, lambda: 2000.0)])
    entries = {entry.seq: entry async for entry in store.scan_ledger(STREAM.name)}

    def delete(seq: int) -> None:
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("DELETE FROM ledger WHERE seq = ?", (seq,))
        connection.close()

    delete(2)
    with pytest.raises(NotRepairableError, match="got to ledger entry 3, and one before it is missing"):
        await repair(store, outbox, STREAM)
    await store.append([entries[2]])
    await adds_up(store, 3)
    delete(3)
    assert (await audit(store, STREAM, patience_s=0.0)).open == 1
    assert (await repair(store, outbox, STREAM)).counted == {entries[3].frame: 1}
    await adds_up(store, 3)


async def test_an_event_that_is_not_what_it_was_is_left(store: Store, outbox: Any, tmp_path: Path) -> None:
    """With its whole frame, and said."""
    broken, sound = await orphan(store, line(1), line(2)), await orphan(store, line(3))
    with sqlite3.connect(tmp_path / "store.db") as connection:
        changed = "CAST(replace(CAST(body AS TEXT), '26.53', '26.54') AS BLOB)"
        connection.execute(f"UPDATE events_receipts SET body = {changed} WHERE id LIKE '%:1'")
        assert connection.execute("SELECT changes()").fetchone() == (1,)
    connection.close()
    done = await repair(store, outbox, STREAM)
    assert done.counted == {sound.id: 1}
    assert done.left.keys() == {broken.id}
    assert "reads as another one" in done.left[broken.id]


async def test_rest_is_asked_for_until_it_is_stable(tmp_path: Path) -> None:
    """Figures that change are no rest; what is there, is said in words."""
    topology = receipts_topology()

    class Lagging:
        """Says that the work queue is empty, then what came meanwhile."""

        answers = 0

        async def state(self, queue: Any) -> QueueState:
            """The figures."""
            self.answers += 1
            return QueueState(3, 2) if queue is topology.work and self.answers > 4 else QueueState(0, 0)

    reasons = await unrest(Lagging(), topology, stable_s=0.6)  # type: ignore[arg-type]
    assert [reason.split(":")[0] for reason in reasons] == [
        "3 frames wait in receipts.work",
        "2 workers are connected to receipts.work",
    ]
