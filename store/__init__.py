"""Keeping events, the ledger, checkpoints and what was rejected.

- `store.protocol`: the `Store` protocol and the records that cross it
- `store.mongo`: MongoDB (or what speaks its protocol) through Motor; its rooms are `store.mongo_client` for
  connections and errors, `store.mongo_records` for documents, `store.mongo_lists` for lists, `store.mongo_checkpoints`
  for heads, days and months, `store.mongo_identity` for which store it is, `store.mongo_rejected` for what was rejected
- `store.embedded`: SQLite in one file, for one machine; `store.sqlite_thread` is its room for transactions, and
  `store.sqlite_tables` for tables and rows
- `store.codec`: tallies and heads as the text that both keep
- `store.chunks`: lists of ids cut into pieces that fit into a query
- `store.address`: which addresses name one
- `store.errors`: what can go wrong

`connect` is the one way in.
"""

from collections.abc import Iterable

from store.address import check_address
from store.errors import (
    StoreDataError,
    StoreError,
    StoreMissingError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from store.protocol import (
    EncodedEvent,
    EventQuery,
    Folded,
    Head,
    LedgerEntry,
    Owner,
    Page,
    Rejected,
    RejectedQuery,
    RejectedStep,
    RejectedSummary,
    Store,
    StoredEvent,
    StoreIdentity,
)
from streams.base import Stream
from streams.errors import ConfigurationError

__all__ = [
    "EncodedEvent",
    "EventQuery",
    "Folded",
    "Head",
    "LedgerEntry",
    "Owner",
    "Page",
    "Rejected",
    "RejectedQuery",
    "RejectedStep",
    "RejectedSummary",
    "Store",
    "StoreDataError",
    "StoreError",
    "StoreIdentity",
    "StoreMissingError",
    "StoreRefusedError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "StoredEvent",
    "connect",
]


async def connect(url: str, streams: Iterable[Stream] = (), *, create: bool = True) -> Store:
    """Open the store that a URL names; close it with `Store.close`.

    Arguments:
        url: `mongodb://[user:password@]host[:port]/database`, `mongodb+srv://…`, or `sqlite:PATH` (made if need be).
        streams: those whose events an earlier release may have stored with less than this one does; they say what is
            not there.
        create: make the file, and its folder, where it is not there; if not, nothing is made that was not there.

    Returns before a MongoDB server has answered: its first call, such as `prepare` or `ping`, shows whether it does.
    Only with `create=False` the server is asked whether the database holds a store.

    Raises:
        ConfigurationError: the URL names no store; its text never shows the URL, which may hold a password.
        StoreError: the SQLite file cannot be opened; with `create=False`, MongoDB does not answer.
        StoreMissingError: there is no store, with `create=False`.
    """
    try:
        scheme, _, rest = check_address(url).partition(":")
    except ValueError as exc:
        raise ConfigurationError(f"the store's address: expected {exc}") from None
    if scheme in ("mongodb", "mongodb+srv"):
        from store.mongo import MongoStore  # noqa: PLC0415 - the embedded store works without Motor's weight

        mongo = MongoStore.open(url, streams)
        if not create:
            await mongo.check_made()
        return mongo
    from store.embedded import EmbeddedStore  # noqa: PLC0415 - as above, the other way round

    return await EmbeddedStore.open(rest, create=create)
