"""Connections to MongoDB: time limits, write and read concerns, and the driver's errors translated.

Not here: what is read and written, see `store.mongo`.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError, InvalidDocument, InvalidStringData
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorCursor, AsyncIOMotorDatabase
from pymongo import ReadPreference
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from runtime.addresses import split_address
from runtime.tls import tls_words
from store.address import database_of
from store.errors import (
    StoreDataError,
    StoreError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from streams.errors import ConfigurationError

#: Code of MongoDB's duplicate key error.
DUPLICATE_KEY = 11000
#: Per-document refusals that come from the document's content (BadValue, FailedToParse, Overflow, InvalidBSON,
#: DollarPrefixedFieldName, InvalidIdField, EmptyFieldName, DottedFieldName, and an `_id` too long for its index).
CONTENT_CODES = frozenset({2, 9, 15, 22, 52, 53, 56, 57, 17280})
#: A document that is too large, or would be after an update or upsert.
TOO_LARGE_CODES = frozenset({10334, 17419, 17420})
#: What the driver raises for values that have no BSON form; a document that is too large is an InvalidDocument.
_NOT_ENCODED = (InvalidDocument, InvalidStringData, OverflowError, UnicodeEncodeError)
#: How much of a server's own words goes into an error's text; the whole is in its cause.
_MESSAGE_CHARACTERS = 300
#: What the server may take for one query: less than callers wait, so that it does not work for nobody.
READ_LIMIT_MS = 25_000
#: FerretDB's word for a query that its time limit ended in the middle (code 1, from its SQLite).
_INTERRUPTED = "interrupted (9)"
#: What a client is given unless the URL says otherwise: every call ends.
_LIMITS = {
    # Whoever asks over HTTP learns within two seconds that no server answers. Writers are patient by trying again.
    "serverselectiontimeoutms": 2_000,
    "connecttimeoutms": 2_000,
    # Long enough for a scan of a whole ledger on a slow server, short enough that a silent one is noticed.
    "sockettimeoutms": 30_000,
    "waitqueuetimeoutms": 30_000,
}
#: How long the server may wait for a majority before the write's outcome counts as unknown.
_WRITE_TIMEOUT_MS = 10_000
#: Of the driver's words about an unknown option, the part that cannot be a piece of a password.
_KNOWN_OPTIONS = re.compile(r"Did you mean one of \(([\w, ]+)\)")
_Client = AsyncIOMotorClient[dict[str, Any]]
Collection = AsyncIOMotorCollection[dict[str, Any]]
Cursor = AsyncIOMotorCursor[dict[str, Any]]


def open_client(url: str) -> tuple[_Client, str]:
    """A client for a URL, not yet connected, and the name of the database in it. Raises ConfigurationError.

    No server is asked for anything, a name server for `mongodb+srv` neither: the first call does that.
    """
    try:
        given = {name.lower() for name in split_address(url).options}
        limits: dict[str, Any] = {name: limit for name, limit in _LIMITS.items() if name not in given}
        with warnings.catch_warnings(action="error", category=UserWarning):  # else the driver passes over such options
            client: _Client = AsyncIOMotorClient(url, appname="tillstream", **limits)
        return client, database_of(url)
    except UserWarning as exc:
        known = _KNOWN_OPTIONS.search(str(exc))
        problem = (
            f"an unknown option; similar ones are {known[1]}" if known else "an option twice, or with a wrong value"
        )
        raise ConfigurationError(f"the store's MongoDB URL has {problem}") from None
    except (PyMongoError, ValueError) as exc:
        # Without its cause and its words: they may quote the part of the URL that they could not read.
        problem = type(exc).__name__
        raise ConfigurationError(f"the store's MongoDB URL cannot be used ({problem})") from None
    except OSError as exc:
        raise ConfigurationError(
            f"the store's MongoDB URL names a file that cannot be read: {exc.filename}: {exc.strerror}"
        ) from None


class TimedCollection(AsyncIOMotorCollection[dict[str, Any]]):
    """A collection whose queries end at the server after READ_LIMIT_MS, unless the caller gives another limit."""

    def find(self, *args: Any, **options: Any) -> Cursor:
        """As Motor's, with `max_time_ms`."""
        return super().find(*args, **{"max_time_ms": READ_LIMIT_MS, **options})

    def find_one(self, *args: Any, **options: Any) -> Any:
        """As Motor's, with `max_time_ms`."""
        return super().find_one(*args, **{"max_time_ms": READ_LIMIT_MS, **options})

    def aggregate(self, *args: Any, **options: Any) -> Any:
        """As Motor's, with `maxTimeMS`."""
        return super().aggregate(*args, **{"maxTimeMS": READ_LIMIT_MS, **options})


