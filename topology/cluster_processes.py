"""Processes that end whatever happens: each is the head of a process group, and all it starts is in that group.

A Supervisor's worker JVMs outlive it, by design, and their Python components may outlive them. None of them leaves the
Supervisor's process group, so a signal to the group reaches what nobody else remembers. Should this very process be
killed, a small shell notices that its pipe has ended, and kills the groups in our place.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

#: Each line that it reads is the list of all groups, as negative numbers; an empty one means: nothing is left to do.
_GUARD = """\
groups=
while read -r line; do groups=$line; done
if [ -n "$groups" ]; then kill -s KILL -- $groups; [ -z "$1" ] || rm -rf "$1"; fi
"""
#: How long killed processes may take to be gone: they have only to be reaped.
_REAPED_S = 5.0
_POLL_S = 0.05


class Processes:
    """The processes of one cluster.

    Arguments:
        folder: removed by the guard should this process be killed; None: nothing is.
    """

    def __init__(self, folder: Path | None) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        self._guard = subprocess.Popen(  # noqa: S603  # a script of ours
            [shutil.which("sh") or "/bin/sh", "-c", _GUARD, "guard", str(folder or "")],
            stdin=subprocess.PIPE,  # held open by us alone: its end is what the shell waits for
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, name: str, command: Sequence[str], *, environ: Mapping[str, str], cwd: Path, output: Path) -> None:
        """Start a process in a group of its own, its output appended to a file.

        Raises OSError if the command is not there, ValueError if a process of this name runs.
        """
        if self.runs(name):
            raise ValueError(f"{name} runs already")
        with output.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603  # what the cluster is made of
                command,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, who then end them in order
            )
        self._processes[name] = process
        self._groups.append(process.pid)
        self._tell_guard()

    def pid(self, name: str) -> int:
        """The process id. Raises KeyError for a name that was never started."""
        return self._processes[name].pid

    def runs(self, name: str) -> bool:
        """Whether the process was started and has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def ended(self) -> tuple[str, int] | None:
        """Name and exit code of a process that has ended, None as long as all run."""
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                return name, code
        return None

    def kill(self, name: str) -> None:
        """kill -9 the process itself; what it started goes on."""
        process = self._processes[name]
        process.kill()
        process.wait()

    def terminate(self, name: str, timeout_s: float) -> None:
        """Ask the process to end, wait, and kill it after `timeout_s`; what it started goes on."""
        process = self._processes.get(name)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill(name)

    def end(self) -> bool:
        """Kill all that is left of all groups. Returns whether everything is gone."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        deadline = time.monotonic() + _REAPED_S
        while self._left() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        gone = not self._left()
        self._groups.clear()
        self._dismiss_guard()
        return gone

    def groups(self) -> tuple[int, ...]:
        """The process groups, also of processes that have ended: what they started may go on."""
        return tuple(self._groups)

    def _left(self) -> bool:
        for group in self._groups:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                continue
            return True
        return False

    def _tell_guard(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.write(b" ".join(b"-%d" % group for group in self._groups) + b"\n")
            self._guard.stdin.flush()

    def _dismiss_guard(self) -> None:
        self._tell_guard()
        self._guard.communicate()
