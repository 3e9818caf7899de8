"""Whether an event says the same as the stored one of its identity, also where another release stored that.

Content hashes of different versions say nothing about each other. Then the stored event itself is read, and hashed
anew: taken for other contents, a frame's own events would be in conflict with themselves when another release finishes
what one began.
"""

import asyncio
from collections.abc import Mapping

from store.errors import StoreError
from store.protocol import Owner, Store
from streams.base import Event, Stream
from streams.errors import InvalidEventError

#: Stored events read side by side.
_LOOK_UPS = 25


def comparable(one: str, other: str) -> bool:
    """Whether two content hashes are of the same version."""
    return one.partition(":")[0] == other.partition(":")[0]


async def owners_now(
    store: Store, stream: Stream, owners: Mapping[str, Owner], events: Mapping[str, Event]
) -> dict[str, Owner]:
    """Owners with hashes of the version that the events have.

    Arguments:
        owners: by identity.
        events: by identity, an event of each.

    A stored event that this release cannot read keeps its hash, and so is another content.
    Raises StoreError.
    """
    now = dict(owners)
    old = [id for id, owner in owners.items() if not comparable(owner.hash, events[id].hash)]
    for start in range(0, len(old), _LOOK_UPS):
        chunk = old[start : start + _LOOK_UPS]
        hashes = await asyncio.gather(*(_hash_now(store, stream, id) for id in chunk))
        now.update({id: Owner(now[id].frame, found or now[id].hash) for id, found in zip(chunk, hashes, strict=True)})
    return now


async def _hash_now(store: Store, stream: Stream, id: str) -> str | None:
    stored = await store.event(stream.name, id)
    if stored is None:
        raise StoreError(f"an identity has an owner and no event: {id}")
    try:
        return stream.parse(stored.body).hash
    except InvalidEventError:
        return None
