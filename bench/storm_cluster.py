"""A Storm cluster for benchmarks: several topologies in it, of which one works at a time; and processor time."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.servers import ROOT
from streams import ConfigurationError
from tests.servers.storm import StormMissingError, StormServer
from tests.support import free_port

#: A job of a probe that takes longer has failed.
_JOB_TIMEOUT_S = 600.0
#: What the probes are, beside our own packages.
_CODE = ("bench/__init__.py", "bench/storm_components.py")
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def storm_cluster(slots: int) -> Iterator[StormServer]:
    """A cluster with room for so many topologies. Raises ConfigurationError when there is no Storm to be had."""
    try:
        server = StormServer(conf={"supervisor.slots.ports": [free_port() for _ in range(slots)]})
    except StormMissingError as exc:
        raise ConfigurationError(str(exc)) from exc
    server.start()
    try:
        yield server
    finally:
        server.close()


def submit(server: StormServer, name: str, topology: Any, conf: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Submit a topology, wait until all of it runs, and have it pause."""
    extra = {file: (ROOT / file).read_bytes() for file in _CODE}
    server.submit(name, topology, conf, environ=environ, extra=extra)
    server.nimbus.deactivate(name)


@contextmanager
def active(server: StormServer, name: str) -> Iterator[None]:
    """Have a topology's spouts work until the block ends."""
    server.nimbus.activate(name)
    try:
        yield
    finally:
        server.nimbus.deactivate(name)


@dataclass(slots=True)
class Probe:
    """A topology of `bench.storm_components`, with jobs to do.

    Attributes:
        folder: of its jobs.
        jobs: given so far.
    """

    server: StormServer
    name: str
    folder: Path
    jobs: int = 0

    @classmethod
    def submitted(cls, server: StormServer, topology: Any, conf: Mapping[str, Any]) -> "Probe":
        """Submit one; it pauses until it has a job."""
        name = topology.__name__.lower()
        folder = server.cluster.config.folder / f"jobs-{name}"
        folder.mkdir()
        submit(server, name, topology.thrift_topology, conf, {"BENCH_JOBS": str(folder)})
        return cls(server, name, folder)

    def run(self, tuples: Sequence[Sequence[str]], count: int | None = None) -> float:
        """Have it emit tuples: the seconds from the first emitted to the last acknowledged.

        Arguments:
            count: how many, going round; by default each of them once.

        Raises RuntimeError when one of them failed, or they take too long.
        """
        self.jobs += 1
        part = self.folder / "part-job"
        part.write_text(json.dumps({"tuples": tuples, "count": count or len(tuples)}))
        part.rename(self.folder / f"job-{self.jobs}")
        done = self.folder / f"done-{self.jobs}"
        with active(self.server, self.name):
            deadline = time.monotonic() + _JOB_TIMEOUT_S
            while not done.exists():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} did not end within {_JOB_TIMEOUT_S:g} s")
                time.sleep(0.02)
        answer = json.loads(done.read_text())
        if answer["failed"]:
            raise RuntimeError(f"{self.name}: {answer['failed']} tuples failed")
        return float(answer["seconds"])


def tuple_bytes(values: Sequence[object]) -> int:
    """Bytes of a tuple's values as JSON: what is the tuple's own of each message about it."""
    return len(json.dumps(values))


@dataclass(slots=True)
class Processes:
    """Processor time by process, of all that a benchmark watches.

    Arguments:
        labels: label → what command line and environment of its processes hold, all of it.
    """

    labels: Mapping[str, Sequence[str]]

    def seconds(self) -> dict[str, float]:
        """Processor seconds used so far by the processes of each label that are there now."""
        found = dict.fromkeys(self.labels, 0.0)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                said = b" ".join((folder / name).read_bytes() for name in ("cmdline", "environ"))
                command = said.replace(b"\0", b" ").decode("utf-8", "replace")
                label = next(
                    (name for name, parts in self.labels.items() if all(part in command for part in parts)), None
                )
                if label is not None:
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    found[label] += (int(fields[11]) + int(fields[12])) / _TICKS
            except OSError:  # it has just ended
                continue
        return found


def used(before: Mapping[str, float], after: Mapping[str, float], receipts: int) -> dict[str, float]:
    """Processor milliseconds for each receipt, by label."""
    return {name: round((after[name] - before[name]) / receipts * 1000, 4) for name in after}
