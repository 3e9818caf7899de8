"""Asking the store from another loop than its own."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

import dashboard.stored
from dashboard.stored import Stored
from store.errors import StoreDataError, StoreUnavailableError
from store.protocol import Store
from streams import ReceiptStream
from tests.support import eventually


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as the store's is to the pages."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def stored(loop: asyncio.AbstractEventLoop) -> Stored:
    """Questions run on this loop; what they are asked of does not matter here."""
    return Stored(cast("Store", "the store"), ReceiptStream(ZoneInfo("UTC")), loop=loop)


async def test_a_question_runs_where_the_store_lives(loop: asyncio.AbstractEventLoop) -> None:
    """The answer comes back to whoever asked, on another loop."""

    async def question(store: Store) -> tuple[Any, bool]:
        return store, asyncio.get_running_loop() is loop

    assert await stored(loop).ask(question) == ("the store", True)


async def test_an_error_comes_back_as_it_is(loop: asyncio.AbstractEventLoop) -> None:
    """What the store raises the page can catch."""

    async def question(store: Store) -> None:
        raise StoreDataError("odd")

    with pytest.raises(StoreDataError, match="odd"):
        await stored(loop).ask(question)


async def test_a_question_without_an_answer_ends(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit it is an error, and the question itself is cancelled; so it is when the page gives up."""
    monkeypatch.setattr(dashboard.stored, "TIMEOUT_SECONDS", 0.05)
    cancelled = []

    async def question(store: Store) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(store)
            raise

    with pytest.raises(StoreUnavailableError, match=r"no answer from the store within 0\.05 s"):
        await stored(loop).ask(question)
    await eventually(lambda: len(cancelled) == 1)
    monkeypatch.setattr(dashboard.stored, "TIMEOUT_SECONDS", 30.0)
    asking = asyncio.create_task(stored(loop).ask(question))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: len(cancelled) == 2)


@pytest.mark.filterwarnings("error")
async def test_a_store_whose_loop_is_gone_is_unavailable() -> None:
    """At the end of the process a late page gets an error that it can show, and no question is left lying about."""
    loop = asyncio.new_event_loop()
    loop.close()

    async def question(store: Store) -> None:
        raise AssertionError("nobody answers")

    with pytest.raises(StoreUnavailableError, match="about to end"):
        await stored(loop).ask(question)
