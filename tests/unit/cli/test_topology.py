import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import topology_text
from cli.main import main
from topology.status import (
    ClusterStatus,
    ComponentStatus,
    SupervisorLine,
    TopologyLine,
    TopologyStatus,
)

LINE = TopologyLine(name="tillstream", id="tillstream-1-9", status="ACTIVE", uptime_s=75, workers=1, executors=5)
CLUSTER = ClusterStatus(topologies=(LINE,), supervisors=(SupervisorLine(host="h", uptime_s=9, slots=4, used=1),))


def _component(name: str, kind: str, **changed: Any) -> ComponentStatus:
    fields: dict[str, Any] = {"executors": 2, "running": 2, "emitted": 0, "acked": 1234567, "failed": 0}
    fields |= {"latency_ms": None, "error": None, "error_age_s": None}
    return ComponentStatus(name=name, kind=kind, **fields | changed)


def _topology(*components: ComponentStatus, running: int = 5) -> TopologyStatus:
    return TopologyStatus(
        **{name: getattr(LINE, name) for name in ("name", "id", "status", "uptime_s", "workers", "executors")},
        running=running,
        components=components,
    )


def _run(*arguments: str, environ: dict[str, str] | None = None) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["topology", *arguments], environ or {})
    return int(ended.value.code or 0)


@pytest.fixture
def nobody() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port where something listens that is no Nimbus: it says something else, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            try:
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except OSError:
                return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("command", [["list"], ["status"], ["kill"], ["submit"]])
def test_no_nimbus_is_said_in_one_line(command: list[str], nobody: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With its address, and what the system said."""
    assert _run(*command, "--storm-nimbus", f"127.0.0.1:{nobody}") == 2
    assert capsys.readouterr().err == f"error: no Nimbus answers at 127.0.0.1:{nobody}: Connection refused\n"


def test_a_server_that_is_no_nimbus_is_said_in_one_line(stranger: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it answers."""
    assert _run("list", environ={"TILLSTREAM_STORM_NIMBUS": f"127.0.0.1:{stranger}"}) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: no Nimbus answers at 127.0.0.1:{stranger}: ")
    assert said.count("\n") == 1


def test_a_jar_is_written_without_any_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is told to; how large it is is said."""
    assert _run("jar", "--output", str(tmp_path / "t.jar")) == 0
    with zipfile.ZipFile(tmp_path / "t.jar") as jar:
        assert "resources/cli/storm.py" in jar.namelist()
    assert capsys.readouterr().out.startswith(f"{tmp_path / 't.jar'}: ")
    assert _run("jar", "--output", str(tmp_path / "none" / "t.jar")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_cluster_of_ones_own_refuses_the_embedded_broker(capsys: pytest.CaptureFixture[str]) -> None:
    """Components are several processes, and it serves one."""
    assert _run("local", "--open") == 2
    assert "needs a broker that processes can share" in capsys.readouterr().err


def test_a_cluster_that_anybody_reaches_wants_to_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Storm cannot be told to listen on loopback only, so nothing starts by itself."""
    assert _run("local", "--empty") == 2
    assert "listens on all addresses" in capsys.readouterr().err


def test_without_java_nothing_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is missing."""
    assert _run("local", "--open", "--empty", environ={"PATH": str(tmp_path)}) == 2
    assert "error: Storm needs Java 17 or later: no java is on PATH" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The jar can be made without it, nothing can be submitted."""
    import cli.commands.topology

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(cli.commands.topology, "import_module", missing)
    for command in (["list"], ["submit"], ["local", "--open", "--empty"]):
        assert _run(*command) == 2
        assert "(streamparse is missing): pip install 'tillstream[storm]'" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1", "h:0", "h:70000", ":6627", "::1:6627", "h:x"])
def test_an_address_that_is_none_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    assert _run("list", "--storm-nimbus", address) == 2
    assert "expected host:port such as 127.0.0.1:6627" in capsys.readouterr().err


def test_the_page_of_a_cluster_lists_topologies_and_room() -> None:
    """An empty one says so."""
    assert topology_text.cluster_page(CLUSTER).splitlines() == [
        "topology    status    for  workers  executors  id",
        "tillstream  ACTIVE  1 min        1          5  tillstream-1-9",
        "",
        "supervisors: 1; slots: 1 of 4 used",
    ]
    empty = ClusterStatus(topologies=(), supervisors=())
    assert topology_text.cluster_page(empty) == "no topology; supervisors: 0; slots: 0 of 0 used"


def test_the_page_of_a_topology_has_its_components_and_their_last_errors() -> None:
    """Text of an error can do nothing to the terminal."""
    page = topology_text.status_page(
        _topology(
            _component("receipts", "spout", latency_ms=12.345),
            _component("ledger", "bolt", running=1, error="gone \x1b[2J away", error_age_s=4000),
            running=4,
        )
    )
    assert page.splitlines() == [
        "tillstream is ACTIVE for 1 min; workers: 1; executors: 4 of 5 run; id: tillstream-1-9",
        "",
        "component  kind   running  emitted      acked  failed    ms",
        "receipts   spout      2/2        0  1,234,567       0  12.3",
        "ledger     bolt       1/2        0  1,234,567       0     -",
        "",
        "ledger, 1 h 6 min ago: gone \\x1b[2J away",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_durations_are_said_as_people_say_them(seconds: int, said: str) -> None:
    """Two units at most."""
    assert topology_text.duration(seconds) == said


def test_status_ends_with_1_unless_all_of_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For scripts that wait for it; as JSON, too."""
    found = [_topology(_component("receipts", "spout")), _topology(_component("receipts", "spout"), running=4)]
    monkeypatch.setattr("topology.nimbus.Nimbus.status", lambda self, name: found[0 if name == "good" else 1])
    assert _run("status", "--name", "good", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] is True
    assert told["components"][0]["acked"] == 1234567
    assert _run("status", "--name", "bad") == 1
