"""The dashboard with many pages open while receipts pour in: does each stay live, at what cost."""

import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.memory import Memory
from bench.servers import process
from bench.sessions import Session, sessions
from runtime import run
from tests.support import free_port

#: What people have open: mostly the day; of ten, one each looks at all stores, at one store, at the system.
PAGES = ("/", "/", "/stores", "/", "/", "/system", "/", "/", "/store?id=12", "/")
#: A page that was not updated for longer would call its numbers stale.
GAP_LIMIT_SECONDS = 3.0
#: Memory is compared with what it is after the first minute (in shorter runs: after the first quarter).
SETTLED_SECONDS = 60.0
_SAMPLE_SECONDS = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: pages open, length in seconds, receipts a second."""

    sessions: int = 20
    seconds: float = 60.0
    rate: float = 200.0


@dataclass(slots=True)
class Watch:
    """What the dashboard's process used: memory by second, processor seconds at the beginning and at the end."""

    pid: int
    memory: Memory = field(init=False)
    began: float = field(init=False)
    spent: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self.memory = Memory(self.pid)
        self.began, self.spent = time.monotonic(), _processor_seconds(self.pid)

    def figures(self) -> dict[str, float]:
        """Cores, mean; MiB after the first minute, at the end, at most; growth from then to then."""
        took = time.monotonic() - self.began
        settled = min(SETTLED_SECONDS, took / 4)
        # In hundredths of a second since the beginning: `Memory` counts receipts elsewhere.
        sizes = [(moment / 100, size) for moment, size in self.memory.samples]
        first = statistics.median(size for moment, size in sizes if settled <= moment <= settled + took / 10)
        last = statistics.median(size for moment, size in sizes if moment >= took * 0.9)
        return {
            "cores": round((_processor_seconds(self.pid) - self.spent) / took, 3),
            "first_minute_mib": round(first, 1),
            "end_mib": round(last, 1),
            "max_mib": round(max(size for _, size in sizes), 1),
            "growth": round(last / first - 1, 3),
        }

    def sample(self) -> None:
        """Note the memory of now."""
        self.memory.sample(int((time.monotonic() - self.began) * 100))


def dashboard(size: Size) -> dict[str, Any]:
    """Run the embedded system at a rate, the dashboard in a process of its own, and pages on it; the figures.

    `late` names the pages that were once not updated for longer than `GAP_LIMIT_SECONDS`.
    """
    with tempfile.TemporaryDirectory(prefix="tillstream-bench-") as folder:
        environ = {"TILLSTREAM_DATA": folder, "TILLSTREAM_LOG_LEVEL": "info"}
        port, pages = str(free_port()), str(free_port())
        up = ("up", "--no-dashboard", "--port", port, "--demo", "--rate", f"{size.rate:g}")
        with (
            process("cli.main", *up, environ=environ, ready="receipts go to"),
            process("cli.main", "dashboard", "--dashboard-port", pages, environ=environ, ready="the day, live") as pid,
        ):
            return run(_measure(f"http://127.0.0.1:{pages}", pid, size))


async def _measure(url: str, pid: int, size: Size) -> dict[str, Any]:
    paths = [PAGES[number % len(PAGES)] for number in range(size.sessions)]
    async with sessions(url, paths) as opened:
        await asyncio.sleep(3)  # what each session is told at first is not what it costs to keep it
        watch, began = Watch(pid), time.monotonic()
        before = [(each.messages, each.pushed_bytes) for each in opened]
        while time.monotonic() - began < size.seconds:
            watch.sample()
            await asyncio.sleep(_SAMPLE_SECONDS)
        ended = time.monotonic()
        return {
            "sessions": size.sessions,
            "rate": size.rate,
            "seconds": round(ended - began, 1),
            **_updates(opened, began, ended),
            **_traffic(opened, before, ended - began),
            **watch.figures(),
        }


def _updates(opened: list[Session], began: float, ended: float) -> dict[str, Any]:
    """Updates a second and session, and the longest time without one."""
    rates = [each.rate(began, ended) for each in opened]
    gaps = {number: each.longest_gap(began, ended) for number, each in enumerate(opened)}
    return {
        "updates_min": round(min(rates), 2),
        "updates_median": round(statistics.median(rates), 2),
        "longest_gap_s": round(max(gaps.values()), 2),
        "late": sorted({opened[number].path for number, gap in gaps.items() if gap > GAP_LIMIT_SECONDS}),
    }


def _traffic(opened: list[Session], before: list[tuple[int, int]], took: float) -> dict[str, Any]:
    """What a session is sent: by page, messages and bytes a second, and the size of the page's document."""
    found: dict[str, Any] = {}
    for path in dict.fromkeys(each.path for each in opened):
        ours = [(each, start) for each, start in zip(opened, before, strict=True) if each.path == path]
        found[path] = {
            "sessions": len(ours),
            "document_kib": round(statistics.mean(each.document_bytes for each, _ in ours) / 1024, 1),
            "messages_per_s": round(statistics.mean((each.messages - was) / took for each, (was, _) in ours), 2),
            "bytes_per_s": round(statistics.mean((each.pushed_bytes - was) / took for each, (_, was) in ours)),
        }
    return {"pages": found}


def _processor_seconds(pid: int) -> float:
    """Processor time that a process has used, its threads included. The name in the file may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
