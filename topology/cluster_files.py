"""The configuration of a Storm cluster on this machine, as text. Pure: nothing is written or started here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Everything of the cluster listens here, as far as it can be told (docs/storm.md).
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the parts listen; a slot is a place for one worker JVM."""

    zookeeper: int
    nimbus: int
    supervisor: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heaps:
    """The largest heap of each JVM, in MiB; a JVM takes 50 to 100 MiB beside it."""

    zookeeper: int = 64
    nimbus: int = 192
    supervisor: int = 128
    worker: int = 256
    log_writer: int = 16


def storm_yaml(folder: Path, ports: Ports, heaps: Heaps, extra: Mapping[str, Any]) -> str:
    """What `conf/storm.yaml` has to say, as JSON, which is YAML, too.

    Arguments:
        folder: where the cluster keeps its state, below `state`.
        extra: further entries; they win.
    """
    conf: dict[str, Any] = {
        "storm.zookeeper.servers": [LOOPBACK],
        "storm.zookeeper.port": ports.zookeeper,
        "storm.local.dir": str(folder / "state"),
        "storm.local.hostname": LOOPBACK,
        "nimbus.seeds": [LOOPBACK],
        "nimbus.thrift.port": ports.nimbus,
        "supervisor.thrift.port": ports.supervisor,
        "supervisor.slots.ports": list(ports.slots),
        "supervisor.run.worker.as.user": False,
        "storm.resource.isolation.plugin.enable": False,  # no control groups
        "worker.heap.memory.mb": heaps.worker,
        "worker.childopts": f"-Xmx{heaps.worker}m -XX:+UseSerialGC",  # whatever the components ask for together
        "topology.worker.logwriter.childopts": f"-Xmx{heaps.log_writer}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        # A try-out wants to see something soon: shorter rounds than on a cluster of many machines.
        "nimbus.monitor.freq.secs": 3,
        "supervisor.monitor.frequency.secs": 1,
        "task.refresh.poll.secs": 1,
        "task.heartbeat.frequency.secs": 1,
        "executor.metrics.frequency.secs": 2,  # how often Nimbus hears of executors; Storm's own 60 s are long to wait
        "topology.stats.sample.rate": 1.0,
        "ui.actions.enabled": False,  # should somebody start a UI beside it: it knows no passwords
        # Its own store of metrics is a database of 73 MB that nothing here reads.
        "storm.metricstore.class": "org.apache.storm.metricstore.NoOpMetricStore",
    }
    return json.dumps(conf | dict(extra), indent=1) + "\n"


def zookeeper_properties(folder: Path, port: int) -> str:
    """What ZooKeeper's configuration file has to say."""
    return "\n".join(
        (
            f"dataDir={folder / 'zookeeper'}",
            f"clientPort={port}",
            f"clientPortAddress={LOOPBACK}",
            "admin.enableServer=false",
            "maxClientCnxns=0",
            "tickTime=2000",
            "forceSync=no",  # a topology of a try-out need not survive a power failure; receipts are elsewhere
            "",
        )
    )
