"""Events whose frame is none of those that an audit compares: newer, being counted, or never counted."""

import asyncio
from collections.abc import Awaitable, Callable

from analytics.tally import Tally
from engine.audit_snapshot import Snapshot
from store.protocol import LedgerEntry, Store

#: Events that wait to have their frames looked up.
_WAITING = 2_000
#: Look-ups side by side.
_LOOK_UPS = 25
#: Frames without an entry that are remembered; events of others are only counted.
MAX_OPEN = 10_000


class LooseEvents:
    """Looks up the ledger entries of frames, some at a time.

    Arguments:
        found: is told of the tally of events whose frame turns out to be one that is compared.

    Attributes:
        open: frame without an entry → events that it owns.
        others: events of further frames without an entry.
    """

    def __init__(self, store: Store, stream: str, snapshot: Snapshot, found: Callable[[Tally], None]) -> None:
        self._store = store
        self._stream = stream
        self._snapshot = snapshot
        self._found = found
        self._waiting: dict[str, tuple[int, Tally]] = {}
        self._events = 0
        self.open: dict[str, int] = {}
        self.others = 0

    async def add(self, frame: str, tally: Tally) -> None:
        """Take an event, as its tally. Raises StoreError."""
        count, sum_ = self._waiting.get(frame, (0, Tally()))
        sum_.merge(tally)
        self._waiting[frame] = (count + 1, sum_)
        self._events += 1
        if self._events >= _WAITING:
            await self.look_up()

    async def look_up(self) -> None:
        """Find out about all that wait. Raises StoreError."""
        waiting, self._waiting, self._events = self._waiting, {}, 0
        for frame, entry in zip(waiting, await self._entries(list(waiting)), strict=True):
            count, tally = waiting[frame]
            if entry is not None:
                if self._snapshot.compares(entry):
                    self._found(tally)
            elif frame in self.open or len(self.open) < MAX_OPEN:
                self.open[frame] = self.open.get(frame, 0) + count
            else:
                self.others += count

    async def wait(self, patience_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Let frames that were in the middle of their flush finish. Raises StoreError."""
        pause_s = 0.1
        while self.open and patience_s > 0:
            frames = list(self.open)
            for frame, entry in zip(frames, await self._entries(frames), strict=True):
                if entry is not None:
                    del self.open[frame]
            if self.open:
                await sleep(pause_s)
                patience_s -= pause_s

    async def _entries(self, frames: list[str]) -> list[LedgerEntry | None]:
        found: list[LedgerEntry | None] = []
        for start in range(0, len(frames), _LOOK_UPS):
            some = frames[start : start + _LOOK_UPS]
            found += await asyncio.gather(*(self._store.entry(self._stream, frame) for frame in some))
        return found
