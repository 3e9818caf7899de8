"""The driver's errors, translated."""

import pytest
from bson.errors import InvalidBSON, InvalidDocument, InvalidStringData
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    ExecutionTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WriteError,
)

from store.errors import (
    StoreDataError,
    StoreError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from store.mongo_client import translated


def bulk(*codes: int, concern: bool = False) -> BulkWriteError:
    """A bulk write that failed with these codes, one for each document."""
    errors = [{"index": index, "code": code, "errmsg": f"no {code}"} for index, code in enumerate(codes)]
    concerns = [{"errmsg": "waiting for replication timed out"}] if concern else []
    return BulkWriteError({"writeErrors": errors, "writeConcernErrors": concerns})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        # for good
        (DocumentTooLarge("BSON document too large"), StoreRefusedError),
        (InvalidDocument("cannot encode object"), StoreRefusedError),
        (InvalidStringData("not text"), StoreRefusedError),
        (OverflowError("up to 8-byte ints"), StoreRefusedError),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), StoreRefusedError),
        (OperationFailure("object to insert too large", 10334), StoreRefusedError),
        (WriteError("resulting document after update is larger than 16777216", 17419), StoreRefusedError),
        (WriteError("document to upsert is larger than 16777216", 17420), StoreRefusedError),
        (bulk(10334), StoreRefusedError),
        (bulk(2), StoreRefusedError),  # FerretDB's word for a document that it does not take
        (bulk(11000, 52, 11000), StoreRefusedError),
        # may pass
        (bulk(11000), StoreError),
        (bulk(11000, 91), StoreError),
        (bulk(2, 91), StoreError),
        (bulk(2, concern=True), StoreError),
        (OperationFailure("bad value in a command of ours", 2), StoreError),
        (OperationFailure("not primary", 10107), StoreError),
        (OperationFailure("disk is full", 14031), StoreError),
        (WriteConcernError("waiting for replication timed out", 64), StoreError),
        (ExecutionTimeout("operation exceeded time limit", 50), StoreTimeoutError),
        (OperationFailure("[msg_find.go:344] interrupted (9)", 1), StoreTimeoutError),  # FerretDB's word for it
        (InvalidBSON("of an answer"), StoreDataError),
        (AutoReconnect("connection closed"), StoreUnavailableError),
        (ServerSelectionTimeoutError("nobody"), StoreUnavailableError),
    ],
)
def test_a_refusal_for_good_and_an_error_that_may_pass_are_different_classes(
    error: Exception, kind: type[StoreError]
) -> None:
    """A bulk write is refused for good only if its documents are the only reason."""
    with pytest.raises(StoreError, match="could not keep it") as raised, translated("keep it"):
        raise error
    assert type(raised.value) is kind


def test_a_refused_document_is_named_before_those_that_are_there_already() -> None:
    """Duplicates are no errors, and say nothing about the refusal."""
    with pytest.raises(StoreRefusedError, match=r"no 10334 \(code 10334\)"), translated("keep it"):
        raise bulk(11000, 10334)
