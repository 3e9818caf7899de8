import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from topology.cluster_processes import Processes

#: Starts a child that ignores what ends others, writes its pid, and waits.
PARENT = """\
sh -c 'trap "" TERM HUP INT; echo $$ > child; while :; do sleep 0.1; done' &
wait
"""
#: Starts it as a process of a cluster, and waits to be killed.
OWNER = """\
import os, sys, time
from pathlib import Path
from topology.cluster_processes import Processes
folder = Path(sys.argv[1])
processes = Processes(folder)
processes.start("parent", ["sh", sys.argv[2]], environ=os.environ, cwd=folder, output=folder / "out")
time.sleep(60)
"""


def _until(check: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _child(folder: Path) -> int:
    file = folder / "child"
    _until(lambda: file.is_file() and file.read_text().strip())
    return int(file.read_text())


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A script that starts a stubborn child."""
    script = tmp_path / "parent"
    script.write_text(PARENT)
    return script


def test_ending_reaches_what_processes_have_started(tmp_path: Path, parent: Path) -> None:
    """Also when they are gone themselves, and what they started ignores every polite signal."""
    processes = Processes(None)
    processes.start("parent", ["sh", str(parent)], environ=os.environ, cwd=tmp_path, output=tmp_path / "out")
    child = _child(tmp_path)
    processes.kill("parent")
    assert not processes.runs("parent")
    assert _lives(child)
    assert processes.end()
    assert not _lives(child)


def test_an_owner_that_is_killed_leaves_nothing(tmp_path: Path, parent: Path) -> None:
    """The guard ends the processes and removes the folder."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), str(parent)])
    try:
        child = _child(folder)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait(30)
    _until(lambda: not _lives(child))
    _until(lambda: not folder.exists())


def test_what_ended_by_itself_is_told(tmp_path: Path) -> None:
    """With its name and code; its output is in the file."""
    processes = Processes(None)
    try:
        assert processes.ended() is None
        command = ["sh", "-c", "echo broken; exit 3"]
        processes.start("it", command, environ=os.environ, cwd=tmp_path, output=tmp_path / "out")
        _until(processes.ended)
        assert processes.ended() == ("it", 3)
        assert (tmp_path / "out").read_text() == "broken\n"
    finally:
        assert processes.end()


def test_a_process_that_does_not_stop_is_killed_in_time(tmp_path: Path) -> None:
    """Asked first, killed after the time that it was given; another of its name may then start."""
    processes = Processes(None)
    try:
        command = ["sh", "-c", 'trap "" TERM; echo; while :; do sleep 0.05; done']
        processes.start("it", command, environ=os.environ, cwd=tmp_path, output=tmp_path / "out")
        _until((tmp_path / "out").read_text)
        with pytest.raises(ValueError, match="runs already"):
            processes.start("it", command, environ=os.environ, cwd=tmp_path, output=tmp_path / "out")
        processes.terminate("it", 0.1)
        assert not processes.runs("it")
        processes.start("it", ["true"], environ=os.environ, cwd=tmp_path, output=tmp_path / "out")
    finally:
        assert processes.end()
