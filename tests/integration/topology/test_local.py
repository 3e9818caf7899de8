import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fixtures import missing_server
from tests.servers.rabbit import Rabbit
from tests.support import free_port
from topology.cluster_home import provide_home
from topology.errors import ClusterError

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]

#: From the command to a running topology, with both cores busy.
START_S = 240.0
#: Killing the topology, then everything.
STOP_S = 60.0


class Local:
    """A `tillstream topology local` with a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        self.folder = folder
        self.port = free_port()
        command = ["topology", "local", "--open", "--folder", str(folder), "--storm-nimbus", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *command, *arguments],
            env={**os.environ, "TILLSTREAM_LOG_FORMAT": "text", "TILLSTREAM_DATA": str(folder / "data"), **environ},
            stderr=subprocess.PIPE,
        )
        self.said = b""

    def until_said(self, text: str, timeout_s: float = START_S) -> None:
        """Wait until it has logged something."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + timeout_s
        while text.encode() not in self.said:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert more, f"{text!r} was not said, but: {self.said.decode()}"
            self.said += more

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another `tillstream topology` command, pointed at it."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", "topology", *arguments],
            env={**os.environ, "TILLSTREAM_STORM_NIMBUS": f"127.0.0.1:{self.port}"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def left(self) -> list[str]:
        """Commands of processes that have to do with its folder, but for itself."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                where = str((each / "cwd").readlink())
            except OSError:
                continue
            if int(each.name) != self.process.pid and (str(self.folder) in command or str(self.folder) in where):
                found.append(command)
        return found

    def until_nothing_is_left(self, timeout_s: float = 15.0) -> None:
        """Wait until none of its processes is there."""
        deadline = time.monotonic() + timeout_s
        while left := self.left():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@pytest.fixture
def jars() -> None:
    """Storm's jars, or none of these tests."""
    try:
        provide_home(os.environ)
    except ClusterError as exc:
        missing_server(str(exc))


@pytest.fixture
def local(jars: None, tmp_path: Path, rabbit: Rabbit) -> Iterator[Local]:
    """The whole engine, at a broker of its own."""
    vhost = rabbit.vhost()
    store = f"sqlite:{tmp_path}/storm/data/store.db"
    running = Local(tmp_path / "storm", TILLSTREAM_BROKER=vhost, TILLSTREAM_STORE=store)
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()
    running.until_nothing_is_left()
    rabbit.drop_vhost(vhost)


@pytest.mark.rabbit
def test_the_engine_runs_on_this_machine_and_leaves_nothing(local: Local) -> None:
    """The other commands find it; a replacement takes its name; SIGTERM ends it in order, with all its processes."""
    local.until_said("the topology runs")
    status = local.command("status", "--json")
    assert status.returncode == 0, status.stderr
    found = json.loads(status.stdout)
    assert [each["name"] for each in found["components"]] == ["receipts", "ledger", "totals"]
    assert found["runs"] is True

    again = local.command("submit")
    assert again.returncode == 2
    assert again.stderr.startswith("error: a topology 'tillstream' is there already: kill it first, or --replace it")

    other = local.command(
        "submit", "--replace", "--replace-wait-s", "1", "--wait", "--timeout-s", "240", "--storm-bolts", "1"
    )
    assert other.returncode == 0, other.stderr
    assert other.stdout.splitlines()[-1] == "all of it runs"
    (line,) = json.loads(local.command("list", "--json").stdout)["topologies"]
    assert line["id"] != found["id"]

    local.process.send_signal(signal.SIGTERM)
    local.until_said("stopped", STOP_S)
    assert local.process.wait(STOP_S) == 0
    assert local.left() == []
    assert local.folder.is_dir()  # it was named, so its logs are kept


@pytest.mark.usefixtures("jars")
def test_an_empty_cluster_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """A kill -9 of the command itself takes the Java processes along."""
    running = Local(tmp_path / "storm", "--empty")
    try:
        running.until_said("the cluster is up")
        assert len(running.left()) == 3
        assert running.command("list").stdout == "no topology; supervisors: 1; slots: 0 of 2 used\n"
        missing = running.command("kill", "--name", "nothing")
        assert (missing.returncode, missing.stderr) == (
            2,
            f"error: no topology 'nothing' runs at 127.0.0.1:{running.port}\n",
        )
    finally:
        running.process.kill()
        running.process.communicate()
    running.until_nothing_is_left()


@pytest.mark.usefixtures("jars")
def test_a_stop_while_the_cluster_starts_leaves_nothing(tmp_path: Path) -> None:
    """Whoever changes their mind need not wait until it is up."""
    running = Local(tmp_path / "storm", "--empty")
    running.until_said("starting ZooKeeper")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(STOP_S) == 0
    running.process.communicate()
    assert running.left() == []
