"""Where the pages' numbers come from: one of each per server process, whoever is looking."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from dashboard.feed import Feed
from dashboard.history import History
from dashboard.stored import Stored
from store.protocol import Store
from streams.base import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is heard, what was read, and what may be asked.

    Attributes:
        feed, history: pages read their `latest` from the pages' own thread; whoever made them runs `feed.follow` and
            `history.keep` as tasks.
        stored: answers on the loop that it was made on.
    """

    feed: Feed
    history: History
    stored: Stored


def sources_of(store: Store, stream: Stream, registry: CollectorRegistry | None = None) -> Sources:
    """The sources of a stream's pages, made on the store's loop."""
    feed = Feed(stream.name, registry=registry)
    return Sources(feed=feed, history=History(store, stream, feed), stored=Stored(store, stream))
