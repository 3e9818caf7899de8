"""The topology as Storm is told of it: which components, how many, who listens to whom, and for how long.

Nothing secret is in it, for Nimbus stores it and shows it to whoever asks: components read addresses and passwords from
the environment of their Supervisor.
"""

from dataclasses import dataclass
from typing import Any

from streamparse import Grouping, Topology
from streamparse.dsl.bolt import ShellBoltSpec
from streamparse.dsl.spout import ShellSpoutSpec

from topology.component import MESSAGE_TIMEOUT_S, PENDING
from topology.ledger_bolt import LedgerBolt
from topology.receipt_spout import ReceiptSpout
from topology.totals_bolt import TotalsBolt

#: A component that answers no heartbeat for so long is hung, seconds: more than its start takes on a busy machine.
SUBPROCESS_TIMEOUT_S = 60
#: Storm's tick for the totals bolt, seconds.
TICK_S = 1
#: How often a bolt's thread in Java looks for a next tuple before it sleeps for a millisecond. With Storm's own 1,000
#: the worker JVM took 2.2 ms of a core for each frame of one receipt; so it takes 0.6 ms (two busy cores).
SPINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyConfig:
    """The topology's size and times.

    Attributes:
        spouts, bolts: how many processes take frames, and how many store them.
        workers: Storm's worker processes (JVMs) that they are spread over.
        pending: frames of one spout in Storm at most; also what it takes ahead from the broker.
        message_timeout_s: a frame that is not acknowledged within is emitted again by its spout.
        module: where a Supervisor's Python finds the components' classes, put together.
        command: what a Supervisor runs, with a class's name; found on its PATH.
    """

    spouts: int = 1
    bolts: int = 2
    workers: int = 1
    pending: int = PENDING
    message_timeout_s: int = MESSAGE_TIMEOUT_S
    module: str = "cli.storm"
    command: str = "streamparse_run"


def storm_topology(config: TopologyConfig) -> tuple[Any, dict[str, Any]]:
    """The topology for Nimbus: a Thrift `StormTopology`, and its configuration."""
    spout = ShellSpoutSpec(
        ReceiptSpout,
        name="receipts",
        command=config.command,
        script=f"{config.module}.ReceiptSpout",
        par=config.spouts,
        outputs=ReceiptSpout.outputs,
    )
    ledger = ShellBoltSpec(
        LedgerBolt,
        name="ledger",
        command=config.command,
        script=f"{config.module}.LedgerBolt",
        inputs={spout["default"]: Grouping.SHUFFLE},
        par=config.bolts,
        outputs=LedgerBolt.outputs,
    )
    totals = ShellBoltSpec(
        TotalsBolt,
        name="totals",
        command=config.command,
        script=f"{config.module}.TotalsBolt",
        inputs={ledger["default"]: Grouping.GLOBAL},
        par=1,
        config={"topology.tick.tuple.freq.secs": TICK_S},
        outputs=TotalsBolt.outputs,
    )
    topology = type(Topology)("Receipts", (Topology,), {"receipts": spout, "ledger": ledger, "totals": totals})
    conf = {
        "topology.workers": config.workers,
        "topology.acker.executors": config.workers,
        "topology.max.spout.pending": config.pending,
        "topology.message.timeout.secs": config.message_timeout_s,
        "topology.subprocess.timeout.secs": SUBPROCESS_TIMEOUT_S,
        # A bolt reads its tuples as they come, and pending ones are bounded: nothing is won by holding them in Java.
        "topology.shellbolt.max.pending": max(100, config.pending * config.spouts),
        "topology.bolt.wait.progressive.level2.count": SPINS,
    }
    return topology.thrift_topology, conf
