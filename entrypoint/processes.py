"""Several entrypoint processes on one port.

The parent serves nothing: it reserves the port, starts the children, restarts one that dies, and passes a stop on.
Each child binds the port for itself (SO_REUSEPORT) and the system spreads connections over them. The children keep
their figures in files of prometheus_client's multiprocess mode, so that any of them shows the sum of all.
"""

import asyncio
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import structlog
from prometheus_client.multiprocess import mark_process_dead

from entrypoint.config import Bound, EntrypointConfig
from entrypoint.server import bind, check_access
from runtime import Backoff, Tasks
from streams.errors import ConfigurationError

log = structlog.get_logger()

#: What a child is: it serves with the configuration that it is given, to the end, and calls the second when it listens.
Child = Callable[[EntrypointConfig, Callable[[Bound], None]], None]

#: A child that lived so long counts as healthy: its next restart is quick again.
_HEALTHY_SECONDS = 60.0
#: What a child gets beyond its own two time limits before it is killed.
_MARGIN_SECONDS = 5.0
_BACKOFF = Backoff(base_s=0.5, cap_s=30.0)
#: Read by prometheus_client when it is imported, so it has to be in the environment of the children.
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


async def supervise(
    config: EntrypointConfig,
    child: Child,
    *,
    stop: asyncio.Event,
    broker_url: str,
    on_ready: Callable[[Bound], None] | None = None,
) -> None:
    """Run `config.processes` children until `stop` is set; return when all have stopped.

    Arguments:
        child: a function that can be pickled (of a module, or a `functools.partial` of one); it is called in a fresh
            process, as `child(config, on_ready)`, and has to call `serve` with both.
        broker_url: only looked at, to refuse the embedded broker.
        on_ready: called once, when all children listen.

    Raises ConfigurationError before anything is started.
    """
    if broker_url.startswith("sqlite:"):
        raise ConfigurationError("the embedded broker serves one process: more of them need TILLSTREAM_BROKER=amqp://…")
    # Bound but not listening, the parent's sockets get no connections; they keep the port ours between restarts.
    reserved = bind(replace(config, supervised=True))
    folder = Path(tempfile.mkdtemp(prefix="tillstream-metrics-"))
    try:
        check_access(config, reserved)
        bound = Bound(*reserved[0].getsockname()[:2])
        given = replace(config, port=bound.port, supervised=True, metrics_folder=folder)
        nursery = _Nursery(given, child, stop)
        async with Tasks(patience_s=2 * config.stop_timeout_seconds + 2 * _MARGIN_SECONDS) as tasks:
            with _environment(_METRICS_VARIABLE, str(folder)):
                keepers = [
                    tasks.start(f"child {number}", nursery.keep(number)) for number in range(1, config.processes + 1)
                ]
                ready = tasks.start("report when all listen", nursery.report(config.processes, bound, on_ready))
                await tasks.until(stop)
                ready.cancel()
                await asyncio.gather(*keepers)
    finally:
        for each in reserved:
            each.close()
        shutil.rmtree(folder, ignore_errors=True)


class _Nursery:
    """Keeps children alive."""

    def __init__(self, config: EntrypointConfig, child: Child, stop: asyncio.Event) -> None:
        self._config = config
        self._child = child
        self._stop = stop
        self._spawn = multiprocessing.get_context("spawn")
        self._listening: set[int] = set()
        self._changed = asyncio.Event()

    async def keep(self, number: int) -> None:
        """Run child `number`, again when it dies, until the stop; then stop it."""
        failures = 0
        while not self._stop.is_set():
            process, receiver = self._start()
            started = time.monotonic()
            log.debug("child started", child=number, pid=process.pid)
            try:
                died = await self._watch(number, process, receiver)
            except asyncio.CancelledError:
                await self._end(number, process)
                raise
            if not died:
                await self._end(number, process)
                return
            lived = time.monotonic() - started
            failures = 1 if lived > _HEALTHY_SECONDS else failures + 1
            delay = _BACKOFF.delay(failures, random.random())
            log.error(
                "child died, starting another",
                child=number,
                exit_code=process.exitcode,
                lived_s=round(lived, 1),
                delay_s=round(delay, 2),
            )
            self._clear(process)
            await _wait(self._stop, delay)

    async def report(self, children: int, bound: Bound, on_ready: Callable[[Bound], None] | None) -> None:
        """Call `on_ready` once all children listen."""
        while len(self._listening) < children:
            self._changed.clear()
            await self._changed.wait()
        log.info("all processes listen", processes=children, url=bound.url)
        if on_ready is not None:
            on_ready(bound)

    def _start(self) -> "tuple[SpawnProcess, Connection[object, object]]":
        receiver, sender = self._spawn.Pipe(duplex=False)
        process = self._spawn.Process(target=_run_child, args=(self._child, self._config, sender), daemon=False)
        process.start()
        sender.close()
        return process, receiver

    async def _watch(self, number: int, process: SpawnProcess, receiver: "Connection[object, object]") -> bool:
        """Wait until the child dies (True) or we are to stop (False); note when it says that it listens."""
        loop = asyncio.get_running_loop()
        dead = asyncio.Event()

        def said() -> None:  # that it listens; or it is gone, and this is the end of the pipe
            loop.remove_reader(receiver.fileno())
            try:
                receiver.recv()
            except (EOFError, OSError):
                return
            self._listening.add(number)
            self._changed.set()

        loop.add_reader(receiver.fileno(), said)
        loop.add_reader(process.sentinel, dead.set)
        waits = [asyncio.create_task(event.wait()) for event in (dead, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            loop.remove_reader(process.sentinel)
            loop.remove_reader(receiver.fileno())
            receiver.close()
            self._listening.discard(number)
        if dead.is_set():
            process.join()
        return dead.is_set() and not self._stop.is_set()

    async def _end(self, number: int, process: SpawnProcess) -> None:
        if process.is_alive():
            process.terminate()
        patience = 2 * self._config.stop_timeout_seconds + _MARGIN_SECONDS
        if not await _wait_for_end(process, patience):
            log.error("child does not stop, killing it", child=number, pid=process.pid)
            process.kill()
            await _wait_for_end(process, _MARGIN_SECONDS)
        self._clear(process)

    def _clear(self, process: SpawnProcess) -> None:
        """Take a dead child's gauges out of the sum; its counters stay in it."""
        mark_process_dead(process.pid, str(self._config.metrics_folder))  # type: ignore[no-untyped-call]


def _run_child(child: Child, config: EntrypointConfig, sender: "Connection[object, object]") -> None:
    """In the new process: leave the terminal's process group, whose Ctrl-C is for the parent to pass on."""
    os.setpgid(0, 0)

    def on_ready(bound: Bound) -> None:
        sender.send(bound.port)
        sender.close()

    child(config, on_ready)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _wait_for_end(process: SpawnProcess, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await _wait(ended, seconds)
    finally:
        loop.remove_reader(process.sentinel)
    if ended.is_set():
        process.join()
    return ended.is_set()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the processes started in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
