"""Partials: what a run of ledger entries of one writer adds up to, announced to make the totals fast.

Nothing depends on one arriving: the ledger is the truth, and a missing partial is read from there.
"""

from typing import Any

import msgspec

from analytics.codec import decode_tally, encode_tally
from analytics.tally import Tally
from broker.exchanges import PARTIALS
from broker.protocol import Message
from streams.errors import TillstreamError


class PartialError(TillstreamError):
    """A message on `partials` is not a partial."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """The tally of a run of consecutive ledger entries of one writer.

    Attributes:
        writer: the writer.
        first, last: the run's seqs, both included.
        tally: the merge of exactly those entries' tallies.
    """

    writer: str
    first: int
    last: int
    tally: Tally


class _Wire(msgspec.Struct):
    writer: str
    first: int
    last: int
    tally: msgspec.Raw


_decoder = msgspec.json.Decoder(_Wire)


def partial_message(stream: str, partial: Partial) -> Message:
    """The message that announces a partial."""
    tally = msgspec.Raw(encode_tally(partial.tally))
    body = msgspec.json.encode(_Wire(partial.writer, partial.first, partial.last, tally))
    return Message(exchange=PARTIALS.name, routing_key=stream, body=body)


def read_partial(body: bytes) -> Partial:
    """Read a partial. Raises PartialError, or NewerFormatError for one of a newer release."""
    try:
        wire = _decoder.decode(body)
        tally: Any = decode_tally(bytes(wire.tally))
    except msgspec.MsgspecError as exc:
        raise PartialError(f"not a partial: {exc}") from exc
    return Partial(writer=wire.writer, first=wire.first, last=wire.last, tally=tally)
