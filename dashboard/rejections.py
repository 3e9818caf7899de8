"""What was rejected, as the page of the system shows it: how many for which reason, and the newest."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.reading import Reading
from dashboard.stored import Stored
from store.protocol import RejectedQuery, RejectedSummary, Store

#: Read again so often while somebody looks.
EVERY_SECONDS = 10.0
#: The newest that are shown.
NEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejections:
    """What the store keeps.

    Attributes:
        counts: reason → how many are still to be dealt with.
        newest: newest first, whatever was done about them.
    """

    counts: Mapping[str, int]
    newest: tuple[RejectedSummary, ...]


def rejections(stored: Stored) -> Reading[Rejections]:
    """The reading of what was rejected: one for all sessions."""
    name = stored.stream.name

    async def ask(store: Store) -> Rejections:
        counts, newest = await asyncio.gather(
            store.rejected_count(name, "open"), store.rejected(name, RejectedQuery(limit=NEWEST))
        )
        return Rejections(counts=counts, newest=tuple(newest))

    async def read() -> Rejections:
        return await stored.ask(ask)

    return Reading("what was rejected", read, every_seconds=EVERY_SECONDS)
