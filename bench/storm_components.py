"""Components of probe topologies: what a tuple costs in Storm, and what is won by folding before anything is sent.

The spout emits tuples that were made beforehand; behind it are

- `Sink`: nothing but the answer, the barest bolt;
- `Split` and `Count`: each receipt is taken apart, and equal keys go to equal tasks (fields grouping);
- `Fold` and `Merge`: frames are folded, and one task merges what they add up to (global grouping), as ours do.

None of them stores anything. They run in Storm's processes; `bench.storm_cluster` submits them with our jar.
"""

import json
import os
import select
import time
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from streamparse import Bolt, Grouping, Spout, Topology

from analytics.tally import Tally
from broker.frames import Frame
from engine.partials import Partial, partial_message, read_partial
from engine.totals import Totals
from streams import ReceiptStream
from topology.wire import FRAME_FIELDS, PARTIAL_FIELDS, read_frame

#: As the receipt spout does it.
EMITTED_AT_ONCE = 32
#: As a worker does it.
FLUSH_EVENTS = 2000
#: How often an idle spout looks for a job, seconds.
_LOOK_S = 0.02


class Prebuilt(Spout):  # type: ignore[misc]  # streamparse has no types
    """Emits the tuples of a job, and notes how long it took until the last of them was acknowledged.

    A job is a file `job-1`, `job-2`… in the folder that BENCH_JOBS names: a JSON object of `tuples`, and of `count`,
    how many are to be emitted, going round. The answer is `done-1`…: an object of `seconds` and `failed`.
    """

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        """Find the folder."""
        self._folder = Path(os.environ["BENCH_JOBS"])
        self._number, self._look_at = 1, 0.0
        self._tuples: list[list[str]] = []
        self._next = self._count = self._open = self._failed = 0
        self._began = 0.0

    def next_tuple(self) -> None:
        """Emit some, or look for a job."""
        if not self._tuples:
            self._look()
            return
        for number in range(self._next, min(self._next + EMITTED_AT_ONCE, self._count)):
            self.emit(self._tuples[number % len(self._tuples)], tup_id=f"{self._number}-{number}")
            self._next += 1

    def ack(self, tup_id: str) -> None:
        """One is done."""
        self._open -= 1
        if not self._open:
            answer = {"seconds": time.perf_counter() - self._began, "failed": self._failed}
            part = self._folder / "part"
            part.write_text(json.dumps(answer))
            part.rename(self._folder / f"done-{self._number}")
            self._number += 1
            self._tuples = []

    def fail(self, tup_id: str) -> None:
        """One failed; the benchmark will say so."""
        self._failed += 1
        self.ack(tup_id)

    def _look(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_S
        job = self._folder / f"job-{self._number}"
        if job.exists():
            order = json.loads(job.read_text())
            self._tuples, self._count = order["tuples"], order["count"]
            self._next, self._open, self._failed = 0, self._count, 0
            self._began = time.perf_counter()


class Frames(Prebuilt):
    """Emits frames."""

    outputs = FRAME_FIELDS


class Partials(Prebuilt):
    """Emits partials."""

    outputs = PARTIAL_FIELDS


class Sink(Bolt):  # type: ignore[misc]
    """Acknowledges what comes, unread."""

    def process(self, tup: Any) -> None:
        """Nothing more: pystorm acknowledges the tuple when this returns."""


class Split(Bolt):  # type: ignore[misc]
    """A tuple for each category of a receipt, and one for its minute: what such a topology sends at the least."""

    outputs = ("kind", "key", "amount", "count")

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        """Know how to read receipts."""
        self._stream = ReceiptStream(ZoneInfo("UTC"))

    def process(self, tup: Any) -> None:
        """Take a frame apart; its parts are anchored to it."""
        for line in Frame.from_body(self._stream.name, read_frame(tup.values).body).lines():
            for values in parts(self._stream, line):
                self.emit(values)


class Count(Bolt):  # type: ignore[misc]
    """Counts each key, in memory."""

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        """Nothing counted yet."""
        self._counted: dict[tuple[str, str], list[int]] = {}

    def process(self, tup: Any) -> None:
        """Add one tuple."""
        kind, key, amount, count = tup.values
        row = self._counted.setdefault((kind, key), [0, 0])
        row[0] += amount
        row[1] += count


class Fold(Bolt):  # type: ignore[misc]
    """Folds frames; when none is waiting, or there are enough, it emits one partial and answers them all."""

    outputs = PARTIAL_FIELDS
    auto_ack = False
    auto_anchor = False

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        """Know how to read receipts, and be a writer."""
        self._stream = ReceiptStream(ZoneInfo("UTC"))
        self._writer, self._seq = os.urandom(16).hex(), 0
        self._tally, self._events = Tally(), 0
        self._tuples: list[Any] = []

    def process(self, tup: Any) -> None:
        """Fold a frame."""
        for line in Frame.from_body(self._stream.name, read_frame(tup.values).body).lines():
            self._stream.fold(self._tally, self._stream.parse(line), time.time())
            self._events += 1
        self._tuples.append(tup)
        if self._events >= FLUSH_EVENTS or not select.select([0], [], [], 0)[0]:
            self._flush()

    def _flush(self) -> None:
        first, self._seq = self._seq + 1, self._seq + len(self._tuples)
        partial = Partial(writer=self._writer, first=first, last=self._seq, tally=self._tally)
        self.emit([partial_message(self._stream.name, partial).body.decode()])
        for tup in self._tuples:
            self.ack(tup)
        self._tally, self._events, self._tuples = Tally(), 0, []


class Merge(Bolt):  # type: ignore[misc]
    """Merges partials with the totals' own code."""

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        """Nothing merged yet."""
        self._totals = Totals(cast(Any, None), "receipts")  # merging asks no store

    def process(self, tup: Any) -> None:
        """Merge one partial."""
        partial = read_partial(str(tup.values[0]).encode())
        self._totals.merge(partial.writer, partial.first, partial.last, partial.tally)


def parts(stream: ReceiptStream, line: bytes) -> list[list[str | int]]:
    """What `Split` sends for a receipt: kind, key, amount, count."""
    facts = stream.parse(line).facts
    sales: dict[str, int] = {}
    for category, amount, _ in facts.lines:
        sales[category] = sales.get(category, 0) + amount
    found: list[list[str | int]] = [["category", category, amount, 1] for category, amount in sales.items()]
    return [*found, ["minute", facts.minute, facts.revenue, 1]]


class Bare(Topology):  # type: ignore[misc]
    """Tuples to two sinks."""

    frames = Frames.spec()
    sink = Sink.spec(inputs={frames: Grouping.SHUFFLE}, par=2)


class Splitting(Topology):  # type: ignore[misc]
    """Frames taken apart by two tasks, counted by two others."""

    frames = Frames.spec()
    split = Split.spec(inputs={frames: Grouping.SHUFFLE}, par=2)
    count = Count.spec(inputs={split: Grouping.fields("kind", "key")}, par=2)


class Folding(Topology):  # type: ignore[misc]
    """Frames folded by two tasks, merged by one."""

    frames = Frames.spec()
    fold = Fold.spec(inputs={frames: Grouping.SHUFFLE}, par=2)
    merge = Merge.spec(inputs={fold: Grouping.GLOBAL}, par=1)


class Merging(Topology):  # type: ignore[misc]
    """Partials to the one task that merges."""

    partials = Partials.spec()
    merge = Merge.spec(inputs={partials: Grouping.GLOBAL}, par=1)
