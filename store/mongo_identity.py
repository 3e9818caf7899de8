"""Which store a MongoDB database is: its id, its epoch, and the time zone that each stream's days are in."""

import contextlib
import uuid
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo.errors import DuplicateKeyError

from store.errors import StoreDataError
from store.mongo_client import collection, translated
from store.protocol import StoreIdentity

IDENTITY = "identity"
_STORE = "store"


class MongoIdentity:
    """The part of the Store protocol that is about the store itself: one document for it, and one for each stream."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._documents = collection(database, IDENTITY)

    async def identify(self, stream: str, zone: str) -> StoreIdentity:
        """Insert what is not there; the unique `_id` decides who of several starting processes was first."""
        wanted = (
            {"_id": _STORE, "id": uuid.uuid4().hex, "epoch": uuid.uuid4().hex, "adopted": []},
            {"_id": _zone_id(stream), "zone": zone},
        )
        with translated("identify the store"):
            for document in wanted:
                if await self._documents.find_one({"_id": document["_id"]}) is None:
                    with contextlib.suppress(DuplicateKeyError):  # another process was quicker: read below
                        await self._documents.insert_one(document)
        found = await self.identity(stream)
        if found is None:
            raise StoreDataError("the store's identity was written, and is not there")
        return found

    async def identity(self, stream: str) -> StoreIdentity | None:
        """Read it."""
        with translated("read the store's identity"):
            store = await self._documents.find_one({"_id": _STORE})
            zone = await self._documents.find_one({"_id": _zone_id(stream)})
        if store is None or zone is None:
            return None
        return StoreIdentity(id=store["id"], epoch=store["epoch"], zone=zone["zone"], adopted=tuple(store["adopted"]))

    async def renew(self) -> str:
        """Set another epoch."""
        epoch = uuid.uuid4().hex
        await self._update({"$set": {"epoch": epoch}})
        return epoch

    async def adopt(self, id: str) -> None:
        """Add an id to those that are accepted."""
        await self._update({"$addToSet": {"adopted": id}})

    async def _update(self, change: dict[str, Any]) -> None:
        with translated("change the store's identity"):
            done = await self._documents.update_one({"_id": _STORE}, change)
        if not done.matched_count:
            raise StoreDataError("the store has no identity yet: nothing was ever stored in it")


def _zone_id(stream: str) -> str:
    return f"zone:{stream}"
