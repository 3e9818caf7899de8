"""The Storm engine's components, put together: what a Supervisor's Python is told to run.

Settings come from the environment of the process, which has it from the Supervisor: what is secret never goes through
Nimbus. The command line (`tillstream topology`) is in `cli.commands.topology`; of it, only `topology_config` is here.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog

import topology
from cli.roles import opened, shared_broker_needed, totals_of, worker_of
from cli.settings import Settings, read_settings
from engine import Announcer, FrameCheck, Source, TotalsKeeper, Worker
from streams import ConfigurationError
from topology import LedgerParts, SpoutParts, StormConf, TopologyConfig

log = structlog.get_logger()


def topology_config(settings: Settings) -> TopologyConfig:
    """The topology's share of the settings."""
    return TopologyConfig(
        spouts=settings.storm_spouts,
        bolts=settings.storm_bolts,
        workers=settings.storm_workers,
        pending=settings.storm_pending,
        message_timeout_s=settings.storm_message_timeout_s,
        module=__name__,
    )


class _Composed:
    """Mixed into each component: reads the settings once, at the handshake."""

    settings: Settings

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Read the settings, then begin; settings that cannot work end the process, with a line for Storm."""
        try:
            loaded = read_settings(os.environ)
            shared_broker_needed(loaded.settings, "topology")
            loaded.check_store()
        except ConfigurationError as exc:
            self.refuse(exc)  # type: ignore[attr-defined]  # a component's
        self.settings = loaded.settings
        self.log_level = self.settings.log_level
        super().initialize(storm_conf, context)  # type: ignore[misc]  # a component's
        for warning in loaded.warnings:
            log.warning(warning)


class ReceiptSpout(_Composed, topology.ReceiptSpout):
    """Takes frames from the work queue."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[SpoutParts]:
        """Open broker and store; of the store it only asks which one it is, when it first has to know."""
        async with opened(self.settings, stop, "storm", prepare=False) as parts:
            yield SpoutParts(parts.broker, parts.topology.work, FrameCheck(parts.store, parts.stream.name))


class LedgerBolt(_Composed, topology.LedgerBolt):
    """Stores frames and counts them."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[LedgerParts]:
        """Open broker and store."""
        async with opened(self.settings, stop, "storm") as parts:

            def worker(source: Source, broker: Announcer, *, give_back_after_s: float) -> Worker:
                return worker_of(parts, source=source, broker=broker, give_back_after_s=give_back_after_s)

            yield LedgerParts(parts.broker, worker)


class TotalsBolt(_Composed, topology.TotalsBolt):
    """Keeps and publishes the totals."""

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[TotalsKeeper]:
        """Open broker and store."""
        async with opened(self.settings, stop, "storm") as parts:
            yield totals_of(parts)
