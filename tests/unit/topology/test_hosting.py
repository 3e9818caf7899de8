import asyncio
import threading

import pytest
from pystorm.exceptions import StormWentAwayError

from runtime import Backoff
from streams.errors import ConfigurationError, TillstreamError
from topology.hosting import LoopThread, persistently

SOON = Backoff(base_s=0.001, cap_s=0.002)


def test_a_thread_that_ends_unasked_is_told() -> None:
    """With its error; one that was asked to end is not."""
    deaths: list[BaseException | None] = []
    told = threading.Event()

    def died(error: BaseException | None) -> None:
        deaths.append(error)
        told.set()

    async def failing(stop: asyncio.Event) -> None:
        raise ZeroDivisionError

    LoopThread("failing", failing, died).start()
    assert told.wait(30)
    assert isinstance(deaths[0], ZeroDivisionError)

    async def waiting(stop: asyncio.Event) -> None:
        await stop.wait()

    thread = LoopThread("waiting", waiting, died)
    thread.start()
    assert thread.stop(10)
    assert len(deaths) == 1
    with pytest.raises(RuntimeError):
        thread.call(print)


def test_a_thread_that_does_not_stop_is_left() -> None:
    """The wait for it is bounded."""
    go_on = threading.Event()

    async def stubborn(stop: asyncio.Event) -> None:
        await asyncio.to_thread(go_on.wait, 10)

    thread = LoopThread("stubborn", stubborn, lambda _: None)
    thread.start()
    assert not thread.stop(0.01)
    go_on.set()
    assert thread.stop(10)


@pytest.mark.parametrize("error", [TillstreamError("no broker"), ZeroDivisionError("a bug")])
async def test_work_that_fails_is_begun_again(error: Exception) -> None:
    """Whatever it failed of."""
    stop, begun = asyncio.Event(), 0

    async def work(_: asyncio.Event) -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            stop.set()
        raise error

    async with asyncio.timeout(30):
        await persistently("work", work, stop, SOON)
    assert begun == 3


@pytest.mark.parametrize("error", [ConfigurationError("no such broker"), StormWentAwayError()])
async def test_what_beginning_again_does_not_mend_is_raised(error: Exception) -> None:
    """The process ends then."""

    async def work(_: asyncio.Event) -> None:
        raise error

    with pytest.raises(type(error)):
        await persistently("work", work, asyncio.Event(), SOON)


async def test_a_pause_ends_when_the_process_does() -> None:
    """Nobody waits for the next attempt of what is to stop."""
    stop = asyncio.Event()

    async def work(_: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(0.01, stop.set)
        raise TillstreamError("no broker")

    async with asyncio.timeout(30):
        await persistently("work", work, stop, Backoff(base_s=1000, cap_s=1000))
