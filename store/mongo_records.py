"""Documents as MongoDB keeps them, to and from the Store protocol's records. Pure; no I/O.

An event is encoded to BSON once, when it is encoded; inserting it only appends the time it is stored at. The
ledger's tallies, a day's totals and a head's maps are JSON in one string each: their keys may hold dots and dollars.
"""

import contextlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
import msgspec
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from analytics import encode_tally
from store.codec import head_to_text, tally_from_text
from store.protocol import Head, LedgerEntry, Rejected, RejectedStep, RejectedSummary, StoredEvent
from streams.base import Event, Stream
from streams.errors import InvalidEventError

#: Names at the top of an event's document that a stream's key must not have.
RESERVED_NAMES = frozenset(
    {"_id", "frame", "hash", "day", "time", "amount", "categories", "received", "stored", "event", "raw"}
)
#: A larger document is stored as its line: MongoDB takes 16 MiB, and BSON may be many times as long as its JSON.
_DOCUMENT_MAX_BYTES = 8 * 1024**2
#: A deeper document is stored as its line: MongoDB takes 100 levels, ours around it included.
_MAX_DEPTH = 60

_STORED = b"\x01stored\x00"
_json = msgspec.json.Encoder(enc_hook=int)  # the hook sees only BSON's own integer class


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event encoded to BSON, but for the time it is stored at; kept beside what it was made of.

    Attributes:
        body: a whole BSON document.
        event, frame: for `raw_record`, when the server does not take the document.
    """

    body: bytes
    event: Event
    frame: str


def event_record(event: Event, frame: str) -> EventRecord:
    """Encode an event with its document, or with its line where the document has no BSON form."""
    if event.document is not None and not _too_deep(event):
        try:
            body = bson.encode({**_top(event, frame), "event": event.document})
        except (BSONError, OverflowError, RecursionError, TypeError, ValueError):
            return raw_record(event, frame)
        if len(body) <= _DOCUMENT_MAX_BYTES:
            return EventRecord(body, event, frame)
    return raw_record(event, frame)


def raw_record(event: Event, frame: str) -> EventRecord:
    """Encode an event with its line as text."""
    try:
        line: str | bytes = event.line.decode()
    except UnicodeDecodeError:
        line = event.line
    return EventRecord(bson.encode({**_top(event, frame), "raw": line}), event, frame)


def stamped(record: EventRecord, stored: float) -> RawBSONDocument:
    """The document to insert: `stored` is appended to the encoded bytes."""
    body = record.body[4:-1]
    length = len(body) + len(_STORED) + 13
    return RawBSONDocument(b"".join((struct.pack("<i", length), body, _STORED, struct.pack("<dB", stored, 0))))


def _top(event: Event, frame: str) -> dict[str, Any]:
    return {
        "_id": event.id,
        "frame": frame,
        "hash": event.hash,
        "day": event.day,
        "time": float(event.time),
        "amount": Int64(event.amount),
        "categories": list(event.categories),
        **event.keys,
        "received": float(event.received),
    }


def _too_deep(event: Event) -> bool:
    """Whether the document may be nested deeper than a server takes."""
    if event.line.count(b"{") + event.line.count(b"[") <= _MAX_DEPTH:
        return False
    waiting: list[tuple[Any, int]] = [(event.document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            return True
        inner = value.values() if isinstance(value, Mapping) else value
        waiting.extend((item, depth + 1) for item in inner if isinstance(item, Mapping | list | tuple))
    return False


def stored_event(document: Mapping[str, Any], stream: Stream | None = None) -> StoredEvent:
    """Read an event's document.

    Arguments:
        stream: reads what the document of an earlier release lacks from its body; without it, and where the body
            cannot be read, the time is that of reception, and there is no amount and no category.
    """
    if "event" in document:
        body = _json.encode(document["event"])
    else:
        raw = document["raw"]
        body = raw.encode() if isinstance(raw, str) else bytes(raw)
    if "time" not in document:
        document = {**document, **_added(document, body, stream)}
    return StoredEvent(
        id=document["_id"],
        frame=document["frame"],
        hash=document["hash"],
        day=document["day"],
        time=document["time"],
        amount=int(document["amount"]),
        categories=tuple(document["categories"]),
        keys={name: value for name, value in document.items() if name not in RESERVED_NAMES},
        received=document["received"],
        stored=document["stored"],
        body=body,
    )


def _added(document: Mapping[str, Any], body: bytes, stream: Stream | None) -> dict[str, Any]:
    """The fields that releases have added to events since there are any."""
    if stream is not None:
        with contextlib.suppress(InvalidEventError):
            event = stream.parse(body)
            return {"time": event.time, "amount": event.amount, "categories": event.categories}
    return {"time": document["received"], "amount": 0, "categories": ()}


def ledger_document(entry: LedgerEntry) -> dict[str, Any]:
    """A ledger entry as a document; `kept` says that its tally is there, for the index that finds old ones."""
    return {
        "_id": entry.frame,
        "stream": entry.stream,
        "writer": entry.writer,
        "seq": entry.seq,
        "tally": None if entry.tally is None else encode_tally(entry.tally).decode(),
        "kept": entry.tally is not None,
        "at": float(entry.at),
    }


def ledger_entry(document: Mapping[str, Any], *, lenient: bool = False) -> LedgerEntry:
    """Read a ledger entry. Raises StoreDataError for a tally that this release cannot read (as `tally_from_text`)."""
    return LedgerEntry(
        frame=document["_id"],
        stream=document["stream"],
        writer=document["writer"],
        seq=int(document["seq"]),
        tally=tally_from_text(document["_id"], document["tally"], lenient=lenient),
        at=document["at"],
    )


def head_id(stream: str, version: int) -> str:
    """The `_id` of one version of a stream's head."""
    return f"{stream}:{version}"


