"""The Store protocol on MongoDB through Motor.

Works without transactions, change streams and TTL indexes, so it also runs on FerretDB. What decides anything is
always a unique key: an event's `_id` who owns it, a ledger entry's `_id` and (writer, seq) whether a frame was
counted, a head's `_id` (stream and version) who moved the checkpoint on. Conditional updates decide nothing:
FerretDB's are not atomic.

Not here: connections and errors (`store.mongo_client`), the documents' forms (`store.mongo_records`), lists page by
page (`store.mongo_lists`), how a checkpoint moves on (`store.mongo_checkpoints`), which store this is
(`store.mongo_identity`), and what was rejected (`store.mongo_rejected`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import structlog
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from analytics import DayTally
from store.chunks import chunks
from store.errors import StoreError, StoreMissingError, StoreRefusedError
from store.mongo_checkpoints import CHECKPOINTS, DAYS, MongoCheckpoints
from store.mongo_client import (
    CONTENT_CODES,
    DUPLICATE_KEY,
    TOO_LARGE_CODES,
    Collection,
    collection,
    id_taken,
    open_client,
    translated,
    write_errors,
)
from store.mongo_identity import IDENTITY, MongoIdentity
from store.mongo_lists import EVENT_ORDER, REJECTED_ORDER, event_page
from store.mongo_records import (
    RESERVED_NAMES,
    EventRecord,
    event_record,
    ledger_document,
    ledger_entry,
    raw_record,
    stamped,
    stored_event,
)
from store.mongo_rejected import REJECTED, STEPS, MongoRejected
from store.protocol import (
    LEDGER_BYTES,
    LEDGER_LIMIT,
    EncodedEvent,
    EventQuery,
    Head,
    LedgerEntry,
    Owner,
    Page,
    Rejected,
    RejectedQuery,
    RejectedStep,
    RejectedSummary,
    StoredEvent,
    StoreIdentity,
    seal_id,
)
from streams.base import Event, Stream

log = structlog.get_logger()

LEDGER = "ledger"
#: Look-ups of one `_id` that run side by side.
_LOOK_UPS = 25
#: FerretDB 1.24 handles bulks of 100 at a time and an ordered one goes on with the next 100 after an error.
_APPEND_BULK = 100
#: Conditions in one `$or`: each is an index range on MongoDB; FerretDB tries them all on every document.
_OR_CHUNK = 100
_SCAN_BATCH = 500
#: Documents in one query of a scan, in the order of their ids.
_SCAN_PAGE = 5_000
_INDEX_ATTEMPTS = 5
#: The first entry of a writer, which says whether the writer is closed.
_FIRST = {"seq": 1}
#: An index of those alone.
_OF_FIRST: dict[str, Any] = {"partialFilterExpression": _FIRST}


class MongoStore:
    """A store in one MongoDB database. Made by `store.connect`.

    Collections: one per stream, by its name, for events; `ledger`, `checkpoints`, `days`, `rejected`,
    `rejected_steps` and `identity` for all streams. Every write waits for a majority and the journal, every read sees
    what a majority has; every call has a time limit.
    """

    def __init__(
        self, client: AsyncIOMotorClient[dict[str, Any]], database: str, streams: Iterable[Stream] = ()
    ) -> None:
        self._client = client
        self._streams = {stream.name: stream for stream in streams}
        self._database = client[database]
        self._checkpoints = MongoCheckpoints(self._database)
        self._identity = MongoIdentity(self._database)
        self._rejected = MongoRejected(self._database)
        self._scans_filters: bool | None = None

    @classmethod
    def open(cls, url: str, streams: Iterable[Stream] = ()) -> "MongoStore":
        """A store for a URL; it connects at its first call. Raises ConfigurationError."""
        return cls(*open_client(url), streams)

    async def check_made(self) -> None:
        """Raise StoreMissingError, with the store closed, if the database was never prepared."""
        try:
            with translated("look into the store"):
                found = await self._database.list_collection_names(authorizedCollections=True)
            if LEDGER not in found:
                raise StoreMissingError(f"the database {self._database.name} of this MongoDB server holds no store")
        except BaseException:
            await self.close()
            raise

    def _collection(self, name: str) -> Collection:
        return collection(self._database, name)

    async def prepare(self, stream: str, key_names: Sequence[str]) -> None:
        """Make the indexes of a stream and of the shared collections; see the protocol.

        Events and rejected items are indexed in the order of lists: events of all days and for each key, rejected
        items of a stream and for each reason.
        """
        if stream in (LEDGER, CHECKPOINTS, DAYS, IDENTITY, REJECTED, STEPS) or RESERVED_NAMES & set(key_names):
            raise ValueError(f"a stream's name or key name is taken by the store itself: {stream}, {key_names}")
        indexes = {LEDGER: [_index("stream", "writer", "seq", unique=True)]}
        with translated("prepare the store"):
            scans = await self._scans()
        if not scans:
            # Indexes for reading; FerretDB would keep them up to date (a third of an insert's time) and never use them.
            # Of the first entries of writers alone, so that the open ones are found without the history.
            indexes[LEDGER] += [_index("stream", "kept", "at"), _index("stream", "closed", **_OF_FIRST)]
            indexes[CHECKPOINTS] = [_index("stream", "version")]
            indexes[DAYS] = [_index("stream", "at")]
            indexes[REJECTED] = [_index("stream", *REJECTED_ORDER), _index("stream", "reason", *REJECTED_ORDER)]
            indexes[STEPS] = [_index("item"), _index("stream", "item")]
            indexes[stream] = [_index(*EVENT_ORDER), *(_index(name, *EVENT_ORDER) for name in key_names)]
        for name, models in indexes.items():
            await self._make_indexes(name, models)

    async def identify(self, stream: str, zone: str) -> StoreIdentity:
        """Which store this is; see the protocol."""
        return await self._identity.identify(stream, zone)

    async def identity(self, stream: str) -> StoreIdentity | None:
        """Which store this is, if it is any yet."""
        return await self._identity.identity(stream)

    async def renew(self) -> str:
        """A new epoch; see the protocol."""
        return await self._identity.renew()

    async def adopt(self, id: str) -> None:
        """Accept another store's frames; see the protocol."""
        await self._identity.adopt(id)

    async def _make_indexes(self, name: str, models: Sequence[IndexModel]) -> None:
        """Make the indexes that are missing, again where another process got in the way (FerretDB then hangs up)."""
        for attempt in range(1, _INDEX_ATTEMPTS + 1):
            try:
                with translated(f"make the indexes of {name}"):
                    # FerretDB hangs up also when it is asked for one that is there among others that are not.
                    there = await self._collection(name).index_information()
                    missing = [model for model in models if model.document["name"] not in there]
                    if missing:
                        await self._collection(name).create_indexes(missing)
                return
            except StoreError as exc:
                if attempt == _INDEX_ATTEMPTS:
                    raise
                log.info("making indexes, trying again", collection=name, attempt=attempt, error=str(exc))
                await asyncio.sleep(random.uniform(0.1, 0.5) * attempt)

    # Events

    def encode(self, event: Event, frame: str) -> EncodedEvent:
        """Encode an event to BSON, all but the time it is stored at."""
        return EncodedEvent(id=event.id, record=event_record(event, frame))

    async def insert_events(self, stream: str, events: Sequence[EncodedEvent], stored: float) -> set[int]:
        """Insert what is not there, unordered; see the protocol."""
        records: list[EventRecord] = [event.record for event in events]
        taken, refused = await self._insert(stream, records, stored)
        if refused:
            again = [raw_record(records[index].event, records[index].frame) for index in refused]
            log.info("documents that the server does not take are stored as text", stream=stream, events=len(again))
            still_taken, still_refused = await self._insert(stream, again, stored)
            if still_refused:
                raise StoreRefusedError(
                    f"could not store an event of {stream}: the server takes neither document nor line"
                )
            taken |= {refused[index] for index in still_taken}
        return taken

    async def _insert(self, stream: str, records: Sequence[EventRecord], stored: float) -> tuple[set[int], list[int]]:
        """Insert records; the indexes whose id was taken, and of those that the server refused for their content."""
        if not records:
            return set(), []
        with translated(f"store {len(records)} events of {stream}"):
            try:
                await self._collection(stream).insert_many(
                    [stamped(record, stored) for record in records], ordered=False
                )
            except BulkWriteError as exc:
                errors = write_errors(exc)
                if any(
                    not id_taken(error) and error["code"] not in CONTENT_CODES | TOO_LARGE_CODES for error in errors
                ):
                    raise
                taken = {error["index"] for error in errors if id_taken(error)}
                return taken, [error["index"] for error in errors if error["index"] not in taken]
        return set(), []

    async def owners(self, stream: str, ids: Sequence[str]) -> dict[str, Owner]:
        """Owners by id; a few at a time by single look-ups, many by one query where that uses the index."""
        wanted, fields = list(dict.fromkeys(ids)), {"frame": True, "hash": True}
        events = self._collection(stream)
        with translated(f"read the owners of {len(wanted)} events of {stream}"):
            found: list[dict[str, Any]] = []
            if len(wanted) > _LOOK_UPS and not await self._scans():
                for chunk in chunks(wanted, len(wanted)):
                    found += await events.find({"_id": {"$in": chunk}}, fields).to_list(None)
            else:
                for chunk in chunks(wanted, _LOOK_UPS):
                    answers = await asyncio.gather(*(events.find_one({"_id": one}, fields) for one in chunk))
                    found += [one for one in answers if one is not None]
        return {one["_id"]: Owner(one["frame"], one["hash"]) for one in found}

    async def event(self, stream: str, id: str) -> StoredEvent | None:
        """One stored event."""
        with translated(f"read an event of {stream}"):
            found = await self._collection(stream).find_one({"_id": id})
        return None if found is None else self._read(stream)(found)

    async def events(self, stream: str, query: EventQuery) -> Page[StoredEvent]:
        """A page of stored events."""
        with translated(f"list events of {stream}"):
            at_once = await self._scans()
            return await event_page(self._collection(stream), query, self._read(stream), at_once=at_once)

    async def scan_events(self, stream: str) -> AsyncIterator[StoredEvent]:
        """All stored events, in no order."""
        read = self._read(stream)
        async for document in self._scan(stream, {}):
            yield read(document)

    def _read(self, stream: str) -> Callable[[Mapping[str, Any]], StoredEvent]:
        return partial(stored_event, stream=self._streams.get(stream))

    # Ledger

    async def append(self, entries: Sequence[LedgerEntry]) -> int:
        """Append in order up to the first that is taken; see the protocol."""
        done = 0
        for start in range(0, len(entries), _APPEND_BULK):
            with translated(f"append {len(entries)} ledger entries"):
                documents = [ledger_document(entry) for entry in entries[start : start + _APPEND_BULK]]
                try:
                    await self._collection(LEDGER).insert_many(documents, ordered=True)
                except BulkWriteError as exc:
                    errors = write_errors(exc)
                    if any(error["code"] != DUPLICATE_KEY for error in errors):
                        raise
                    return done + min(int(error["index"]) for error in errors)
            done += len(documents)
        return done

    async def entry(self, stream: str, frame: str) -> LedgerEntry | None:
        """The ledger entry of a frame."""
        with translated("read a ledger entry"):
            found = await self._collection(LEDGER).find_one({"_id": frame})
        return None if found is None or found["stream"] != stream else ledger_entry(found, lenient=True)

    async def ledger_after(
        self,
        stream: str,
        offsets: Mapping[str, int],
        *,
        limit: int = LEDGER_LIMIT,
        max_bytes: int = LEDGER_BYTES,
    ) -> Page[LedgerEntry]:
        """Entries past the offsets, by the ways that the server is good at."""
        page = _Page(limit, max_bytes)
        with translated(f"read the ledger of {stream}"):
            scans = await self._scans()
            more = await (self._scan_after if scans else self._seek_after)(stream, offsets, page)
        return Page([ledger_entry(document) for document in page.documents], more=more)

    async def _writers(self, wanted: Mapping[str, Any]) -> list[str]:
        """The writers of ledger entries; not by `distinct`, for which FerretDB takes no time limit."""
        stages: list[Mapping[str, Any]] = [{"$match": wanted}, {"$group": {"_id": "$writer"}}]
        return [one["_id"] async for one in self._collection(LEDGER).aggregate(stages)]

    async def _seek_after(self, stream: str, offsets: Mapping[str, int], page: "_Page") -> bool:
        """Jump to the tails of the writers that are open, and of those that are being read; whether there is more."""
        ledger = self._collection(LEDGER)
        writers = {*await self._writers({"stream": stream, **_FIRST, "closed": None}), *offsets}
        for chunk in chunks(sorted(writers), _OR_CHUNK):
            ranges = [{"stream": stream, "writer": one, "seq": {"$gt": offsets.get(one, 0)}} for one in chunk]
            tails = ledger.find({"$or": ranges}, batch_size=_SCAN_BATCH, limit=page.room + 1).sort(
                [("writer", ASCENDING), ("seq", ASCENDING)]
            )
            async for document in tails:
                if not page.take(document):
                    await tails.close()
                    return True
        return False

    async def _scan_after(self, stream: str, offsets: Mapping[str, int], page: "_Page") -> bool:
        """Read the ledger once; the server leaves out what it can tell from a few conditions."""
        conditions: dict[str, Any] = {"stream": stream}
        if len(offsets) <= _OR_CHUNK:
            ranges = [{"writer": one, "seq": {"$gt": offset}} for one, offset in offsets.items()]
            conditions["$or"] = [*ranges, {"writer": {"$nin": [*offsets]}}]
        found = await self._collection(LEDGER).find(conditions, batch_size=_SCAN_BATCH).to_list(None)
        listed = {one["writer"] for one in found if one["seq"] == 1 and "closed" not in one} | offsets.keys()
        found = [one for one in found if one["writer"] in listed and one["seq"] > offsets.get(one["writer"], 0)]
        found.sort(key=lambda document: (document["writer"], document["seq"]))
        return not all(page.take(document) for document in found)

    async def close_writers(self, stream: str, writers: Iterable[str]) -> None:
        """Mark their first entries. A first entry without a mark is open, whichever release wrote it."""
        ledger = self._collection(LEDGER)
        with translated(f"close writers of {stream}"):
            for chunk in chunks(sorted(writers), _OR_CHUNK):
                first = {"stream": stream, **_FIRST, "writer": {"$in": chunk}}
                await ledger.update_many(first, {"$set": {"closed": True}})

    async def scan_ledger(self, stream: str, since: float = 0.0) -> AsyncIterator[LedgerEntry]:
        """All ledger entries since a time, in no order."""
        wanted = {"stream": stream, "at": {"$gte": since}} if since else {"stream": stream}
        async for document in self._scan(LEDGER, wanted):
            yield ledger_entry(document)

    async def tallies_dropped_until(self, stream: str) -> float:
        """When the newest entry without its tally was appended."""
        with translated(f"read the ledger of {stream}"):
            dropped = self._collection(LEDGER).find({"stream": stream, "kept": False}, {"at": True})
            found = await dropped.sort("at", DESCENDING).limit(1).to_list(1)
        return float(found[0]["at"]) if found else 0.0

    # Checkpoints

    async def head(self, stream: str) -> Head | None:
        """The newest version of the stream's head."""
        return await self._checkpoints.head(stream)

    async def write_day(self, stream: str, day: str, tally: DayTally, version: int) -> str:
        """Write a new day document."""
        return await self._checkpoints.write_day(stream, day, tally, version)

    async def read_day(self, stream: str, document: str) -> DayTally | None:
        """Read a day document."""
        return await self._checkpoints.read_day(stream, document)

    async def write_month(self, stream: str, month: str, days: Mapping[str, str], version: int) -> str:
        """Write a new month document."""
        return await self._checkpoints.write_month(stream, month, days, version)

    async def read_month(self, stream: str, document: str) -> dict[str, str] | None:
        """Read a month document."""
        return await self._checkpoints.read_month(stream, document)

    async def swap_head(self, head: Head) -> bool:
        """Move the head on by one version; see the protocol."""
        return await self._checkpoints.swap_head(head)

    async def tidy(self, head: Head, *, named: AbstractSet[str], tallies_before: float, days_before: float) -> None:
        """Drop old tallies, documents of days and months, and heads; see the protocol."""
        ledger, old = self._collection(LEDGER), {"stream": head.stream, "kept": True, "at": {"$lt": tallies_before}}
        with translated(f"drop what {head.stream} no longer needs"):
            merged = []
            for writer in await self._writers(old):
                if writer in head.offsets:
                    merged.append({"writer": writer, "seq": {"$lte": head.offsets[writer]}})
                elif await self._is_closed(head.stream, writer):
                    merged.append({"writer": writer})
            for start in range(0, len(merged), _OR_CHUNK):
                some = {**old, "$or": merged[start : start + _OR_CHUNK]}
                await ledger.update_many(some, {"$set": {"tally": None, "kept": False}})
        await self._checkpoints.tidy(head, named, days_before)

    async def _is_closed(self, stream: str, writer: str) -> bool:
        """Whether a writer is sealed, and its first entry says that it is closed: all of it is folded."""
        ledger = self._collection(LEDGER)
        if await ledger.find_one({"_id": seal_id(writer)}, {"_id": True}) is None:
            return False
        first = await ledger.find_one({"stream": stream, "writer": writer, **_FIRST}, {"closed": True})
        return first is not None and "closed" in first

    # Rejected

    async def reject(self, items: Sequence[Rejected]) -> None:
        """Insert what is not there yet, and note what is rejected again; see the protocol."""
        await self._rejected.reject(items)

    async def note(self, steps: Sequence[RejectedStep]) -> None:
        """Insert what is not there yet."""
        await self._rejected.note(steps)

    async def rejected(self, stream: str, query: RejectedQuery) -> Page[RejectedSummary]:
        """A page of rejected items."""
        with translated(f"list what {stream} rejected"):
            at_once = await self._scans()
        return await self._rejected.page(stream, query, at_once=at_once)

    async def rejected_item(self, stream: str, id: str) -> Rejected | None:
        """One rejected item."""
        return await self._rejected.item(stream, id)

    async def rejected_count(self, stream: str, status: str | None = None) -> dict[str, int]:
        """Rejected items by reason."""
        return await self._rejected.count(stream, status)

    # The connection

    async def ping(self) -> None:
        """Ask the server something that it has to answer."""
        with translated("reach the store"):
            await self._client.admin.command("ping")

    async def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def _scans(self) -> bool:
        """Whether the server scans for every filter but one `_id`: FerretDB 1 does."""
        if self._scans_filters is None:
            self._scans_filters = "ferretdbVersion" in await self._client.admin.command("buildInfo")
        return self._scans_filters

    async def _scan(self, name: str, filter: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """All documents, by queries of which each has a time limit; a server that scans anyway is asked once."""
        with translated(f"read all of {name}"):
            if await self._scans():
                async for document in self._collection(name).find(filter, batch_size=_SCAN_BATCH, max_time_ms=None):
                    yield document
                return
            place: Mapping[str, Any] = {}
            read = _SCAN_PAGE
            while read == _SCAN_PAGE:
                read = 0
                async for document in self._collection(name).find({**filter, **place}).sort("_id").limit(_SCAN_PAGE):
                    read += 1
                    place = {"_id": {"$gt": document["_id"]}}
                    yield document


class _Page:
    """Documents of the ledger up to a number and a size."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.documents: list[dict[str, Any]] = []
        self.room = limit
        self._bytes = max_bytes

    def take(self, document: dict[str, Any]) -> bool:
        """Take one if there is room for it; the first always."""
        size = len(document["tally"] or "")
        if self.documents and (self.room <= 0 or size > self._bytes):
            return False
        self.documents.append(document)
        self.room -= 1
        self._bytes -= size
        return True


def _index(*names: str, **options: Any) -> IndexModel:
    return IndexModel([(name, ASCENDING) for name in names], **options)
