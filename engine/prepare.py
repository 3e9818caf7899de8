"""Step 0 of a flush: everything that can fail because of a frame's content, before anything is written."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from broker.frames import Frame
from store.protocol import EncodedEvent, Rejected, Store
from streams.base import Event, Stream
from streams.errors import InvalidEventError, UndecodableEventError

log = structlog.get_logger()

#: Lines read before other tasks get a turn: some 10 ms.
_LINES_PER_TURN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrame:
    """A frame that is ready to be flushed.

    Attributes:
        id: the frame's id.
        events: its readable events, in order.
        encoded: the same, in the store's form.
        rejected: its lines that cannot be read.
    """

    id: str
    events: list[Event] = field(default_factory=list)
    encoded: list[EncodedEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


async def prepare(frame: Frame, stream: Stream, store: Store, clock: Callable[[], float]) -> PreparedFrame:
    """Read a frame's events and put them into the store's form; lines that cannot be read are set aside.

    CPU only; gives way to other tasks now and then.
    """
    prepared = PreparedFrame(id=frame.id)
    for number, line in enumerate(frame.lines(), start=1):
        try:
            event = stream.parse(line)
            prepared.encoded.append(store.encode(event, frame.id))
            prepared.events.append(event)
        except InvalidEventError as exc:
            reason = "undecodable" if isinstance(exc, UndecodableEventError) else "invalid"
            prepared.rejected.append(
                rejected(stream.name, reason, str(exc), source=frame.id, body=line, first_seen=clock())
            )
        except Exception as exc:  # a defect of ours must not stop every worker that this frame meets
            log.exception("a defect: this event cannot be read", frame=frame.id)
            prepared.rejected.append(
                rejected(stream.name, "undecodable", repr(exc), source=frame.id, body=line, first_seen=clock())
            )
        if number % _LINES_PER_TURN == 0:
            await asyncio.sleep(0)
    return prepared


def rejected(stream: str, reason: str, detail: str, *, source: str, body: bytes, first_seen: float) -> Rejected:
    """Something to be kept in `rejected`; the same bytes for the same reason get the same id."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (stream.encode(), reason.encode(), body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return Rejected(
        id=digest.hexdigest(),
        stream=stream,
        reason=reason,
        detail=detail,
        source=source,
        body=body,
        first_seen=first_seen,
    )
