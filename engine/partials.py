"""Partials: what a run of ledger entries of one writer adds up to, announced to make the totals fast.

Nothing depends on one arriving: the ledger is the truth, and a missing partial is read from there.
"""

import os
import secrets
import socket
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from analytics.codec import decode_tally, encode_tally
from analytics.tally import Tally
from broker.exchanges import PARTIALS
from broker.protocol import Message
from streams.errors import TillstreamError

#: Letters of a writer id that stand for a worker without a name.
_SHORT_WRITER = 8
#: A host's name may have 255 letters; of most the beginning tells.
_HOST_LENGTH = 64
#: The longest name of a worker that is taken.
_NAME_LENGTH = 255


class PartialError(TillstreamError):
    """A message on `partials` is not a partial."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """The tally of a run of consecutive ledger entries of one writer.

    Attributes:
        writer: the writer.
        first, last: the run's seqs, both included.
        tally: the merge of exactly those entries' tallies.
        worker: name of the worker's process, which stays although the writer changes; an older release does not say.
        store, epoch: of the store that holds the entries (`store.protocol.StoreIdentity`); an older release does not
            say.
    """

    writer: str
    first: int
    last: int
    tally: Tally
    worker: str | None = None
    store: str | None = None
    epoch: str | None = None

    @property
    def by(self) -> str:
        """Who counted it, for people: the worker, or the beginning of the writer id where that is not said."""
        return self.worker or self.writer[:_SHORT_WRITER]

    @property
    def events(self) -> int:
        """How many events it counts."""
        return sum(row[0] for row in self.tally.seconds.values())


def worker_name() -> str:
    """What this process is called among the workers: `<host>-<pid>-<random>`, the same as long as it runs."""
    return _name_of(os.getpid())


@lru_cache(maxsize=1)  # by process id: a forked process has a name of its own
def _name_of(pid: int) -> str:
    return f"{socket.gethostname()[:_HOST_LENGTH]}-{pid}-{secrets.token_hex(2)}"


class _Wire(msgspec.Struct, omit_defaults=True):
    writer: str
    first: int
    last: int
    tally: msgspec.Raw
    worker: Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH)] | None = None
    store: Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH)] | None = None
    epoch: Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH)] | None = None


_decoder = msgspec.json.Decoder(_Wire)


def partial_message(stream: str, partial: Partial) -> Message:
    """The message that announces a partial."""
    tally = msgspec.Raw(encode_tally(partial.tally))
    wire = _Wire(partial.writer, partial.first, partial.last, tally, partial.worker, partial.store, partial.epoch)
    body = msgspec.json.encode(wire)
    return Message(exchange=PARTIALS.name, routing_key=stream, body=body)


def read_partial(body: bytes) -> Partial:
    """Read a partial. Raises PartialError, or NewerFormatError for one of a newer release."""
    try:
        wire = _decoder.decode(body)
        tally: Any = decode_tally(bytes(wire.tally))
    except msgspec.MsgspecError as exc:
        raise PartialError(f"not a partial: {exc}") from exc
    return Partial(
        writer=wire.writer,
        first=wire.first,
        last=wire.last,
        tally=tally,
        worker=wire.worker,
        store=wire.store,
        epoch=wire.epoch,
    )
