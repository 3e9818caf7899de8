"""The ledger bolt as Storm starts it, on an embedded broker and store: `streamparse_run <this>.EmbeddedLedgerBolt`."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import cli.storm
from cli.roles import opened, worker_of
from cli.settings import read_settings
from engine import Announcer, Source, Worker
from topology import LedgerBolt, LedgerParts, StormConf


class EmbeddedLedgerBolt(LedgerBolt):
    """`cli.storm.LedgerBolt`, but for its refusal of a broker that processes cannot share: here is only one."""

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.settings = read_settings(os.environ).settings
        super().initialize(storm_conf, context)
        print("a library talks to itself")  # and must not disturb the protocol

    @asynccontextmanager
    async def opened(self, stop: asyncio.Event, conf: StormConf) -> AsyncIterator[LedgerParts]:
        async with opened(self.settings, stop) as parts:

            def worker(source: Source, broker: Announcer, *, give_back_after_s: float) -> Worker:
                return worker_of(parts, source=source, broker=broker, give_back_after_s=give_back_after_s)

            yield LedgerParts(parts.broker, worker)


class Refusing(cli.storm.LedgerBolt):
    """What a Supervisor would run, with settings that cannot work."""
