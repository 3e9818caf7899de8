"""The servers that a benchmark needs: the test suite's, and our own processes beside them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ferret import FerretServer
from tests.servers.rabbit import open_rabbit
from tests.support import free_port

ROOT = Path(__file__).parents[1]


@contextmanager
def rabbit_vhost() -> Iterator[str]:
    """The amqp URL of a fresh vhost on a RabbitMQ of ours (or the one that TILLSTREAM_TEST_RABBIT names)."""
    server = open_rabbit()
    try:
        yield server.vhost()
    finally:
        server.close()


@contextmanager
def mongo_database() -> Iterator[str]:
    """The URL of a fresh database on a FerretDB of ours."""
    server = FerretServer()
    server.start()
    try:
        yield server.database()
    finally:
        server.close()


@contextmanager
def process(*arguments: str, environ: dict[str, str] | None = None, ready: str = "ready") -> Iterator[int]:
    """Run `python -m …` until the block ends; wait until it prints a line with `ready`. Gives its process id."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    child = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**clean, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    try:
        said = []
        for line in child.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            raise RuntimeError(f"{' '.join(arguments)} ended: {''.join(said)[-2000:]}")
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


@contextmanager
def entrypoint(broker: str, store: str, **settings: str) -> Iterator[tuple[str, int]]:
    """Our entrypoint: URL and process id."""
    port = free_port()
    environ = {
        "TILLSTREAM_BROKER": broker,
        "TILLSTREAM_STORE": store,
        "TILLSTREAM_LOG_LEVEL": "info",
        **{f"TILLSTREAM_{name}": value for name, value in settings.items()},
    }
    with process("cli.main", "entrypoint", "--port", str(port), environ=environ, ready="receipts go to") as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def bare() -> Iterator[str]:
    """The bare aiohttp server: its URL."""
    port = free_port()
    with process("bench.bare", str(port)):
        yield f"http://127.0.0.1:{port}"
