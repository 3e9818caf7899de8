import asyncio
import time

import msgspec
import pytest

import topology.totals_bolt
from analytics.tally import Tally
from engine import Partial, partial_message
from store.protocol import LedgerEntry
from tests.unit.topology.conftest import NOON, STREAM, Rig, Start, Totals


def tally_of(rig: Rig, *numbers: int) -> Tally:
    """What receipts add up to."""
    tally = Tally()
    for line in rig.frame(*numbers).lines():
        STREAM.fold(tally, STREAM.parse(line), NOON)
    return tally


async def next_count(listening: object, revision: int) -> dict[str, object]:
    """The first published count of that revision or a later one."""
    async with asyncio.timeout(30):
        async for delivery in listening:  # type: ignore[attr-defined]
            said: dict[str, object] = msgspec.json.decode(delivery.body)
            if said["revision"] >= revision:  # type: ignore[operator]
                return said
    raise AssertionError("nothing is published any more")


def test_partials_that_come_as_tuples_are_published(start: Start, rig: Rig) -> None:
    """Heard as a tuple, and again: it counts once, and is published without a look into the ledger."""
    bolt = start(Totals)
    listening = rig.do(lambda: rig.broker.subscribe("test", {"count": "#"}))
    rig.do(lambda: next_count(listening, 0))  # it has read the ledger, and is active
    tally = tally_of(rig, 1, 2)

    async def append() -> int:
        entry = LedgerEntry(frame="f", stream=STREAM.name, writer="w", seq=1, tally=tally, at=NOON)
        done: int = await rig.store.append([entry])
        return done

    assert rig.do(append) == 1
    partial = Partial(writer="w", first=1, last=1, tally=tally, worker="bolt")
    body = partial_message(STREAM.name, partial).body.decode()
    for tuple_id in ("1", "2"):
        bolt.storm.give(tuple_id, [body], source="ledger")
        assert bolt.storm.hear("ack")["id"] == tuple_id
    said = rig.do(lambda: next_count(listening, 1))
    assert (said["count"], said["sum"], said["revision"]) == (2, 53.06, 1)
    bolt.storm.give("3", ["not a partial"], source="ledger")
    assert bolt.storm.hear("ack")["id"] == "3"
    assert bolt.component.statuses == []


def test_ticks_find_the_thread_well(start: Start, rig: Rig) -> None:
    """A tick is acknowledged while the loop turns."""
    bolt = start(Totals)
    for tick in ("1", "2"):
        bolt.storm.tick(tick)
        assert bolt.storm.hear("ack")["id"] == tick


def test_a_thread_that_hangs_ends_the_process(start: Start, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storm starts another then; hanging without a word would be worse."""
    monkeypatch.setattr(topology.totals_bolt, "SILENT_S", 0.3)
    bolt = start(Totals)
    rig.do(lambda: asyncio.sleep(0))
    go_on = time.monotonic() + 1.5
    bolt.component.host.call(lambda: time.sleep(max(0.0, go_on - time.monotonic())))
    while not bolt.component.ended.is_set():
        assert time.monotonic() < go_on + 10
        bolt.storm.tick("tick")
        bolt.component.ended.wait(0.05)
    assert bolt.component.statuses[0] == 1
