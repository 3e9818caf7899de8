import asyncio
import threading
from typing import Any

import pytest

from analytics.codec import encode_tally
from broker.frames import Frame
from engine import Worker, read_partial
from tests.unit.topology.conftest import Ledger, Rig, Start
from topology.tuple_source import TupleDelivery
from topology.wire import FrameTuple, frame_values


def values_of(frame: Frame, **headers: int) -> list[str]:
    """A frame as a spout emits it."""
    whole = FrameTuple(id=frame.id, headers={**frame.headers, **headers}, body=frame.body)
    return frame_values(TupleDelivery("", whole, lambda *_: None, 0.0))


def test_tuples_are_acknowledged_when_the_ledger_has_their_frames(start: Start, rig: Rig) -> None:
    """Each frame has its entry; the partial is emitted, unanchored, and announced."""
    bolt = start(Ledger)
    listening = rig.do(lambda: rig.broker.subscribe("test", {"partials": "#"}))
    bolt.storm.give("1", values_of(rig.frame(1, 2)))
    assert bolt.storm.hear("ack")["id"] == "1"
    said = bolt.storm.hear("emit")
    assert said["anchors"] == []
    assert said["need_task_ids"] is False
    partial = read_partial(said["tuple"][0].encode())
    assert (partial.first, partial.last, partial.events) == (1, 1, 2)
    announced = rig.do(lambda: anext(aiter(listening)))
    assert encode_tally(read_partial(announced.body).tally) == encode_tally(partial.tally)
    assert rig.entries() == [(partial.writer, 1, rig.frame(1, 2).id)]
    bolt.storm.give("2", values_of(rig.frame(1, 2)))  # delivered again: nothing more is counted
    assert bolt.storm.hear("ack")["id"] == "2"
    assert len(rig.entries()) == 1


def test_what_is_no_frame_fails_and_harms_nobody(start: Start, rig: Rig) -> None:
    """A tuple that cannot be read is failed; the process lives and counts the next."""
    bolt = start(Ledger)
    bolt.storm.give("bad", ["x", "{}", "!"])
    assert bolt.storm.hear("fail")["id"] == "bad"
    bolt.storm.give("short", [])
    assert bolt.storm.hear("fail")["id"] == "short"
    bolt.storm.give("good", values_of(rig.frame(1)))
    assert bolt.storm.hear("ack")["id"] == "good"
    assert not bolt.component.statuses


def test_ticks_are_acknowledged(start: Start) -> None:
    """Storm keeps each tuple until it is answered, ticks included."""
    bolt = start(Ledger)
    bolt.storm.tick("tick")
    assert bolt.storm.hear("ack")["id"] == "tick"


def test_a_store_that_fails_fails_the_tuples_in_time(start: Start, rig: Rig) -> None:
    """Long before Storm's own time-out; with the store back, the same frame counts once, under another writer."""
    bolt = start(Ledger, **{"topology.message.timeout.secs": 3})
    bolt.storm.give("1", values_of(rig.frame(1)))
    bolt.storm.hear("ack")
    rig.store.failing = {"append"}
    bolt.storm.give("2", values_of(rig.frame(2)))
    assert bolt.storm.hear("fail", patience_s=2.5)["id"] == "2"
    assert rig.store.failures > 1
    rig.store.failing = set()
    bolt.storm.give("3", values_of(rig.frame(2)))
    assert bolt.storm.hear("ack")["id"] == "3"
    entries = rig.entries()
    assert sorted(frame for _, _, frame in entries) == sorted([rig.frame(1).id, rig.frame(2).id])
    assert len({writer for writer, _, _ in entries}) == 2


def test_heartbeats_are_answered_while_a_flush_hangs(start: Start, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that says nothing keeps no heartbeat waiting; tuples that wait behind it too long are failed."""
    bolt = start(Ledger, **{"topology.message.timeout.secs": 3})
    bolt.storm.give("0", values_of(rig.frame(0)))
    bolt.storm.hear("ack")
    hanging, go_on = threading.Event(), asyncio.Event()

    async def hang(*arguments: Any, **named: Any) -> Any:
        hanging.set()
        await go_on.wait()
        return await insert(*arguments, **named)

    insert = rig.store.insert_events
    monkeypatch.setattr(rig.store, "insert_events", hang, raising=False)
    bolt.storm.give("1", values_of(rig.frame(1)))
    assert hanging.wait(30)
    for _ in range(3):
        bolt.storm.beat(patience_s=5)
    assert bolt.storm.heard("ack") == []

    async def release() -> None:
        go_on.set()

    rig.do(release)
    assert bolt.storm.hear("ack")["id"] == "1"


def test_a_bug_costs_the_tuples_in_hand_and_not_the_process(start: Start, rig: Rig) -> None:
    """A worker that dies fails what it held; another takes its place."""

    class Clumsy(Worker):
        """Stumbles over its first flush."""

        stumbled = False

        async def _flush(self, batch: Any, stop: asyncio.Event) -> None:
            if not Clumsy.stumbled:
                Clumsy.stumbled = True
                raise ZeroDivisionError("a bug")
            await super()._flush(batch, stop)

    rig.worker_class = Clumsy
    bolt = start(Ledger)
    bolt.storm.give("1", values_of(rig.frame(1)))
    assert bolt.storm.hear("fail")["id"] == "1"
    bolt.storm.give("2", values_of(rig.frame(1)))
    assert bolt.storm.hear("ack")["id"] == "2"
    assert not bolt.component.statuses


def test_each_tuple_is_answered_once(start: Start, rig: Rig) -> None:
    """Storm ends the whole worker process over a second answer: what is settled is not failed at the end."""
    bolt = start(Ledger)
    for number in range(20):
        bolt.storm.give(str(number), values_of(rig.frame(number)))
    answered = [bolt.storm.hear("ack")["id"] for _ in range(20)]
    assert sorted(answered, key=int) == [str(number) for number in range(20)]
    assert bolt.end() == [2]
    assert bolt.storm.heard("ack") + bolt.storm.heard("fail") == []


def test_what_is_not_done_at_the_end_is_failed(start: Start, rig: Rig) -> None:
    """A bolt that is told to end gives back what it has not counted."""
    bolt = start(Ledger)
    bolt.storm.give("0", values_of(rig.frame(0)))
    bolt.storm.hear("ack")
    rig.store.failing = {"append"}
    bolt.storm.give("1", values_of(rig.frame(1)))
    while not rig.store.failures:
        bolt.storm.beat()
    bolt.end()
    assert [said["id"] for said in bolt.storm.heard("fail")] == ["1"]
