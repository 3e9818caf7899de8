import json
import time
from pathlib import Path

from tests.unit.topology.conftest import Rig, Spout, Start
from tests.unit.topology.storm import PATIENCE_S, Storm
from topology.wire import read_frame


def until_ready(rig: Rig, count: int) -> None:
    """Wait until so many frames are in the queue again."""
    deadline = time.monotonic() + PATIENCE_S
    while rig.ready() != count:
        assert time.monotonic() < deadline, f"{rig.ready()} ready, not {count}"
        time.sleep(0.01)


def until_taken(rig: Rig, storm: Storm) -> None:
    """Wait until the spout has taken every frame from the queue."""
    until_ready(rig, 0)


def test_frames_are_emitted_and_acknowledged(start: Start, rig: Rig, tmp_path: Path) -> None:
    """What Storm acknowledges is gone from the queue, what it does not is there again when the spout has ended."""
    spout = start(Spout)
    for number in (1, 2):
        rig.publish(rig.frame(number))
    assert spout.storm.ask("next") == []  # not before it is activated
    spout.storm.ask("activate")
    first, second = spout.storm.emitted(2)
    frame = read_frame(first["tuple"])
    assert (frame.id, frame.body) == (rig.frame(1).id, rig.frame(1).body)
    assert frame.headers == dict(rig.frame(1).headers)
    assert first["need_task_ids"] is False
    assert first["id"] != second["id"]
    spout.storm.ask("ack", first["id"])
    assert spout.end() == [2]

    again = start(Spout)
    again.storm.ask("activate")
    (third,) = again.storm.emitted(1)
    assert read_frame(third["tuple"]).id == rig.frame(2).id
    assert third["id"] not in {first["id"], second["id"]}


def test_no_more_frames_than_pending_are_taken(start: Start, rig: Rig) -> None:
    """Storm's bound on pending tuples is the broker's on unsettled frames."""
    spout = start(Spout, **{"topology.max.spout.pending": 2})
    for number in range(5):
        rig.publish(rig.frame(number))
    spout.storm.ask("activate")
    first, _ = spout.storm.emitted(2)
    assert spout.storm.ask("next") == []
    assert rig.ready() == 3
    spout.storm.ask("ack", first["id"])
    spout.storm.emitted(1)


def test_a_failed_frame_comes_again_under_another_id(start: Start, rig: Rig) -> None:
    """A late ack of the failed tuple is ignored: the frame stays unsettled, and is there when the spout has ended."""
    spout = start(Spout)
    rig.publish(rig.frame(1))
    spout.storm.ask("activate")
    (first,) = spout.storm.emitted(1)
    spout.storm.ask("fail", first["id"])
    spout.storm.ask("ack", first["id"])
    (second,) = spout.storm.emitted(1)
    assert second["id"] != first["id"]
    assert second["tuple"] == first["tuple"]
    spout.storm.ask("ack", first["id"])
    spout.storm.ask("fail", "of a process long gone")
    spout.end()

    again = start(Spout)
    again.storm.ask("activate")
    (third,) = again.storm.emitted(1)
    again.storm.ask("ack", third["id"])
    again.end()
    last = start(Spout)
    assert rig.ready() == 0
    last.end()


def test_a_deactivated_spout_gives_back_what_it_has_not_emitted(start: Start, rig: Rig) -> None:
    """What is in flight can still be acknowledged; activated again, it goes on."""
    spout = start(Spout)
    rig.publish(rig.frame(1))
    spout.storm.ask("activate")
    (first,) = spout.storm.emitted(1)
    rig.publish(rig.frame(2))
    rig.publish(rig.frame(3))
    until_taken(rig, spout.storm)
    spout.storm.ask("deactivate")
    until_ready(rig, 2)
    spout.storm.ask("ack", first["id"])
    spout.storm.ask("activate")
    found = [read_frame(said["tuple"]).id for said in spout.storm.emitted(2)]
    assert found == [rig.frame(2).id, rig.frame(3).id]
    spout.end()

    again = start(Spout)
    assert rig.ready() == 2  # the first was acknowledged
    again.end()


def test_frames_of_a_newer_format_stop_the_spout(start: Start, rig: Rig) -> None:
    """It holds the frame and takes no other: those are for a newer release, until it is deactivated."""
    spout = start(Spout)
    rig.publish(rig.frame(1), schema=99)
    spout.storm.ask("activate")
    until_taken(rig, spout.storm)
    rig.publish(rig.frame(2))
    assert spout.storm.ask("next") == []
    assert rig.ready() == 1
    spout.storm.ask("deactivate")
    until_ready(rig, 2)


def test_frames_for_another_store_stop_the_spout(start: Start, rig: Rig) -> None:
    """It holds the frame and takes no other: those are for components that work on that store."""
    spout = start(Spout)
    own = rig.do(lambda: rig.store.identify("receipts", "UTC"))
    rig.publish(rig.frame(1), store=own.id)
    spout.storm.ask("activate")
    (first,) = spout.storm.emitted(1)
    spout.storm.ask("ack", first["id"])
    rig.publish(rig.frame(2), store="another")
    until_taken(rig, spout.storm)
    rig.publish(rig.frame(3), store=own.id)
    assert spout.storm.ask("next") == []
    spout.storm.ask("deactivate")
    until_ready(rig, 2)


def test_bytes_that_are_no_text_reach_storm_and_come_back(start: Start, rig: Rig) -> None:
    """A body that is not UTF-8 survives the protocol."""
    spout = start(Spout)
    frame = type(rig.frame(1)).of("receipts", [b"\xff\x00\xfe", json.dumps("é").encode("latin-1")])
    rig.publish(frame)
    spout.storm.ask("activate")
    (said,) = spout.storm.emitted(1)
    assert read_frame(said["tuple"]).body == frame.body
