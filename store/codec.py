"""Tallies and heads as the JSON strings that every store keeps them in; what cannot be read is a StoreDataError."""

import msgspec

from analytics import DayTally, NewerFormatError, Tally, decode_day, decode_tally
from store.errors import StoreDataError
from store.protocol import Head


class _HeadState(msgspec.Struct):
    """A head's maps; their keys may hold anything, so they are never field names of a document."""

    offsets: dict[str, int]
    days: dict[str, str]
    seconds: dict[int, list[int]]


_encoder = msgspec.json.Encoder()
_head_decoder = msgspec.json.Decoder(_HeadState)


def head_to_text(head: Head) -> str:
    """A head's maps as JSON."""
    seconds = {second: list(row) for second, row in head.seconds.items()}
    return _encoder.encode(_HeadState(dict(head.offsets), dict(head.days), seconds)).decode()


def head_from_text(stream: str, version: int, text: str) -> Head:
    """Read what `head_to_text` wrote. Raises StoreDataError."""
    try:
        state = _head_decoder.decode(text)
    except msgspec.MsgspecError as exc:
        raise StoreDataError(f"checkpoint {version} of {stream} cannot be read: {exc}") from exc
    return Head(stream=stream, version=version, offsets=state.offsets, days=state.days, seconds=state.seconds)


def tally_from_text(frame: str, text: str | None) -> Tally | None:
    """Read the tally of a frame's ledger entry, None where it was dropped. Raises StoreDataError."""
    if text is None:
        return None
    try:
        return decode_tally(text)
    except (NewerFormatError, msgspec.MsgspecError) as exc:
        raise StoreDataError(f"the ledger entry of frame {frame} cannot be read: {exc}") from exc


def day_from_text(document: str, text: str) -> DayTally:
    """Read a day document's totals. Raises StoreDataError."""
    try:
        return decode_day(text)
    except (NewerFormatError, msgspec.MsgspecError) as exc:
        raise StoreDataError(f"the day document {document} cannot be read: {exc}") from exc
