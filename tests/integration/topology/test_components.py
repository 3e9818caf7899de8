"""Components as the processes that Storm starts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from broker.frames import Frame
from tests.unit.streams.sample import receipt
from tests.unit.topology.storm import Storm
from topology.tuple_source import TupleDelivery
from topology.wire import FrameTuple, frame_values

MODULE = "tests.integration.topology.embedded_components"
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def started(component: str, data: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], Storm]]:
    """Start a component the way a Supervisor does: one argument, stdin and stdout."""
    runner = Path(sys.executable).with_name("streamparse_run")
    process = subprocess.Popen(
        [runner, f"{MODULE}.{component}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TILLSTREAM_DATA": str(data), **environ},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    storm = Storm(process.stdin, process.stdout)  # type: ignore[arg-type]
    try:
        yield process, storm
    finally:
        storm.close()
        process.kill()
        process.wait(30)


def frame() -> list[str]:
    """A tuple with one receipt."""
    made = Frame.of("receipts", [json.dumps({**receipt(), "receivedTime": 1_795_003_200.0}).encode()])
    whole = FrameTuple(id=made.id, headers=dict(made.headers), body=made.body)
    return frame_values(TupleDelivery("", whole, lambda *_: None, 0.0))


def test_a_bolt_counts_logs_and_ends_with_its_stdin(tmp_path: Path) -> None:
    """It speaks the protocol and nothing else on stdout; its log lines are Storm's; without a Storm it ends."""
    with started("EmbeddedLedgerBolt", tmp_path) as (process, storm):
        assert storm.shake_hands(tmp_path, {"topology.name": "test"}, "ledger") == process.pid
        storm.give("1", frame())
        assert storm.hear("ack")["id"] == "1"
        assert storm.hear("emit")["tuple"]
        storm.beat()
        lines = [said for said in storm.heard("log") if said["msg"].startswith("{")]
        begun = json.loads(lines[0]["msg"])
        assert (begun["event"], begun["component"], begun["pid"]) == ("started", "EmbeddedLedgerBolt", process.pid)
        assert lines[0]["level"] == 2  # info
        storm.close()
        assert process.wait(30) == 2


def test_a_bolt_ends_on_sigterm(tmp_path: Path) -> None:
    """So Storm ends components; what is under way is finished or given back."""
    with started("EmbeddedLedgerBolt", tmp_path) as (process, storm):
        storm.shake_hands(tmp_path, {"topology.name": "test"}, "ledger")
        storm.give("1", frame())
        storm.hear("ack")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 2


def test_a_broker_of_one_process_is_refused(tmp_path: Path) -> None:
    """The component says so to Storm, and ends."""
    with started("Refusing", tmp_path) as (process, storm):
        storm.shake_hands(tmp_path, {"topology.name": "test"}, "ledger")
        said = storm.hear(lambda message: "needs a broker that processes can share" in str(message))
        assert said["command"] in {"log", "error"}
        assert process.wait(30) != 0
