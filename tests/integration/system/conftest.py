"""Systems to test: the embedded default, and the asyncio engine on RabbitMQ and FerretDB."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.system.harness import System

MakeSystem = Callable[..., System]


@pytest.fixture(params=["embedded", pytest.param("servers", marks=[pytest.mark.rabbit, pytest.mark.mongo])])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    """A system that is not started yet, of both kinds."""
    name = "embedded_system" if request.param == "embedded" else "server_system"
    made: System = request.getfixturevalue(name)
    return made


@pytest.fixture
def embedded_system(tmp_path: Path) -> System:
    """`tillstream up` on files."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data"), "TILLSTREAM_CHECKPOINT_S": "0.5"}, tmp_path)
    system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    return system


@pytest.fixture
def server_system(tmp_path: Path, request: pytest.FixtureRequest) -> System:
    """An entrypoint, two workers and the totals, on servers."""
    environ = {
        "TILLSTREAM_BROKER": request.getfixturevalue("rabbit").vhost(),
        "TILLSTREAM_STORE": request.getfixturevalue("ferret").database(),
        "TILLSTREAM_WORKER_PROBES_PORT": "0",
        "TILLSTREAM_TOTALS_PROBES_PORT": "0",
        "TILLSTREAM_CHECKPOINT_S": "0.5",
    }
    system = System(environ, tmp_path)
    system.add("entrypoint", "entrypoint", "--port", str(system.port))
    system.add("worker-1", "worker")
    system.add("worker-2", "worker")
    system.add("totals", "totals")
    return system
