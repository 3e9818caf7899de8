"""What the exchanges `count`, `categories` and `metrics` say, as typed values. Decoding only: nothing is kept here.

The bodies are built in `engine.messages`. Fields that we do not know are passed over, so that a newer engine can say
more; a field of ours that is missing or of another type makes the whole message malformed. What was added since the
first release may be missing, so that an older engine is understood.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

import msgspec

from streams.errors import TillstreamError

#: Name of each part of the feed → the exchange it comes from. On `metrics` the routing key is `<stream>.<part>`.
PARTS: Mapping[str, str] = {
    "count": "count",
    "categories": "categories",
    "rate": "metrics",
    "delay": "metrics",
    "stores": "metrics",
    "payments": "metrics",
    "minutes": "metrics",
    "engine": "metrics",
}


class MalformedMessageError(TillstreamError):
    """A message on one of the exchanges is not what the engine publishes."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every message says of itself.

    Attributes:
        day: the business day, `YYYY-MM-DD`.
        revision: ledger entries merged so far; grows within a day.
        as_of: epoch seconds of the moment that the numbers describe.
        epoch: of the store: revisions are comparable within one; a store that is restored has a new one. Empty from an
            older engine.
    """

    day: str
    revision: int
    as_of: float
    epoch: str = ""


class Amount(msgspec.Struct, frozen=True):
    """Revenue and number of receipts."""

    sum: Decimal
    count: int


class Count(Stamp, frozen=True, kw_only=True):
    """Revenue and receipts of the day.

    Attributes:
        complete: false while the totals have not read the ledger to its end: these are those of a part of it.
    """

    sum: Decimal
    count: int
    complete: bool = True


class Categories(Stamp, frozen=True, kw_only=True):
    """Sales by category."""

    categories: dict[str, Decimal]


class Rate(Stamp, frozen=True, kw_only=True, rename="camel"):
    """Receipts received in the last minute, and mean milliseconds until they were counted (none: no receipts).

    Attributes:
        average_ms_system: from being received.
        average_ms_creation: from the receipt's own time.
    """

    average_per_minute: float
    average_ms_system: float | None
    average_ms_creation: float | None


class Delays(msgspec.Struct, frozen=True):
    """One delay over some time, seconds; none without receipts."""

    mean: float | None
    max: float | None
    p50: float | None
    p99: float | None


class RecentDelay(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The delays of what was counted lately, as in `Delay`.

    Attributes:
        seconds: how far back that reaches: 60, less just after the totals began.
    """

    connection_delay: Delays
    network_delay: Delays
    seconds: int


class Delay(Stamp, frozen=True, kw_only=True, rename="camel"):
    """From the receipt's own time (connection) and from being received (network) to being stored, over the day.

    Attributes:
        recent: the same of about the last minute; none from an older engine.
    """

    connection_delay: Delays
    network_delay: Delays
    recent: RecentDelay | None = None


class Stores(Stamp, frozen=True, kw_only=True):
    """Revenue and receipts by store."""

    stores: dict[str, Amount]


class Payments(Stamp, frozen=True, kw_only=True):
    """Payments by mechanism."""

    payments: dict[str, Amount]


class Minutes(Stamp, frozen=True, kw_only=True):
    """Receipts by local minute `HH:MM`.

    Attributes:
        received: by the minute in which they arrived.
        own: by the minute that is on them.
        complete: these are all minutes of the day; otherwise those that changed.
    """

    received: dict[str, Amount]
    own: dict[str, Amount]
    complete: bool


class WorkerShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker counted in the last minute.

    Attributes:
        worker: its name.
        events: how many events.
        share: part of all workers' events, 0 to 1.
    """

    worker: str
    events: int
    share: float


class Engine(Stamp, frozen=True, kw_only=True, rename="camel"):
    """How the engine is doing.

    Attributes:
        writers: workers that stored something in the last minute.
        lag: ledger entries that are not in the totals yet.
        queue_depth: frames waiting for a worker; none when the broker did not say.
        dead_letters: frames that nobody takes any more; none likewise, or from an older engine.
        consumers: workers that are connected, idle ones included; none as above.
        workers: those that counted something in the last minute, the busiest first; at most 100.
    """

    writers: int
    lag: int
    queue_depth: int | None
    dead_letters: int | None = None
    consumers: int | None = None
    workers: tuple[WorkerShare, ...] = ()


Part: TypeAlias = Count | Categories | Rate | Delay | Stores | Payments | Minutes | Engine

_DECODERS: Mapping[str, msgspec.json.Decoder[Part]] = {
    name: msgspec.json.Decoder(kind)
    for name, kind in {
        "count": Count,
        "categories": Categories,
        "rate": Rate,
        "delay": Delay,
        "stores": Stores,
        "payments": Payments,
        "minutes": Minutes,
        "engine": Engine,
    }.items()
}


def bindings(stream: str) -> Mapping[str, str]:
    """What to subscribe to for one stream: exchange → routing pattern."""
    return {"count": stream, "categories": stream, "metrics": f"{stream}.*"}


def part_name(stream: str, exchange: str, routing_key: str) -> str | None:
    """Which part of the feed a message is; None for one that we have no use for."""
    name = routing_key.removeprefix(f"{stream}.") if exchange == "metrics" else exchange
    return name if PARTS.get(name) == exchange else None


def decode(name: str, body: bytes) -> Part:
    """Read the body of a part. Raises MalformedMessageError, naming the field."""
    try:
        part = _DECODERS[name].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedMessageError(str(exc)) from exc
    _check(part)
    return part


def _check(part: Part) -> None:
    """What types alone don't say. Raises MalformedMessageError."""
    amounts: list[Decimal] = []
    if isinstance(part, Count):
        amounts = [part.sum]
    elif isinstance(part, Categories):
        amounts = list(part.categories.values())
    elif isinstance(part, Stores):
        amounts = [row.sum for row in part.stores.values()]
    elif isinstance(part, Payments):
        amounts = [row.sum for row in part.payments.values()]
    elif isinstance(part, Minutes):
        amounts = [row.sum for rows in (part.received, part.own) for row in rows.values()]
        for minute in (*part.received, *part.own):
            if minute_of_day(minute) is None:
                raise MalformedMessageError(f"expected a minute HH:MM, got {minute!r}")
    if not all(amount.is_finite() for amount in amounts):  # msgspec takes "NaN" for a Decimal
        raise MalformedMessageError("expected a finite amount")


def minute_of_day(text: str) -> int | None:
    """Minutes since midnight of `HH:MM`; None if it is not of that form."""
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdigit()):
        return None
    return int(hours) * 60 + int(minutes) if int(hours) < 24 and int(minutes) < 60 else None
