"""The memory limits of docker-compose.yml, held against the settings from which processes know what they may hold."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # Bokeh brings it, without types

from broker.byte_limit import LARGEST_BYTES
from cli.settings import SETTINGS, read_settings
from cli.values import size
from engine import LEAST_WORKER_MEMORY, WORKER_MEMORY, HeldBytes, WorkerConfig
from streams import ConfigurationError
from topology.intake import FLYING_BYTES, HELD_BYTES

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
#: A Python process of ours with its libraries, and a Java machine beside its heap.
PYTHON_BYTES = 128 << 20
JAVA_BYTES = 160 << 20
#: A frame that is read, encoded and being stored takes so many times its bytes at most (bench/worker_memory.py).
READ_FACTOR = 20
#: A frame in a tuple is held as text, by the spout and by a bolt.
TUPLE_FACTOR = 4


def as_bytes(text: str) -> int:
    """A size as Docker reads it: `768MiB`, `2g`."""
    return size(0, 1 << 50)(re.sub(r"(?<=\d)([mg])$", lambda unit: f" {unit[1].upper()}iB", text))


def limit(service: str) -> int:
    """The memory limit of a service where the environment says nothing."""
    return as_bytes(re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", SERVICES[service]["mem_limit"]))


def needed(memory: int) -> int:
    """What a worker with this setting takes at most."""
    held = HeldBytes.within(memory)
    return PYTHON_BYTES + held.unsettled + READ_FACTOR * max(held.prepared, LARGEST_BYTES)


def test_one_setting_is_the_limit_of_a_worker_and_bounds_what_it_holds() -> None:
    """Container and process read the same variable, with the same default, and what is held fits into it."""
    assert SERVICES["worker"]["mem_limit"].startswith("${TILLSTREAM_WORKER_MEMORY:-")
    assert limit("worker") == read_settings({}).settings.worker_memory == WORKER_MEMORY
    assert WorkerConfig().held == HeldBytes.within(WORKER_MEMORY)


@pytest.mark.parametrize("memory", [LEAST_WORKER_MEMORY, WORKER_MEMORY, 4 << 30])
def test_a_worker_of_any_memory_holds_less(memory: int) -> None:
    """Even with frames of the largest size, and with the least memory that may be set."""
    assert needed(memory) <= memory
    assert read_settings({"TILLSTREAM_WORKER_MEMORY": f"{memory} B"}).settings.worker_memory == memory


def test_less_memory_than_the_largest_frame_takes_is_refused() -> None:
    """In one line, before the worker starts."""
    with pytest.raises(ConfigurationError, match="TILLSTREAM_WORKER_MEMORY"):
        read_settings({"TILLSTREAM_WORKER_MEMORY": str(LEAST_WORKER_MEMORY - 1)})


def test_the_components_of_a_topology_fit_into_a_supervisor() -> None:
    """The default numbers of spouts and bolts, the totals, and the Java machines around them."""
    defaults = {row.name: row.parse(row.default) for row in SETTINGS if row.name.startswith("storm_")}
    storm = yaml.safe_load((ROOT / "deploy" / "storm" / "storm.yaml").read_text("utf-8"))
    heaps = [
        as_bytes(re.search(r"-Xmx(\w+)", storm[name])[1])  # type: ignore[index]
        for name in ("supervisor.childopts", "worker.childopts")
    ]
    spout = PYTHON_BYTES + HELD_BYTES + TUPLE_FACTOR * FLYING_BYTES
    components = defaults["storm_bolts"] * needed(WORKER_MEMORY) + defaults["storm_spouts"] * spout + limit("totals")
    assert sum(heaps) + len(heaps) * JAVA_BYTES + components <= limit("supervisor")
