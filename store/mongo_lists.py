"""Lists of the store on MongoDB, page by page, newest first.

The place of the last item of the page before cuts what is behind it into stretches (for events: the same second of the
same day, earlier that day, the days before). Each is one range of an index, read backwards until the page is full; one
condition for all of them would make MongoDB read its way to the place again for every page. A server that reads all of
a collection whatever it is asked (`at_once`) gets just that one condition.

An event that an earlier release stored without a time comes last of its day, where MongoDB sorts what is not there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo import DESCENDING

from store.mongo_client import Collection, Cursor
from store.protocol import PAGE_BYTES, EventQuery, Page, RejectedQuery, StoredEvent

#: The orders of lists, each from last to first; the ends of their indexes.
EVENT_ORDER = ("day", "time", "_id")
REJECTED_ORDER = ("first_seen", "_id")
_Conditions = dict[str, Any]


async def event_page(
    events: Collection, query: EventQuery, read: Callable[[Mapping[str, Any]], StoredEvent], *, at_once: bool
) -> Page[StoredEvent]:
    """A page of events. Raises what the driver raises.

    Arguments:
        read: an event of its document.
    """
    asked: _Conditions = dict(query.keys)
    if query.day is not None:
        asked["day"] = query.day
    said: _Conditions = {}
    if query.category is not None:
        said["categories"] = query.category
    if amount := _range(query.at_least, query.at_most, "$lte"):
        said["amount"] = amount
    if said:  # where the document does not say, its body does
        asked["$or"] = [said, {"time": None}]
    stretches: list[_Conditions] = [{}]
    if query.after is not None:
        place = await events.find_one({"_id": query.after}, dict.fromkeys(EVENT_ORDER, True))
        stretches = _behind_event(place)
        if place and query.day is not None:  # a stretch of other days would be read in vain
            stretches = stretches[:-1] if query.day == place["day"] else stretches[-1:]
    if at_once:
        stretches = _joined(stretches)
    found, size = Page[StoredEvent](), 0
    for stretch in stretches:
        cursor = _sorted(events, asked, stretch, EVENT_ORDER)
        wanted = query.limit + 1 - len(found)  # one more than fits tells that there is more
        if said:
            cursor.batch_size(max(2, wanted))  # 1 would end it there
        else:
            cursor.limit(wanted)
        try:
            async for document in cursor:
                event = read(document)
                if said and not _meets(event, query):
                    continue
                size += len(event.body)
                if found and (len(found) == query.limit or size > PAGE_BYTES):
                    found.more = True
                    return found
                found.append(event)
        finally:
            await cursor.close()
    return found


def _meets(event: StoredEvent, query: EventQuery) -> bool:
    """Whether an event is one of those asked for, by what it comes to and what it is of."""
    return (
        (query.category is None or query.category in event.categories)
        and (query.at_least is None or event.amount >= query.at_least)
        and (query.at_most is None or event.amount <= query.at_most)
    )


async def rejected_page(
    rejected: Collection, stream: str, query: RejectedQuery, *, at_once: bool
) -> list[dict[str, Any]]:
    """Documents of a page of what a stream rejected, without their bodies. Raises what the driver raises."""
    asked: _Conditions = {"stream": stream}
    if query.reason is not None:
        asked["reason"] = query.reason
    if seen := _range(query.since, query.before, "$lt"):
        asked["first_seen"] = seen
    stretches: list[_Conditions] = [{}]
    if query.after is not None:
        place = await rejected.find_one({"_id": query.after}, {"stream": True, **dict.fromkeys(REJECTED_ORDER, True)})
        stretches = _behind(place if place and place["stream"] == stream else None, REJECTED_ORDER)
    found: list[dict[str, Any]] = []
    for stretch in _joined(stretches) if at_once else stretches:
        if len(found) < query.limit:  # to ask for a limit of 0 is to ask for all
            cursor = _sorted(rejected, asked, stretch, REJECTED_ORDER, {"body": False})
            found += await cursor.limit(query.limit - len(found)).to_list(None)
    return found


def _range(low: float | None, high: float | None, below: str) -> _Conditions:
    return {name: value for name, value in (("$gte", low), (below, high)) if value is not None}


def _behind(place: _Conditions | None, order: Sequence[str]) -> list[_Conditions]:
    """The stretches behind a place: equal to it in all but the last of the order and below it there, and so on."""
    if place is None:
        return []
    return [
        {**{name: place[name] for name in order[:count]}, order[count]: {"$lt": place[order[count]]}}
        for count in reversed(range(len(order)))
    ]


def _behind_event(place: _Conditions | None) -> list[_Conditions]:
    """The stretches behind an event: those of `_behind`, and what has no time before the days before."""
    if place is None:
        return []
    first, earlier, before = _behind({"time": None, **place}, EVENT_ORDER)
    if "time" not in place:
        return [first, before]
    return [first, earlier, {"day": place["day"], "time": None}, before]


def _joined(stretches: list[_Conditions]) -> list[_Conditions]:
    return [{"$or": stretches}] if len(stretches) > 1 else stretches


def _sorted(
    items: Collection,
    asked: _Conditions,
    stretch: _Conditions,
    order: Sequence[str],
    fields: Mapping[str, bool] | None = None,
) -> Cursor:
    found = items.find({"$and": [asked, stretch]} if stretch else asked, fields)
    return found.sort([(name, DESCENDING) for name in order])
