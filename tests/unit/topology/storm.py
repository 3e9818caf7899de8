"""Storm's side of the protocol that it speaks with its components, over a component's stdin and stdout."""

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

#: No answer of a component takes so long, unless it is hung.
PATIENCE_S = 20.0


class Storm:
    """What Java's ShellSpout and ShellBolt do, a message at a time.

    Arguments:
        stdin, stdout: the component's.
    """

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        lines: list[bytes] = []
        with contextlib.suppress(ValueError, OSError):
            for line in self._stdout:
                if line == b"end\n":
                    self._said.put(json.loads(b"".join(lines)))
                    lines = []
                else:
                    lines.append(line)
        self._said.put({"command": "ended"})

    def send(self, message: Any) -> None:
        """Send one message."""
        self._stdin.write(json.dumps(message).encode() + b"\nend\n")
        self._stdin.flush()

    def close(self) -> None:
        """Close the component's stdin, as a Storm that dies does."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def shake_hands(self, pids: Path, conf: dict[str, Any], component: str) -> int:
        """Send the first message; give the component's process id."""
        context = {"taskid": 3, "componentid": component, "task->component": {"3": component}}
        self.send({"pidDir": str(pids), "conf": conf, "context": context})
        pid: int = self.hear(lambda said: "pid" in said)["pid"]
        assert (pids / str(pid)).exists()
        return pid

    def hear(self, wanted: Callable[[dict[str, Any]], bool] | str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The first message that is wanted (a predicate, or the name of a command); others are kept for later."""
        test = (lambda said: said.get("command") == wanted) if isinstance(wanted, str) else wanted
        for index, said in enumerate(self._kept):
            if test(said):
                return self._kept.pop(index)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                said = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not said within {patience_s} s: {wanted}; but {self._kept}") from None
            if test(said):
                return said
            self._kept.append(said)

    def heard(self, command: str) -> list[dict[str, Any]]:
        """What has come of one command until now and was not heard yet."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._kept.append(self._said.get_nowait())
        found = [said for said in self._kept if said.get("command") == command]
        self._kept = [said for said in self._kept if said.get("command") != command]
        return found

    # As to a spout

    def ask(self, command: str, tuple_id: str = "") -> list[dict[str, Any]]:
        """Ask a spout something, wait until it has answered, give what it emitted."""
        self.send({"command": command, "id": tuple_id})
        self.hear("sync")
        return self.heard("emit")

    def emitted(self, count: int, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """Ask for tuples until so many have come."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + patience_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} tuples within {patience_s} s"
            found += self.ask("next")
            time.sleep(0.002)  # as Storm waits between two questions
        return found

    # As to a bolt

    def give(self, tuple_id: str, values: list[str], *, source: str = "receipts") -> None:
        """Give a bolt a tuple."""
        self.send({"id": tuple_id, "comp": source, "stream": "default", "task": 1, "tuple": values})

    def tick(self, tuple_id: str) -> None:
        """Give a bolt a tick."""
        self.send({"id": tuple_id, "comp": "__system", "stream": "__tick", "task": -1, "tuple": [1]})

    def beat(self, patience_s: float = PATIENCE_S) -> None:
        """Send a bolt a heartbeat, and wait for the answer."""
        self.send({"id": "beat", "comp": None, "stream": "__heartbeat", "task": -1, "tuple": []})
        self.hear("sync", patience_s)


def pipes() -> tuple[BinaryIO, BinaryIO, BinaryIO, BinaryIO]:
    """Two pipes: what the component reads, what Storm writes; what Storm reads, what the component writes."""
    to_component, from_storm = os.pipe()
    to_storm, from_component = os.pipe()
    return (
        os.fdopen(to_component, "rb"),
        os.fdopen(from_storm, "wb"),
        os.fdopen(to_storm, "rb"),
        os.fdopen(from_component, "wb"),
    )
