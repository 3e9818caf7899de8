"""A private FerretDB for tests: the MongoDB protocol on SQLite files, loopback only, meant to be killed.

Its binary is built once by `scripts/build-ferretdb` from `tests/servers/ferretdb` (a Go compiler is needed) and kept
in the cache; `TILLSTREAM_FERRETDB` names one that is there already. `TILLSTREAM_TEST_MONGO` names an existing server
that the tests use as well.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import free_port

#: Starting takes a tenth of a second; this is for a machine with both cores busy.
START_TIMEOUT_SECONDS = 30.0
#: A server that takes longer to stop is killed.
STOP_TIMEOUT_SECONDS = 10.0
#: Compiling takes half a minute on two cores; downloading its modules may take longer.
BUILD_TIMEOUT_SECONDS = 900.0
_BUILDER = Path(__file__).parents[2] / "scripts" / "build-ferretdb"


class FerretMissingError(Exception):
    """There is no FerretDB to be had here; the text says what was looked for."""


def ferretdb_binary() -> Path:
    """The server's binary, built if need be. Raises FerretMissingError."""
    named = os.environ.get("TILLSTREAM_FERRETDB")
    if named:
        if not os.access(named, os.X_OK):
            raise FerretMissingError(f"TILLSTREAM_FERRETDB names no program: {named}")
        return Path(named)
    try:
        built = subprocess.run([_BUILDER], capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as exc:
        raise FerretMissingError(f"scripts/build-ferretdb was not ready after {BUILD_TIMEOUT_SECONDS:.0f} s") from exc
    if built.returncode != 0:
        raise FerretMissingError(f"scripts/build-ferretdb failed: {built.stderr.strip()[-500:]}")
    return Path(built.stdout.strip())


def existing_mongo() -> str | None:
    """The URL of an existing MongoDB server that the tests may use, from `TILLSTREAM_TEST_MONGO`."""
    return os.environ.get("TILLSTREAM_TEST_MONGO") or None


def fresh_database(server_url: str) -> str:
    """The URL of a database that nothing is in yet, on the server of a URL."""
    return urlsplit(server_url)._replace(path=f"/test_{secrets.token_hex(6)}").geturl()


class FerretServer:
    """A FerretDB of our own, in a temporary folder. All methods block; call them in a thread from async tests.

    Arguments:
        within: where its folder is made; by default where temporary files are.

    Attributes:
        port: stays the same over stops and starts.
        url: without a database; see `database`.
    """

    def __init__(self, within: Path | None = None) -> None:
        self._binary = ferretdb_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="tillstream-ferretdb-", dir=within))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"

    def database(self) -> str:
        """The URL of a fresh database."""
        return fresh_database(self.url)

    def start(self) -> None:
        """Start it and wait until it listens. Raises RuntimeError with the end of its log."""
        log = self._folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [self._binary, "--guarded", "--port", str(self.port), "--data", str(self._folder / "data")],
                stdin=subprocess.PIPE,  # held open by us alone: however the tests end, the server ends with them
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C at the tests is not for the server
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"FerretDB did not start: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        """Stop it in order; what was written stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it; what was acknowledged stays."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
