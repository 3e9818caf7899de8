"""Events of a store, sent as they were received: how a store that nobody shares is brought home."""

from collections.abc import Iterator, Sequence

from feeds.feed import Outlet
from feeds.files import MOST_REQUEST_BYTES
from store.protocol import EventQuery, Store, StoredEvent

#: Events read from the store at once.
_PAGE_EVENTS = 500


async def send_stored(outlet: Outlet, store: Store, stream: str, *, batch: int) -> int:
    """Send all events of a stream, page by page; the store is only read.

    What is stored while this runs may be left out: whoever writes to the store has to be stopped before.

    Arguments:
        batch: events in a request, at most.
    Returns how many were handed to the outlet: all of them, unless it was stopped. Raises StoreError.
    """
    sent, after = 0, None
    while page := await store.events(stream, EventQuery(after=after, limit=_PAGE_EVENTS)):
        for request in _requests(page, batch):
            if not await outlet.submit(request):
                return sent
            sent += len(request)
        after = page[-1].id
    return sent


def _requests(page: Sequence[StoredEvent], batch: int) -> Iterator[list[bytes]]:
    """The bodies of a page, as many in a request as may be."""
    request: list[bytes] = []
    weight = 0
    for event in page:
        if request and (len(request) >= batch or weight + len(event.body) > MOST_REQUEST_BYTES):
            yield request
            request, weight = [], 0
        request.append(event.body)
        weight += len(event.body)
    yield request
