"""What was rejected, and what a person does about it: look, replay, discard.

Nothing that was rejected is ever deleted: what is done is noted beside it (`store.protocol.RejectedStep`). Not here:
dead letters, which are still in the broker's hands (`engine.dead_letters`).
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from broker.frames import Frame
from broker.protocol import Broker, Message
from engine.contents import owners_now
from store.protocol import Rejected, RejectedQuery, RejectedStep, RejectedSummary, Store
from streams.base import Stream
from streams.errors import InvalidEventError, TillstreamError

#: The reasons there are. `poison` is a frame that was delivered too often; it is in the store once it was discarded.
REASONS = ("undecodable", "invalid", "conflict", "poison")
#: Items read at once.
_PAGE = 500


class NotReplayedError(TillstreamError):
    """An item was not replayed; the text says why, and nothing was published."""


async def items(
    store: Store, stream: Stream, query: RejectedQuery, ids: Sequence[str] = ()
) -> AsyncIterator[RejectedSummary]:
    """Rejected items that meet a query, newest first, all of them: its `limit` and `after` are not looked at.

    They come without their bytes: these are read one item at a time, by whoever needs them.

    Arguments:
        ids: if any, only these; those that are not there, or do not meet the query, are left out.
    Raises StoreError.
    """
    for id in dict.fromkeys(ids):
        found = await store.rejected_item(stream.name, id)
        if found is not None and meets(found, query):
            yield found
    after = None
    while not ids:
        page = await store.rejected(stream.name, replace(query, limit=_PAGE, after=after))
        for item in page:
            yield item
        if not page.more:
            return
        after = page[-1].id


def meets(item: RejectedSummary, query: RejectedQuery) -> bool:
    """Whether an item meets the conditions of a query."""
    return (
        query.reason in (None, item.reason)
        and query.status in (None, item.status)
        and (query.since is None or query.since <= item.first_seen)
        and (query.before is None or item.first_seen < query.before)
    )


async def obstacle(store: Store, stream: Stream, item: Rejected) -> str | None:
    """Why an item would be rejected again if it were replayed now, as far as this release can tell; None if nothing
    is in the way. Raises StoreError."""
    if item.reason == "poison":
        counted = await store.entry(stream.name, item.source) is not None
        return "its frame was counted since: discard it" if counted else None
    try:
        event = stream.parse(item.body)
    except InvalidEventError as exc:
        return f"it can still not be read: {exc}"
    except Exception as exc:  # noqa: BLE001 - a defect of ours is one of the reasons for which lines are rejected
        return f"it can still not be read, by a defect of ours: {exc!r}"
    owners = await store.owners(stream.name, [event.id])
    owner = (await owners_now(store, stream, owners, {event.id: event})).get(event.id)
    if owner is not None and owner.hash != event.hash:
        return f"{event.id} is stored with other content, by frame {owner.frame}, and the first one wins"
    return None


async def replay(
    store: Store,
    broker: Broker,
    stream: Stream,
    summary: RejectedSummary,
    *,
    force: bool = False,
    clock: Callable[[], float] = time.time,
) -> RejectedStep:
    """Publish an item's bytes as a frame of its own, with confirm, then note it; the engine takes it from there.

    Doing it twice, or being killed in between, is safe: what is published twice is counted once. If the engine rejects
    it again, it is open again.

    Arguments:
        force: also what `obstacle` says will be rejected again.
    Raises:
        NotReplayedError: it is not there, discarded, replayed already, or would be rejected again.
        BrokerError, StoreError: it may have been published, and is not noted; do it again.
    """
    item = await store.rejected_item(stream.name, summary.id)
    if item is None:
        raise NotReplayedError("it is not in the store")
    if item.status == "discarded":
        raise NotReplayedError("it was discarded")
    if item.status == "replayed":
        raise NotReplayedError("it was replayed, and was not rejected again")
    if not force and (why := await obstacle(store, stream, item)) is not None:
        raise NotReplayedError(why)
    frame = await _frame_for(store, stream, item)
    await broker.publish(frame_message(stream, frame))
    step = RejectedStep(item=item.id, stream=stream.name, what="replayed", at=clock(), frame=frame.id)
    await store.note([step])
    return step


async def _frame_for(store: Store, stream: Stream, item: Rejected) -> Frame:
    """A frame of an item's bytes that the ledger knows nothing of.

    A frame has one ledger entry, for ever. The entry of a frame in which a line could not be read says that the line
    adds nothing; were the line published under that frame's id again, and read this time, it would be stored and not
    counted. So as many line ends are put behind it, which are no events, as make a frame that was never counted.
    """
    if item.reason == "poison":
        return Frame.from_body(stream.name, item.body)  # whole and the same: its claims are this frame's
    body = item.body
    while True:
        body += b"\n"
        frame = Frame.from_body(stream.name, body)
        if frame.id != item.source and await store.entry(stream.name, frame.id) is None:
            return frame


def frame_message(stream: Stream, frame: Frame) -> Message:
    """The message that a frame is published in."""
    return Message(
        exchange=stream.name, routing_key=stream.name, body=frame.body, headers=frame.headers, message_id=frame.id
    )


async def discard(
    store: Store, item: RejectedSummary, note: str = "", *, clock: Callable[[], float] = time.time
) -> RejectedStep | None:
    """Note that nothing will be done about an item; it is kept, for the record. None if it was discarded before.

    Raises StoreError.
    """
    if item.status == "discarded":
        return None
    step = RejectedStep(item=item.id, stream=item.stream, what="discarded", at=clock(), note=note)
    await store.note([step])
    return step


def describe(item: RejectedSummary) -> dict[str, Any]:
    """An item as the command line and HTTP give it as JSON; with its bytes if it has them, as text where they are."""
    shown: dict[str, Any] = {
        "id": item.id,
        "stream": item.stream,
        "reason": item.reason,
        "detail": item.detail,
        "source": item.source,
        "firstSeen": round(item.first_seen, 3),
        "status": item.status,
        "bytes": item.size,
        "history": [_described(step) for step in item.steps],
    }
    if isinstance(item, Rejected):
        try:
            shown["body"] = item.body.decode()
        except UnicodeDecodeError:
            shown["bodyBase64"] = item.body  # encoders of JSON write bytes so
    return shown


def _described(step: RejectedStep) -> dict[str, Any]:
    known = {"frame": step.frame, "note": step.note}
    return {"what": step.what, "at": round(step.at, 3), **{name: text for name, text in known.items() if text}}
