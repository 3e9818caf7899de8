"""Signals and background tasks, in this process and in one of their own."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import Tasks, run, stop_event
from streams.errors import TillstreamError

ROOT = Path(__file__).parents[3]


@contextmanager
def child(source: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs some source and has said `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", line + (process.communicate()[1])
        yield process
    finally:
        process.kill()
        process.communicate()


HANGS_WHILE_STOPPING = """
    import asyncio
    from runtime import configure_logging, run, stop_event

    configure_logging()

    async def main():
        with stop_event() as stop:
            print("ready", flush=True)
            await stop.wait()
            print("stopping", flush=True)
            {after}

    run(main())
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_process_to_stop_and_it_ends_well(number: signal.Signals) -> None:
    """SIGTERM and SIGINT let the main coroutine finish: exit code 0."""
    with child(HANGS_WHILE_STOPPING.format(after="pass")) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert output == "stopping\nstopped\n", errors
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_kills_a_process_that_hangs_while_stopping(number: signal.Signals) -> None:
    """Once stopping, signals have their usual effect again."""
    with child(HANGS_WHILE_STOPPING.format(after="await asyncio.sleep(60)")) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == -number


def test_a_background_job_of_a_shell_does_not_stop_at_ctrl_c() -> None:
    """SIGINT that is ignored at the start stays ignored; SIGTERM still stops the process."""
    ignoring = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    with child(ignoring + textwrap.dedent(HANGS_WHILE_STOPPING).format(after="pass")) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert output == "stopping\nstopped\n", errors
    assert "SIGTERM" in errors
    assert "SIGINT" not in errors
    assert process.returncode == 0


def test_handlers_are_as_before_when_the_event_is_let_go() -> None:
    """Whoever held the signals before holds them again."""

    async def main() -> bool:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with stop_event() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(), 30)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        return True

    assert run(main())


async def test_a_failed_background_task_ends_the_wait_with_its_error() -> None:
    """`until` raises what the task raised, and says which task it was."""

    async def fail() -> None:
        raise TillstreamError("the ledger is gone")

    with pytest.raises(TillstreamError, match="the ledger is gone") as caught:
        async with Tasks() as tasks:
            tasks.start("sync ledger", fail())
            await asyncio.wait_for(tasks.until(asyncio.Event()), 30)
    assert caught.value.__notes__ == ["in the background task 'sync ledger'"]


async def test_a_failure_that_nobody_waits_for_is_raised_at_the_end_of_the_block() -> None:
    """No failure of a background task passes in silence."""

    async def fail() -> None:
        raise RuntimeError("unseen")

    with pytest.raises(RuntimeError, match="unseen"):
        async with Tasks() as tasks:
            tasks.start("unwatched", fail())
            await asyncio.wait_for(tasks.failed.wait(), 30)


async def test_a_failure_during_cleanup_is_raised_too() -> None:
    """A task that fails because it is cancelled is not forgotten."""

    async def fail_late(started: asyncio.Event) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("could not clean up")

    with pytest.raises(RuntimeError, match="could not clean up"):
        async with Tasks() as tasks:
            started = asyncio.Event()
            tasks.start("messy", fail_late(started))
            await asyncio.wait_for(started.wait(), 30)


async def test_the_blocks_own_error_goes_before_a_tasks() -> None:
    """What went wrong first is what is told."""

    async def fail() -> None:
        raise RuntimeError("second")

    with pytest.raises(ValueError, match="first"):
        async with Tasks() as tasks:
            tasks.start("fails", fail())
            await asyncio.wait_for(tasks.failed.wait(), 30)
            raise ValueError("first")


async def test_stop_returns_quietly_and_tasks_are_cancelled_the_last_started_first() -> None:
    """Leaving the block ends tasks in the reverse order of their start."""
    ended: list[str] = []

    async def until_cancelled(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    stop = asyncio.Event()
    async with Tasks() as tasks:
        for name in ("connection", "consumer", "watchdog"):
            tasks.start(name, until_cancelled(name))
        asyncio.get_running_loop().call_soon(stop.set)
        await asyncio.wait_for(tasks.until(stop), 30)
        assert ended == []
    assert ended == ["watchdog", "consumer", "connection"]


async def test_a_task_may_end_by_itself() -> None:
    """An end without an error is no failure."""

    async def finish() -> None:
        return

    stop = asyncio.Event()
    async with Tasks() as tasks:
        await tasks.start("short", finish())
        stop.set()
        await asyncio.wait_for(tasks.until(stop), 30)
    assert not tasks.failed.is_set()


async def test_a_task_that_ignores_cancellation_is_left_behind() -> None:
    """Stopping is bounded, whatever a task does."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(30):
        async with Tasks(patience_s=0.05) as tasks:
            task = tasks.start("stubborn", stubborn())
            await asyncio.sleep(0)
    assert not task.done()
    release.set()
    await task
