"""ReceiptSpout: frames of the work queue become tuples, Storm's answers become acknowledgements."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog
from streamparse import Spout

from broker.exchanges import Queue
from broker.protocol import Broker
from engine import FrameCheck
from topology.component import Hosted, StormConf
from topology.intake import Intake
from topology.wire import FRAME_FIELDS, frame_values

log = structlog.get_logger()

#: Tuples emitted at once at most, so that acknowledgements between them do not wait long.
EMITTED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class SpoutParts:
    """What a spout stands on: an open broker, the queue whose frames it takes, and what it knows them by."""

    broker: Broker
    queue: Queue
    check: FrameCheck


class ReceiptSpout(Hosted, Spout):
    """Consumes the work queue while Storm has it active.

    Storm's ack acknowledges the frame; after a fail, or Storm's time-out, it is emitted again after a pause, and goes
    back to the queue when that has gone on for as long as a worker would hold it. Frames of a newer
    format, or for another store than the bolts', are held, and consuming stops, as the workers do it.

    `opened(stop, conf)` opens what it stands on; a subclass says how (`cli.storm`).
    """

    outputs: ClassVar[list[str]] = list(FRAME_FIELDS)
    opened: Callable[[asyncio.Event, StormConf], AbstractAsyncContextManager[SpoutParts]]

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Begin to connect; frames are taken when Storm activates the spout."""
        self._intake = Intake(prefetch=StormConf.of(storm_conf).pending)
        super().initialize(storm_conf, context)

    async def work(self, stop: asyncio.Event) -> None:
        """Open the broker and take frames."""
        async with self.opened(stop, self.conf) as parts:
            await self._intake.run(parts.broker, parts.queue, parts.check, stop)

    def next_tuple(self) -> None:
        """Emit what has come; without waiting."""
        for tuple_id, delivery in self._intake.take(EMITTED_AT_ONCE):
            self.emit(frame_values(delivery), tup_id=tuple_id)

    def ack(self, tup_id: str) -> None:
        """Storm is done with a frame."""
        self.host.call(self._intake.ack, tup_id)

    def fail(self, tup_id: str) -> None:
        """A frame failed, or took longer than the topology's time-out."""
        self.host.call(self._intake.fail, tup_id)

    def activate(self) -> None:
        """Take frames."""
        self.host.call(self._intake.activate)

    def deactivate(self) -> None:
        """Take no more frames."""
        self.host.call(self._intake.deactivate)
