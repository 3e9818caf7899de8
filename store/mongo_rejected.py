"""Rejected items in MongoDB, and what happened to each of them.

Both are only ever inserted: an item and a step each have a `_id` that says what they are, so doing it twice changes
nothing, and what an item's status is follows from its steps. Updates would not do: FerretDB's are not atomic, and a
worker may reject an item again at the very moment at which a person notes that it was replayed.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import ASCENDING
from pymongo.errors import BulkWriteError

from store.chunks import chunks
from store.mongo_client import collection, id_taken, translated, write_errors
from store.mongo_lists import rejected_page
from store.mongo_records import rejected_document, rejected_of, rejected_summary, step_document, step_of
from store.protocol import Page, Rejected, RejectedQuery, RejectedStep, RejectedSummary

REJECTED, STEPS = "rejected", "rejected_steps"
#: Items that are read at once where most of them may be of another status than the one asked for.
_FILTERED_AT_ONCE = 200
#: Ids in one query.
_IDS = 1000
#: Look-ups of one `_id` that run side by side.
_LOOK_UPS = 25


class MongoRejected:
    """The part of the Store protocol that is about what was rejected."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._items = collection(database, REJECTED)
        self._steps = collection(database, STEPS)

    async def reject(self, items: Sequence[Rejected]) -> None:
        """Insert what is not there yet, and note what is rejected again; see the protocol."""
        if not items:
            return
        with translated(f"keep {len(items)} rejected items"):
            taken = await self._insert(self._items, [rejected_document(one) for one in items])
            again = [items[index] for index in taken]
            first: dict[str, str] = {}
            for start in range(0, len(again), _LOOK_UPS):
                some = again[start : start + _LOOK_UPS]
                found = await asyncio.gather(*(self._items.find_one({"_id": one.id}, {"source": True}) for one in some))
                first.update({one["_id"]: one["source"] for one in found if one is not None})
        await self.note(
            [
                RejectedStep(item=one.id, stream=one.stream, what="again", at=one.first_seen, frame=one.source)
                for one in again
                if one.source != first.get(one.id)
            ]
        )

    async def note(self, steps: Sequence[RejectedStep]) -> None:
        """Insert what is not there yet."""
        if steps:
            with translated(f"note what happened to {len(steps)} rejected items"):
                await self._insert(self._steps, [step_document(one) for one in steps])

    async def _insert(self, into: Any, documents: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert, unordered; the indexes of those whose `_id` was taken."""
        try:
            await into.insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            errors = write_errors(exc)
            if any(not id_taken(error) for error in errors):
                raise
            return sorted(int(error["index"]) for error in errors)
        return []

    async def page(self, stream: str, query: RejectedQuery, *, at_once: bool) -> Page[RejectedSummary]:
        """A page of rejected items; `at_once` as in `store.mongo_lists`."""
        found = Page[RejectedSummary]()
        asked = dataclasses.replace(query, status=None)
        while True:
            limit = query.limit + 1 - len(found)  # one more than fits tells that there is more
            if query.status is not None:
                limit = max(limit, _FILTERED_AT_ONCE)
            with translated(f"list what {stream} rejected"):
                documents = await rejected_page(
                    self._items, stream, dataclasses.replace(asked, limit=limit), at_once=at_once
                )
            for item in await self._summaries(documents):
                if query.status not in (None, item.status):
                    continue
                if len(found) == query.limit:
                    found.more = True
                    return found
                found.append(item)
            if len(documents) < limit:
                return found
            asked = dataclasses.replace(asked, after=documents[-1]["_id"])

    async def item(self, stream: str, id: str) -> Rejected | None:
        """One rejected item."""
        with translated(f"read an item that {stream} rejected"):
            found = await self._items.find_one({"_id": id})
        if found is None or found["stream"] != stream:
            return None
        steps = await self._steps_of([id])
        return rejected_of(found, steps[id])

    async def _summaries(self, documents: Sequence[Mapping[str, Any]]) -> list[RejectedSummary]:
        """Items of documents without bodies, with their steps."""
        steps = await self._steps_of([document["_id"] for document in documents])
        return [rejected_summary(one, await self._size(one), steps[one["_id"]]) for one in documents]

    async def _size(self, document: Mapping[str, Any]) -> int:
        """The number of an item's bytes; documents of an earlier release do not say it, and are read one at a time."""
        if "size" in document:
            return int(document["size"])
        with translated("read a rejected item"):
            found = await self._items.find_one({"_id": document["_id"]}, {"body": True})
        return len(found["body"]) if found else 0

    async def _steps_of(self, ids: Sequence[str]) -> Mapping[str, list[RejectedStep]]:
        """What happened to items, oldest first, by their ids."""
        steps: dict[str, list[RejectedStep]] = {id: [] for id in ids}
        with translated("read what happened to rejected items"):
            for chunk in chunks(ids, _IDS):
                async for one in self._steps.find({"item": {"$in": chunk}}):
                    steps[one["item"]].append(step_of(one))
        for each in steps.values():
            each.sort(key=lambda step: (step.at, step.what, step.frame))
        return steps

    async def count(self, stream: str, status: str | None) -> dict[str, int]:
        """Rejected items by reason."""
        stages: list[Mapping[str, Any]] = [
            {"$match": {"stream": stream}},
            {"$group": {"_id": "$reason", "items": {"$sum": 1}}},
        ]
        with translated(f"count what {stream} rejected"):
            found = await self._items.aggregate(stages).to_list(None)
        every = {one["_id"]: int(one["items"]) for one in found}
        if status is None or not every:
            return every
        # Most items are open: that of the others is counted, and what is left is open.
        counts = {"open": every, "replayed": dict[str, int](), "discarded": dict[str, int]()}
        async for items in self._handled(stream):
            for item in items:
                if item.status != "open":
                    counts["open"][item.reason] -= 1
                    mine = counts[item.status]
                    mine[item.reason] = mine.get(item.reason, 0) + 1
        return {reason: items for reason, items in counts[status].items() if items > 0}

    async def _handled(self, stream: str) -> AsyncIterator[list[RejectedSummary]]:
        """The items that anything happened to, some at a time."""
        waiting: list[str] = []
        with translated(f"count what {stream} rejected"):
            async for one in self._steps.find({"stream": stream}, {"item": True}).sort("item", ASCENDING):
                if not waiting or waiting[-1] != one["item"]:
                    if len(waiting) == _IDS:
                        yield await self._read(waiting)
                        waiting = []
                    waiting.append(one["item"])
        if waiting:
            yield await self._read(waiting)

    async def _read(self, ids: Sequence[str]) -> list[RejectedSummary]:
        with translated("read rejected items"):
            documents = [
                {"size": 0, **one}  # nobody asks for it
                for chunk in chunks(ids, _IDS)
                for one in await self._items.find({"_id": {"$in": chunk}}, {"body": False}).to_list(None)
            ]
        return await self._summaries(documents)
