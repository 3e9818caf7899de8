"""Tallies to bytes and back: versioned JSON; equal day tallies give equal bytes."""

import msgspec

from analytics.tally import TALLY_VERSION, DayTally, Tally
from streams.errors import TillstreamError


class NewerFormatError(TillstreamError):
    """A tally was written by a newer release in a form that this one does not know."""


class _Version(msgspec.Struct):
    v: int


class _EncodedTally(msgspec.Struct):
    v: int
    tally: Tally


class _EncodedDay(msgspec.Struct):
    v: int
    day: DayTally


_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="deterministic")
_tally_decoder = msgspec.json.Decoder(_EncodedTally)
_day_decoder = msgspec.json.Decoder(_EncodedDay)
_version_decoder = msgspec.json.Decoder(_Version)


def encode_tally(tally: Tally) -> bytes:
    """A tally as versioned JSON. Its days are bounded before."""
    for day in tally.days.values():
        day.bound()
    return _encoder.encode(_EncodedTally(TALLY_VERSION, tally))


def encode_day(day: DayTally) -> bytes:
    """A day tally as versioned JSON, with all keys in order. It is bounded before."""
    day.bound()
    return _sorted_encoder.encode(msgspec.to_builtins(_EncodedDay(TALLY_VERSION, day), str_keys=True))


def decode_tally(data: bytes | str) -> Tally:
    """Read what `encode_tally` wrote. Raises NewerFormatError, or msgspec's errors for what it never wrote."""
    _check(data)
    return _tally_decoder.decode(data).tally


def decode_day(data: bytes | str) -> DayTally:
    """Read what `encode_day` wrote. Raises as `decode_tally` does."""
    _check(data)
    return _day_decoder.decode(data).day


def _check(data: bytes | str) -> None:
    version = _version_decoder.decode(data).v
    if version > TALLY_VERSION:
        raise NewerFormatError(f"a tally of format {version} cannot be read here: this release knows {TALLY_VERSION}")
