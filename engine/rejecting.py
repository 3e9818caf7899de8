"""Keeping what cannot be counted: single events, and whole frames that the store refuses for good (`poison`).

The collection `rejected` is the truth, the announcement on the exchange of that name is not.
"""

from collections.abc import Sequence

import structlog

from broker.exchanges import REJECTED
from broker.frames import Frame
from broker.protocol import Message
from engine.announcing import Announcer, announce
from engine.prepare import rejected
from store.protocol import Rejected, RejectedStep, Store

log = structlog.get_logger()

#: A store's reason is kept up to this length, characters: some drivers repeat the whole document in it.
_MOST_DETAIL = 500


async def keep_rejected(store: Store, broker: Announcer, items: Sequence[Rejected]) -> None:
    """Keep items, then announce them. When it returns they are durable. Raises StoreError."""
    await store.reject(items)
    for item in items:
        message = Message(
            exchange=REJECTED.name,
            routing_key=f"{item.stream}.{item.reason}",
            body=item.body,
            headers={"reason": item.detail, "first_seen": f"{item.first_seen:.3f}", "source": item.source},
            message_id=item.id,
        )
        await announce(broker, message)


async def put_aside(store: Store, broker: Announcer, frame: Frame, *, why: str, redelivered: bool, now: float) -> None:
    """Keep a frame whole, as `poison`: the store refuses for good what a flush of it writes.

    Events of it that are stored already stay claimed by this frame. They count when it is replayed, whole and under
    the same id, to a release or a store that takes it. When this returns, the frame may be acknowledged.

    Arguments:
        why: the store's reason.
        redelivered: whether this very message was delivered before; if not, a known frame was published again.
        now: epoch seconds.
    Raises StoreError: it is not kept, and must not be acknowledged.
    """
    # Text that cannot be encoded may be the very reason.
    said = why.encode("utf-8", "backslashreplace").decode()[:_MOST_DETAIL]
    detail = f"a frame of {frame.events} lines that the store refuses for good: {said}"
    item = rejected(frame.stream, "poison", detail, source=frame.id, body=frame.body, first_seen=now)
    before = await store.rejected_item(frame.stream, item.id)
    await keep_rejected(store, broker, [item])
    if before is not None and (before.status == "replayed" or not redelivered):
        # Replayed, and refused again. The store cannot note that by itself: it comes out of the same frame.
        step = RejectedStep(item=item.id, stream=item.stream, what="again", at=now, frame=frame.id)
        await store.note([step])
    log.error("frame put aside as poison: the store refuses it for good", frame=frame.id, item=item.id, reason=said)
