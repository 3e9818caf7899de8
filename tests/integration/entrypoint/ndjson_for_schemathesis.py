"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): how to write lines of JSON, which it does not know by itself."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Text as it is, lists line by line, anything else as one line."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return b"\n".join(json.dumps(each).encode() for each in (value if isinstance(value, list) else [value]))
