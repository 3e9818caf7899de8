"""Processes of ours on the stage: started, killed, frozen, stopped, and started again when they end by themselves."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.servers import ROOT

#: A process that was asked to stop and is still there after this has failed to.
STOP_WITHIN_SECONDS = 60.0
_RESTART_SECONDS = 1.0


@dataclass(slots=True)
class Part:
    """One `tillstream` process, as a supervisor keeps it.

    Attributes:
        name: on the stage, such as `worker-1`.
        arguments: the command line after `tillstream`.
        environ: its `TILLSTREAM_*` variables.
        log: file that it logs to, in JSON.
        ended: exit codes of those that ended by themselves, and were started again.
        surprises: what it did that it is not to do.
    """

    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    log: Path
    ended: list[int] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    _child: subprocess.Popen[bytes] | None = None
    _wanted: bool = False

    def start(self) -> None:
        """Start it; what it needs may not be there yet."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *self.arguments],
                cwd=ROOT,
                env={**clean, **self.environ, "TILLSTREAM_LOG_FORMAT": "json"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wanted = True

    async def supervise(self) -> None:
        """Start it again whenever it ends by itself, until cancelled."""
        while True:
            await asyncio.sleep(_RESTART_SECONDS)
            if self._wanted and self._child is not None and (code := self._child.poll()) is not None:
                self.ended.append(code)
                self.start()

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self._wanted = False
        if self._child is not None:
            self._child.kill()
            await self._gone(STOP_WITHIN_SECONDS)

    async def stop(self) -> None:
        """Ask it to stop with SIGTERM; that it does, with 0, is part of what is tested."""
        self._wanted = False
        if self._child is None or self._child.poll() is not None:
            return
        began = time.monotonic()
        listens = _catches(signal.SIGTERM, self._child.pid)
        self._child.terminate()
        if not await self._gone(STOP_WITHIN_SECONDS):
            self.surprises.append(f"did not stop within {STOP_WITHIN_SECONDS:.0f} s")
            await self.kill()
        elif self._child.returncode == -signal.SIGTERM and not listens:
            pass  # Python had only begun to start it
        elif self._child.returncode:
            took = time.monotonic() - began
            self.surprises.append(f"ended with {self._child.returncode}, {took:.1f} s after it was asked to stop")

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; it stays connected."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, not knowing that time has passed."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(which)

    async def _gone(self, within: float) -> bool:
        assert self._child is not None
        deadline = time.monotonic() + within
        while self._child.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def discard(self) -> None:
        """End it, however."""
        self._wanted = False
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def complaints(self) -> Counter[str]:
        """What it logged as an error, and every traceback: how often."""
        found: Counter[str] = Counter()
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        for line in lines:
            said = None
            with contextlib.suppress(ValueError):
                said = json.loads(line)
            if not isinstance(said, dict):
                if line.startswith(b"Traceback"):
                    found["a traceback outside the log"] += 1
            elif said.get("level") in {"error", "critical"} or "exception" in said:
                found[f"{said.get('level')}: {said.get('event')}"] += 1
        return found


def _catches(which: signal.Signals, pid: int) -> bool:
    """Whether a process has a handler for a signal by now (`proc(5)`, SigCgt); where nobody says, it is taken to."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (which - 1) & 1)
