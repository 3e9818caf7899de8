"""Tallies and heads as the JSON strings that every store keeps them in; what cannot be read is a StoreDataError."""

from collections.abc import Mapping

import msgspec

from analytics import DayTally, NewerFormatError, Tally, decode_day, decode_tally
from store.errors import StoreDataError
from store.protocol import Folded, Head

#: Version of a head's form. Days and ledger entries hold tallies, which have a version of their own.
HEAD_VERSION = 2
#: Version of a month's form.
MONTH_VERSION = 1


class _Version(msgspec.Struct):
    v: int = 1


class _HeadState(msgspec.Struct, kw_only=True):
    """A head's maps; their keys may hold anything, so they are never field names of a document."""

    #: missing in the heads of the first release
    v: int = 1
    token: str = ""
    generation: int = 0
    offsets: dict[str, int]
    folded: tuple[int, int] = (0, 0)
    closing: list[str] = []
    #: the days, where the first release could carry the head on; it asks for no version, but for this field
    days: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    #: the days of a head that the first release must not replace, as it would forget the folded writers or the months
    latest_days: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    months: dict[str, str] = {}
    seconds: dict[int, list[int]]


class _Month(msgspec.Struct):
    v: int
    days: dict[str, str]


_encoder = msgspec.json.Encoder()
_head_decoder = msgspec.json.Decoder(_HeadState)
_month_decoder = msgspec.json.Decoder(_Month)
_version_decoder = msgspec.json.Decoder(_Version)


def head_to_text(head: Head) -> str:
    """A head's maps as JSON. The first release can read it while it would lose nothing by replacing it."""
    seconds = {second: list(row) for second, row in head.seconds.items()}
    days = dict(head.days)
    beyond_first = bool(head.generation or head.folded.writers or head.closing or head.months)
    state = _HeadState(
        v=HEAD_VERSION,
        token=head.token,
        generation=head.generation,
        offsets=dict(head.offsets),
        folded=(head.folded.writers, head.folded.entries),
        closing=sorted(head.closing),
        days=msgspec.UNSET if beyond_first else days,
        latest_days=days if beyond_first else msgspec.UNSET,
        months=dict(head.months),
        seconds=seconds,
    )
    return _encoder.encode(state).decode()


def head_from_text(stream: str, version: int, text: str) -> Head:
    """Read what `head_to_text` wrote. Raises StoreDataError, for one of a newer release, too."""
    try:
        form = _version_decoder.decode(text).v
        if form > HEAD_VERSION:
            raise StoreDataError(
                f"checkpoint {version} of {stream} has format {form} and needs a newer release; "
                f"this one knows {HEAD_VERSION}"
            )
        state = _head_decoder.decode(text)
        days = state.days if state.latest_days is msgspec.UNSET else state.latest_days
        if days is msgspec.UNSET:
            raise StoreDataError(f"checkpoint {version} of {stream} names no days")
    except msgspec.MsgspecError as exc:
        raise StoreDataError(f"checkpoint {version} of {stream} cannot be read: {exc}") from exc
    return Head(
        stream=stream,
        version=version,
        token=state.token,
        generation=state.generation,
        offsets=state.offsets,
        folded=Folded(*state.folded),
        closing=frozenset(state.closing),
        days=days,
        months=state.months,
        seconds=state.seconds,
    )


def month_to_text(days: Mapping[str, str]) -> str:
    """Where a month's day documents are, as JSON."""
    return _encoder.encode(_Month(MONTH_VERSION, dict(days))).decode()


def month_from_text(document: str, text: str) -> dict[str, str]:
    """Read what `month_to_text` wrote. Raises StoreDataError, for one of a newer release, too."""
    try:
        form = _version_decoder.decode(text).v
        if form > MONTH_VERSION:
            raise StoreDataError(
                f"the month document {document} has format {form} and needs a newer release; "
                f"this one knows {MONTH_VERSION}"
            )
        return _month_decoder.decode(text).days
    except msgspec.MsgspecError as exc:
        raise StoreDataError(f"the month document {document} cannot be read: {exc}") from exc


def tally_from_text(frame: str, text: str | None, *, lenient: bool = False) -> Tally | None:
    """Read the tally of a frame's ledger entry, None where it was dropped; if lenient, where it is of a newer release,
    too. Raises StoreDataError."""
    if text is None:
        return None
    try:
        return decode_tally(text)
    except (NewerFormatError, msgspec.MsgspecError) as exc:
        if lenient and isinstance(exc, NewerFormatError):
            return None
        raise StoreDataError(f"the ledger entry of frame {frame} cannot be read: {exc}") from exc


def day_from_text(document: str, text: str) -> DayTally:
    """Read a day document's totals. Raises StoreDataError."""
    try:
        return decode_day(text)
    except (NewerFormatError, msgspec.MsgspecError) as exc:
        raise StoreDataError(f"the day document {document} cannot be read: {exc}") from exc