def head_document(head: Head, at: float) -> dict[str, Any]:
    """A head as a document."""
    return {
        "_id": head_id(head.stream, head.version),
        "stream": head.stream,
        "version": head.version,
        "state": head_to_text(head),
        "at": at,
    }


def rejected_document(item: Rejected) -> dict[str, Any]:
    """A rejected item as a document."""
    return {
        "_id": item.id,
        "stream": item.stream,
        "reason": item.reason,
        "detail": item.detail,
        "source": item.source,
        "body": item.body,
        "size": item.size,
        "first_seen": float(item.first_seen),
    }


def rejected_summary(document: Mapping[str, Any], size: int, steps: Sequence[RejectedStep]) -> RejectedSummary:
    """Read a rejected item's document, which is without its body; its size may not be in it."""
    return RejectedSummary(
        id=document["_id"],
        stream=document["stream"],
        reason=document["reason"],
        detail=document["detail"],
        source=document["source"],
        size=size,
        first_seen=document["first_seen"],
        steps=tuple(steps),
    )


def rejected_of(document: Mapping[str, Any], steps: Sequence[RejectedStep]) -> Rejected:
    """Read a rejected item."""
    return Rejected(
        id=document["_id"],
        stream=document["stream"],
        reason=document["reason"],
        detail=document["detail"],
        source=document["source"],
        body=bytes(document["body"]),
        first_seen=document["first_seen"],
        steps=tuple(steps),
    )


def step_document(step: RejectedStep) -> dict[str, Any]:
    """A step as a document; its `_id` is what makes it the same step."""
    return {
        "_id": f"{step.item}:{step.what}:{step.frame}",
        "item": step.item,
        "stream": step.stream,
        "what": step.what,
        "frame": step.frame,
        "at": float(step.at),
        "note": step.note,
    }


def step_of(document: Mapping[str, Any]) -> RejectedStep:
    """Read a step."""
    return RejectedStep(
        item=document["item"],
        stream=document["stream"],
        what=document["what"],
        frame=document["frame"],
        at=document["at"],
        note=document["note"],
    )
