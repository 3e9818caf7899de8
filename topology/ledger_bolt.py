"""LedgerBolt: the workers' own code on frames that come as tuples. Run as many as you like."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import structlog
from streamparse import Bolt

from broker.exchanges import PARTIALS
from broker.protocol import Message
from engine import Announcer, Source, Worker
from topology.component import Hosted, StormConf
from topology.hosting import persistently
from topology.tuple_source import TupleDelivery, TupleSource
from topology.wire import PARTIAL_FIELDS, read_frame

log = structlog.get_logger()

#: Parts of the message time-out: a flush that fails for so long gives its frames back; a tuple that waited for so long
#: is not begun. One that is begun stands behind two flushes at most, before its own.
GIVE_BACK_PART = 1 / 6
TOO_OLD_PART = 1 / 2


class MakesWorker(Protocol):
    """Makes a worker; called again when one has failed."""

    def __call__(self, source: Source, broker: Announcer, *, give_back_after_s: float) -> Worker:
        """A worker that takes its frames from `source`, and says what it did through `broker`."""


@dataclass(frozen=True, slots=True)
class LedgerParts:
    """What a bolt stands on: an open broker to announce on, and a way to make workers on an open store."""

    broker: Announcer
    worker: MakesWorker


class LedgerBolt(Hosted, Bolt):
    """Batches frames, stores them, appends their ledger entries, acknowledges their tuples, emits the partial.

    The partial is emitted and announced: the totals of either engine may be the active ones. It is not anchored to the
    frames' tuples: whatever becomes of it, the frames are in the ledger, and counting them again would change nothing.

    An error while a tuple is read fails that tuple; one that ends the worker fails what it holds, and another begins.

    `opened(stop, conf)` opens what it stands on; a subclass says how (`cli.storm`).
    """

    outputs: ClassVar[list[str]] = list(PARTIAL_FIELDS)
    auto_ack = False  # answered when the ledger has the frame
    auto_anchor = False
    auto_fail = False
    opened: Callable[[asyncio.Event, StormConf], AbstractAsyncContextManager[LedgerParts]]

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Begin to connect; tuples wait meanwhile."""
        timeout_s = StormConf.of(storm_conf).message_timeout_s
        self._give_back_after_s = timeout_s * GIVE_BACK_PART
        self._source = TupleSource(too_old_s=timeout_s * TOO_OLD_PART)
        super().initialize(storm_conf, context)

    async def work(self, stop: asyncio.Event) -> None:
        """Open broker and store, and run workers, one after the other if they fail."""
        async with self.opened(stop, self.conf) as parts:
            announcer = _Emitting(parts.broker, self._emit_partial)

            async def one_worker(stop: asyncio.Event) -> None:
                await parts.worker(self._source, announcer, give_back_after_s=self._give_back_after_s).run(stop)

            await persistently("worker", one_worker, stop)

    def process(self, tup: Any) -> None:
        """Hand a frame's tuple to the worker; fail it if it is none."""
        try:
            frame = read_frame(tup.values)
        except Exception as exc:  # noqa: BLE001  # whatever is wrong with a tuple must not end the process
            log.error("a tuple cannot be read", tuple=tup.id, error=str(exc) or repr(exc))
            self.fail(tup.id)
            return
        delivery = TupleDelivery(tup.id, frame, self._answer, self._source.now())
        self.host.call(self._source.put, delivery)

    def process_tick(self, tup: Any) -> None:
        """Nothing hangs on a tick; it is acknowledged, or Storm would keep it."""
        self.ack(tup.id)

    def _answer(self, tuple_id: str, done: bool) -> None:
        if done:
            self.ack(tuple_id)
        else:
            self.fail(tuple_id)

    def _emit_partial(self, body: bytes) -> None:
        self.emit([body.decode()], anchors=[])


class _Emitting:
    """Announces on the broker; partials are also emitted, first."""

    def __init__(self, broker: Announcer, emit: Callable[[bytes], None]) -> None:
        self._broker = broker
        self._emit = emit

    async def announce(self, message: Message) -> None:
        """See `broker.protocol.Broker.announce`."""
        if message.exchange == PARTIALS.name:
            self._emit(message.body)
        await self._broker.announce(message)
