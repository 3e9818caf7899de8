"""The processes of a system, each with its own user at RabbitMQ, as Compose runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.broker.roles_of import Loaded
from tests.integration.system.harness import Process, System
from tests.support import free_port

ROLES = ("entrypoint", "worker", "totals", "dashboard")


@dataclass(frozen=True)
class Roles:
    """A system of one process of each role.

    Attributes:
        system: its processes, by role.
        tools: the same system for commands that a person runs.
        probes: role → address of its probes.
    """

    system: System
    tools: System
    probes: Mapping[str, str]

    def lines(self, role: str, *levels: str) -> list[dict[str, Any]]:
        """What a process logged, of some levels or of all."""
        found = self.system.processes[role].events()
        return [line for line in found if not levels or line.get("level") in levels]


def roles_system(loaded: Loaded, store: str, folder: Path) -> Roles:
    """One that is not started yet; each process is told its broker by a file, as a secret."""
    common = {"TILLSTREAM_STORE": store, "TILLSTREAM_LOG_LEVEL": "debug", "TILLSTREAM_CHECKPOINT_S": "0.5"}

    def environ(role: str) -> dict[str, str]:
        file = folder / f"{role}-url"
        file.write_text(loaded.url(role) + "\n")
        return {**common, "TILLSTREAM_BROKER_FILE": str(file)}

    system = System(environ("entrypoint"), folder)
    ports = {role: free_port() for role in ROLES} | {"entrypoint": system.port}
    arguments = {
        "entrypoint": ("--port", str(system.port)),
        "worker": ("--worker-probes-port", str(ports["worker"])),
        "totals": ("--totals-probes-port", str(ports["totals"])),
        "dashboard": ("--dashboard-port", "0", "--dashboard-probes-port", str(ports["dashboard"])),
    }
    for role in ROLES:
        process = Process((role, *arguments[role]), environ(role), folder / f"{role}.log")
        system.processes[role] = process
    probes = {role: f"http://127.0.0.1:{port}" for role, port in ports.items()}
    return Roles(system, System(environ("tools"), folder), probes)


async def metrics(url: str) -> dict[str, tuple[str, frozenset[str], int]]:
    """What a process tells Prometheus: name → type, labels, number of series (of a histogram, of its counts)."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        text = await response.text()
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("tillstream_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            samples = [one for one in family.samples if one.name in (name, f"{name}_count")]
            labels = frozenset(label for one in samples for label in one.labels)
            found[name] = (family.type, labels, len(samples))
    return found
