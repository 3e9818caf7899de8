"""A user that may only read: the role `read` of MongoDB is enough for all that it asks."""

from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from analytics import DayTally
from store import EventQuery, RejectedQuery
from store.mongo import MongoStore
from store.mongo_client import open_client
from tests.integration.store.examples import DAY, KEY_NAMES, STREAM, entry, event, frame, rejected
from tests.servers.ferret import FerretServer

pytestmark = pytest.mark.mongo

#: Commands that MongoDB's role `read` allows, or that every user may give. `aggregate` reads unless it ends with $out
#: or $merge.
READING = {
    "find", "aggregate", "count", "distinct", "getMore", "killCursors", "listIndexes", "listCollections", "buildInfo",
    "ping", "hello", "endSessions",
}  # fmt: skip


class Commands(CommandListener):
    """Keeps the commands that a client gives."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.given.append((event.command_name, str(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to note."""


@pytest.mark.parametrize("scans", [True, False])
async def test_who_only_reads_gives_reading_commands(
    ferret: FerretServer, monkeypatch: pytest.MonkeyPatch, scans: bool
) -> None:
    """Whatever an entrypoint or a dashboard asks of a store that workers have prepared, the role `read` is enough."""

    async def scanning(self: MongoStore) -> bool:
        return scans

    monkeypatch.setattr(MongoStore, "_scans", scanning)
    monkeypatch.setattr("store.mongo._OF_FIRST", {})  # FerretDB has no partial indexes
    url = ferret.database()
    writer = MongoStore.open(url)
    await writer.prepare(STREAM, KEY_NAMES)
    one = event()
    await writer.insert_events(STREAM, [writer.encode(one, frame("f"))], 1.0)
    await writer.append([entry("w", 1)])
    item = rejected("0" * 32)
    await writer.reject([item])
    document = await writer.write_day(STREAM, DAY, DayTally(), 1)
    month = await writer.write_month(STREAM, DAY[:7], {DAY: document}, 1)
    await writer.identify(STREAM, "UTC")
    await writer.close()

    commands = Commands()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, event_listeners=[commands])
    reader = MongoStore(client, open_client(url)[1])
    await reader.ping()
    assert await reader.event(STREAM, one.id)
    assert await reader.events(STREAM, EventQuery(day=DAY))
    assert await reader.events(STREAM, EventQuery(keys={"store": "612"}))
    assert await reader.ledger_after(STREAM, {})
    assert await reader.head(STREAM) is None
    assert await reader.read_day(STREAM, document) is not None
    assert await reader.read_month(STREAM, month) is not None
    assert await reader.identity(STREAM) is not None
    assert await reader.rejected(STREAM, RejectedQuery(status="open"))
    assert await reader.rejected_item(STREAM, item.id)
    assert await reader.rejected_count(STREAM, "open")
    await reader.close()
    assert commands.given
    for name, whole in commands.given:
        assert name in READING, whole
        assert "$out" not in whole
        assert "$merge" not in whole
