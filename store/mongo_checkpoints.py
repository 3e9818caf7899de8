"""Checkpoints in MongoDB: documents of days and months that never change, and heads of which only one can come next.

A head's version is a document of its own, and its unique `_id` is the compare-and-set: that holds on every server,
while FerretDB's conditional update lets two callers win. The newest version is the head.
"""

import time
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import structlog
from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError, PyMongoError

from analytics import DayTally, encode_day
from store.codec import day_from_text, head_from_text, month_from_text, month_to_text
from store.mongo_client import collection, translated
from store.mongo_records import head_document, head_id
from store.protocol import Head

log = structlog.get_logger()

CHECKPOINTS, DAYS = "checkpoints", "days"
#: Versions of a head that are kept behind the newest one.
_OLD_HEADS = 10
#: Names in one condition.
_DROPPED_AT_ONCE = 1000


class MongoCheckpoints:
    """The part of the Store protocol that is about heads and days."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._heads = collection(database, CHECKPOINTS)
        self._days = collection(database, DAYS)

    async def head(self, stream: str) -> Head | None:
        """The newest version of the stream's head."""
        with translated(f"read the checkpoint of {stream}"):
            found = await self._heads.find({"stream": stream}).sort("version", DESCENDING).limit(1).to_list(1)
        return head_from_text(stream, int(found[0]["version"]), found[0]["state"]) if found else None

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        """Write a new day document."""
        return await self._write(stream, day, encode_day(tally).decode(), version)

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        """Read a day document."""
        text = await self._read(stream, document)
        return None if text is None else day_from_text(document, text)

    async def write_month(self, stream: str, month: str, days: Mapping[str, str], version: int) -> str:
        """Write a new month document; it lies beside the days, under a name of its own."""
        return await self._write(stream, month, month_to_text(days), version)

    async def read_month(self, stream: str, document: str) -> dict[str, str] | None:
        """Read a month document."""
        text = await self._read(stream, document)
        return None if text is None else month_from_text(document, text)

    async def _write(self, stream: str, name: str, text: str, version: int) -> str:
        id = f"{stream}:{name}:{uuid.uuid4().hex}"
        document = {"_id": id, "stream": stream, "day": name, "tally": text, "version": version, "at": time.time()}
        with translated(f"write the totals of {name}"):
            await self._days.insert_one(document)
        return id

    async def _read(self, stream: str, document: str) -> str | None:
        with translated("read a day's totals"):
            found = await self._days.find_one({"_id": document})
        return None if found is None or found["stream"] != stream else str(found["tally"])

    async def swap_head(self, head: Head) -> bool:
        """Insert the head's next version, whose `_id` only one can insert; see the protocol.

        A version's `_id` could be inserted again after it was dropped, by a caller that slept between looking and
        inserting while others moved on. Versions are dropped in ascending order and never the newest ones, so that
        caller learns it from its own predecessor being gone; at the first version, from there being a newer one.
        """
        with translated(f"move the checkpoint of {head.stream} on"):
            if await self._newest_version(head.stream) != head.version - 1:
                return False
            try:
                await self._heads.insert_one(head_document(head, time.time()))
            except DuplicateKeyError:
                return False
            if head.version == 1:
                return await self._newest_version(head.stream) == 1
            predecessor = {"_id": head_id(head.stream, head.version - 1)}
            if await self._heads.find_one(predecessor, {"_id": True}) is None:
                return False
        try:
            await self._heads.delete_one({"_id": head_id(head.stream, head.version - _OLD_HEADS)})
        except PyMongoError as exc:
            # The swap is done; what could not be dropped now is dropped by `tidy`.
            log.info("an old checkpoint is dropped later", stream=head.stream, error=type(exc).__name__)
        return True

    async def _newest_version(self, stream: str) -> int:
        newest = self._heads.find({"stream": stream}, {"version": True}).sort("version", DESCENDING).limit(1)
        found = await newest.to_list(1)
        return int(found[0]["version"]) if found else 0

    async def tidy(self, head: Head, named: AbstractSet[str], days_before: float) -> None:
        """Drop documents written before a time that no head can name any more, and what is left of old heads."""
        old = {"stream": head.stream, "at": {"$lt": days_before}, "version": {"$lte": head.version}}
        heads = {"stream": head.stream, "version": {"$lte": head.version - _OLD_HEADS}}
        with translated(f"drop old totals of {head.stream}"):
            written = [one["_id"] async for one in self._days.find(old, {"_id": True})]
            dropped = [id for id in written if id not in named]
            for start in range(0, len(dropped), _DROPPED_AT_ONCE):
                await self._days.delete_many({"_id": {"$in": dropped[start : start + _DROPPED_AT_ONCE]}})
            # One by one, in ascending order: `swap_head` relies on it.
            for one in await self._heads.find(heads, {"version": True}).sort("version", ASCENDING).to_list(None):
                await self._heads.delete_one({"_id": one["_id"]})
