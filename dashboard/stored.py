"""The store, for pages: asked on the loop that its connection belongs to, awaited on the pages' own loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from store.errors import StoreError, StoreUnavailableError
from store.protocol import Store
from streams.base import Stream

Result = TypeVar("Result")

#: A store that takes longer than this to answer a page is not there.
TIMEOUT_SECONDS = 30.0


class Stored:
    """What pages may ask of the store; reading only.

    Arguments:
        loop: the loop that `store` was opened on; by default the running one.
    """

    def __init__(self, store: Store, stream: Stream, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.stream = stream
        self._store = store
        self._loop = loop or asyncio.get_running_loop()

    async def ask(self, question: Callable[[Store], Coroutine[Any, Any, Result]]) -> Result:
        """Ask the store something: `await stored.ask(lambda store: store.event(name, id))`.

        The question runs on the store's loop; this is awaited on any. Raises StoreError, also when there is no answer
        in time; cancelling it cancels the question.
        """
        asking = question(self._store)
        try:
            asked = asyncio.run_coroutine_threadsafe(asking, self._loop)
        except RuntimeError:  # the loop is closed
            asking.close()
            raise StoreUnavailableError("the store is closed, as this process is about to end") from None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            raise StoreUnavailableError(f"no answer from the store within {TIMEOUT_SECONDS:g} s") from None


__all__ = ["TIMEOUT_SECONDS", "StoreError", "Stored"]
