"""TotalsBolt: the totals' own code, with partials that come as tuples, too. One task; global grouping."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import structlog
from streamparse import Bolt

from engine import TotalsKeeper
from topology.component import Heartbeat, Hosted, StormConf

log = structlog.get_logger()

#: A loop that has not turned for so long hangs, seconds: much longer than any work on it takes.
SILENT_S = 60.0


class TotalsBolt(Hosted, Bolt):
    """Keeps and publishes the totals while no other totals process does, of whichever engine; else it stands by.

    It begins from checkpoint and ledger wherever Storm starts it. Partials reach it through the broker, where it is the
    one consumer of their queue, and as tuples; the second of two equal ones changes nothing. The keeper publishes every
    second by its own clock; Storm's tick each second only looks whether the keeper's thread is well.

    `opened(stop, conf)` opens the keeper; a subclass says how (`cli.storm`).
    """

    outputs: ClassVar[list[str]] = []
    auto_anchor = False
    opened: Callable[[asyncio.Event, StormConf], AbstractAsyncContextManager[TotalsKeeper]]

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Begin to connect."""
        self._keeper: TotalsKeeper | None = None
        super().initialize(storm_conf, context)
        self._heartbeat = Heartbeat(self.host, silent_s=SILENT_S)

    async def work(self, stop: asyncio.Event) -> None:
        """Open broker and store, and keep the totals."""
        async with self.opened(stop, self.conf) as keeper:
            self._keeper = keeper
            try:
                await keeper.run(stop)
            finally:
                self._keeper = None

    def process(self, tup: Any) -> None:
        """Hand a partial to the keeper; it is acknowledged whatever it is, for the ledger has it."""
        self.host.call(self._hear, str(tup.values[0]).encode())

    def process_tick(self, tup: Any) -> None:
        """Raises RuntimeError, which ends the process, when the keeper's thread hangs or is no more."""
        self._heartbeat.ask()

    def _hear(self, body: bytes) -> None:
        if self._keeper is not None:
            self._keeper.hear(body)
