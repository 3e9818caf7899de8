"""Two ways to count in Storm: fold frames and merge, as ours do, or take receipts apart and group by fields.

Neither stores anything here: what differs is what is sent between processes, and what that costs. And the ceiling of
the one task that merges.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any, cast
from zoneinfo import ZoneInfo

from analytics.tally import Tally
from bench.results import Comparison
from bench.storm import Frames, frame_tuple
from bench.storm_cluster import Probe, Processes, storm_cluster, tuple_bytes, used
from bench.storm_components import FLUSH_EVENTS, Folding, Merging, Splitting, parts
from broker.frames import Frame
from engine.partials import Partial, partial_message, read_partial
from engine.totals import Totals
from streams import ReceiptStream
from topology import TopologyConfig, storm_topology

#: Receipts in a frame; see `bench.storm.SIZES`.
SIZE = 30
#: Receipts that a partial covers: a frame's, and a full flush's.
COVERED = (SIZE, FLUSH_EVENTS)
#: Partials sent to the merging task in a round.
_PARTIALS = 300
#: Different ones among them.
_TALLIES = 5


def grouping(rounds: int, receipts: int) -> dict[str, Any]:
    """Rates of both ways on the same frames, in turns; what each sends; and how many partials one task merges.

    Arguments:
        receipts: of each measurement.
    """
    stream = ReceiptStream(ZoneInfo("UTC"))
    making = Frames()
    found = Comparison(name=f"folded and merged / grouped by fields; frames of {SIZE}", unit="receipts/s")
    cpu: dict[str, list[dict[str, float]]] = {"folding": [], "splitting": []}
    merged: dict[int, list[float]] = {size: [] for size in COVERED}
    alone: dict[int, list[float]] = {size: [] for size in COVERED}
    with storm_cluster(3) as cluster:
        conf = storm_topology(TopologyConfig())[1]
        folding, splitting, merging = (Probe.submitted(cluster, each, conf) for each in (Folding, Splitting, Merging))
        folder = str(cluster.cluster.config.folder)
        processes = Processes(
            {"components": ("bench.storm_components.", folder), "worker JVM": ("worker.Worker", folder)}
        )
        partials = _partials(making, stream)
        for number in range(-1, rounds):  # the first is not counted: Java compiles what it has run often enough
            frames = making.make(receipts // SIZE, SIZE)
            tuples = [frame_tuple(frame) for frame in frames]
            for probe in (folding, splitting) if number % 2 else (splitting, folding):
                before = processes.seconds()
                rate = len(frames) * SIZE / probe.run(tuples)
                if number < 0:
                    continue
                cpu[probe.name].append(used(before, processes.seconds(), len(frames) * SIZE))
                (found.ours if probe is folding else found.bare).append(rate)
            for size, source in partials.items():
                bodies = list(islice(source, _PARTIALS))
                merged[size].append(_PARTIALS / merging.run([[body] for body in bodies]))
                alone[size].append(_PARTIALS / _merging_alone(bodies))
    return {
        **found.as_dict(),
        "cpu_ms_per_receipt": {
            name: {label: statistics.median(one[label] for one in each) for label in each[0]}
            for name, each in cpu.items()
        },
        "sent": _sent(frames, stream),
        "merging": {
            str(size): {
                "bytes": tuple_bytes([next(partials[size])]),
                "partials_per_s": round(statistics.median(merged[size]), 1),
                "without_storm": round(statistics.median(alone[size]), 1),
            }
            for size in COVERED
        },
    }


def _partials(making: Frames, stream: ReceiptStream) -> dict[int, Iterator[str]]:
    """Endless partials of one writer each, by how many receipts each covers."""
    return {
        size: _numbered(f"writer-{size}", [_folded(making.make(1, size)[0], stream) for _ in range(_TALLIES)])
        for size in COVERED
    }


def _numbered(writer: str, tallies: Sequence[Tally]) -> Iterator[str]:
    for seq, tally in enumerate(cycle(tallies), start=1):
        partial = Partial(writer=writer, first=seq, last=seq, tally=tally)
        yield partial_message("receipts", partial).body.decode()


def _folded(frame: Frame, stream: ReceiptStream) -> Tally:
    tally = Tally()
    for line in frame.lines():
        stream.fold(tally, stream.parse(line), time.time())
    return tally


def _merging_alone(bodies: Sequence[str]) -> float:
    """Seconds that reading and merging the partials takes, without Storm around it."""
    totals = Totals(cast(Any, None), "receipts")  # merging asks no store
    first = read_partial(bodies[0].encode())
    totals.offsets[first.writer] = first.first - 1  # those before were merged in other rounds
    began = time.perf_counter()
    for body in bodies:
        partial = read_partial(body.encode())
        totals.merge(partial.writer, partial.first, partial.last, partial.tally)
    return time.perf_counter() - began


def _sent(frames: Sequence[Frame], stream: ReceiptStream) -> dict[str, dict[str, float]]:
    """Tuples, and bytes of their values, that each way sends from its first bolts to its second, for one receipt.

    `each frame` is the worst that folding can do: a partial for each frame; `each flush` has full flushes.
    """
    split = [values for frame in frames for line in frame.lines() for values in parts(stream, line)]
    tallies = [_folded(frame, stream) for frame in frames]
    together = FLUSH_EVENTS // SIZE
    flushes = [Tally.sum(tallies[start : start + together]) for start in range(0, len(tallies), together)]
    receipts = len(frames) * SIZE

    def figures(tuples: Sequence[Sequence[object]]) -> dict[str, float]:
        return {
            "tuples_per_receipt": round(len(tuples) / receipts, 5),
            "bytes_per_receipt": round(sum(map(tuple_bytes, tuples)) / receipts, 1),
        }

    return {
        "grouped by fields": figures(split),
        "each frame": figures([[body] for body in islice(_numbered("w" * 32, tallies), len(tallies))]),
        "each flush": figures([[body] for body in islice(_numbered("w" * 32, flushes), len(flushes))]),
    }