def collection(database: AsyncIOMotorDatabase[dict[str, Any]], name: str) -> TimedCollection:
    """A collection whose writes wait for a majority and its journals, and whose reads see what a majority has.

    Whatever the URL asks for: what was acknowledged must not be rolled back, and what is read must not be either.
    """
    return TimedCollection(
        database,  # type: ignore[arg-type]  # the stub asks for PyMongo's; Motor wraps its own
        name,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern(w="majority", j=True, wtimeout=_WRITE_TIMEOUT_MS),
    )


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn the driver's errors into StoreError's branches; `action` completes "could not …".

    StoreRefusedError if the same call can never succeed, StoreTimeoutError for a query that its time limit ended,
    StoreDataError for an answer that cannot be decoded, StoreUnavailableError if no server answers.
    """
    try:
        yield
    except DriverConfigurationError as exc:  # while the client is used: no name server knows the host of mongodb+srv
        raise StoreUnavailableError(f"could not {action}: {_shortened(str(exc))}") from exc
    except ServerSelectionTimeoutError as exc:
        trouble = tls_words(str(exc)) or "no MongoDB server answers"
        raise StoreUnavailableError(f"could not {action}: {trouble}") from exc
    except ConnectionFailure as exc:
        raise StoreUnavailableError(f"could not {action}: {_shortened(str(exc))}") from exc
    except BulkWriteError as exc:
        kind = StoreRefusedError if _refused_for_good(exc) else StoreError
        raise kind(f"could not {action}: {describe_bulk(exc)}") from exc
    except ExecutionTimeout as exc:
        raise _timeout(action) from exc
    except OperationFailure as exc:
        if _INTERRUPTED in str(exc):
            raise _timeout(action) from exc
        words = (exc.details or {}).get("errmsg") or "refused by the server"
        kind = StoreRefusedError if exc.code in TOO_LARGE_CODES else StoreError
        raise kind(f"could not {action}: {_shortened(str(words))} (code {exc.code})") from exc
    except PyMongoError as exc:
        raise StoreError(f"could not {action}: {_shortened(str(exc))}") from exc
    except _NOT_ENCODED as exc:
        raise StoreRefusedError(f"could not {action}: {_shortened(str(exc))}") from exc
    except BSONError as exc:
        raise StoreDataError(f"could not {action}: {_shortened(str(exc))}") from exc


def _timeout(action: str) -> StoreTimeoutError:
    return StoreTimeoutError(f"could not {action}: the query took too long: ask for less, such as one day")


def _refused_for_good(error: BulkWriteError) -> bool:
    """Whether a bulk write failed for its documents' content alone; anything else in it may pass."""
    details: dict[str, Any] = dict(error.details or {})
    if details.get("writeConcernErrors"):
        return False
    codes = {one.get("code") for one in details.get("writeErrors") or []} - {DUPLICATE_KEY}
    return bool(codes) and codes <= CONTENT_CODES | TOO_LARGE_CODES


def describe_bulk(error: BulkWriteError) -> str:
    """The first thing that went wrong in a bulk write, without the documents in it."""
    details: dict[str, Any] = dict(error.details or {})
    concerns, writes = details.get("writeConcernErrors") or [], details.get("writeErrors") or []
    if concerns:
        return f"write concern not met: {_shortened(str(concerns[0].get('errmsg')))}"
    if writes:
        first = min(writes, key=lambda one: one.get("code") == DUPLICATE_KEY)
        return f"{_shortened(str(first.get('errmsg')))} (code {first.get('code')})"
    return "bulk write failed"


def write_errors(error: BulkWriteError) -> list[dict[str, Any]]:
    """A bulk write's errors, one for each document. Raises StoreError for an unmet write concern."""
    details: dict[str, Any] = dict(error.details or {})
    if details.get("writeConcernErrors") or not details.get("writeErrors"):
        raise StoreError(f"a write's outcome is unknown: {describe_bulk(error)}") from error
    return list(details["writeErrors"])


def id_taken(error: Mapping[str, Any]) -> bool:
    """Whether a write error says that the `_id` is taken; not every server names the index."""
    return error["code"] == DUPLICATE_KEY and set(error.get("keyPattern") or {"_id": 1}) == {"_id"}


def _shortened(words: str) -> str:
    return words if len(words) <= _MESSAGE_CHARACTERS else words[:_MESSAGE_CHARACTERS] + "…"
