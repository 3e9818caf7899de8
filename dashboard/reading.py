"""Something that is read from the store now and then while somebody looks at it, once for all who look."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from streams.errors import TillstreamError

log = structlog.get_logger("tillstream.dashboard")

T = TypeVar("T")

#: Between the end of a reading and the next pass at least so many times what the reading took: 20 % of the time. With
#: more, one reading that a busy moment made slow, say by all pages of a server that has just begun, would stay long.
REST = 4
#: After a reading that failed the rest is no longer than this: what took so long was mostly waiting for no answer, and
#: people look at an error meanwhile. Seconds.
REST_AFTER_FAILURE = 10.0


def rest(took: float, *, failed: bool) -> float:
    """Seconds without reading, after a reading that took so many."""
    return min(REST * took, REST_AFTER_FAILURE) if failed else REST * took


class Reading(Generic[T]):
    """Reads when told that somebody looks and a reading is due; never keeps those who look waiting.

    A reading is due some time after the last one; or, when those who look know of news, as soon as reading has rested.

    Arguments:
        name: for the log.
        read: how it is read. What it raises of ours is kept as `error`, and it is tried again.
        every_seconds: from the end of a reading to the next, at least; longer if reading takes long, see REST.
        clock: monotonic seconds.

    Attributes:
        latest: what was read last; None before the first time. What was read stays while later readings fail.
        error: why the last reading failed; empty if it did not.
        took: seconds that the last reading took.

    Belongs to one loop.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[T]],
        *,
        every_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latest: T | None = None
        self.error = ""
        self.took = 0.0
        self._name = name
        self._read = read
        self._every = every_seconds
        self._clock = clock
        self._rested = self._due = clock()
        self._news: Hashable = None
        self._task: asyncio.Task[None] | None = None

    @property
    def reading(self) -> bool:
        """Whether it is being read right now."""
        return self._task is not None and not self._task.done()

    def look(self, news: Hashable = None) -> bool:
        """Begin to read if it is due; whether this call did.

        Arguments:
            news: what those who look know of it, say a number of events; another than before makes it due.
        """
        if self.reading or self._clock() < (self._due if news == self._news else self._rested):
            return False
        self._news = news
        self._task = asyncio.get_running_loop().create_task(self._reading(), name=f"dashboard reads {self._name}")
        return True

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=5)

    async def _reading(self) -> None:
        begun = self._clock()
        try:
            self.latest = await self._read()
            self.error = ""
        except TillstreamError as exc:
            self._fail(str(exc))
        except Exception:
            log.exception("a defect: this cannot be read", what=self._name)
            self._fail("the log of the dashboard says why")
        finally:
            ended = self._clock()
            self.took = ended - begun
            self._rested = ended + rest(self.took, failed=bool(self.error))
            self._due = max(self._rested, ended + self._every)

    def _fail(self, error: str) -> None:
        if error != self.error:  # said once, not every few seconds
            log.warning("a page cannot read the store, trying again", what=self._name, error=error)
        self.error = error
