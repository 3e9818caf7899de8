"""The description of the HTTP interface for programs: OpenAPI 3.1, served as /openapi.json.

Kept by hand beside the handlers; a test compares it with the routes and with what they answer.
"""

from typing import Any

import msgspec

from engine.quarantine import REASONS
from entrypoint.problems import (
    BROKER_BLOCKED,
    BROKER_FULL,
    BROKER_UNAVAILABLE,
    BROKER_UNKNOWN,
    EXPECTATION_FAILED,
    FOREIGN_ORIGIN,
    INTERNAL,
    INVALID_BODY,
    INVALID_EVENT,
    INVALID_QUERY,
    NOT_FOUND,
    OVERLOADED,
    STORE_UNAVAILABLE,
    TIMEOUT,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_HOST,
    UNSUPPORTED_TYPE,
    ProblemType,
)
from entrypoint.problems import CONTENT_TYPE as PROBLEM_TYPE
from store.protocol import REJECTED_STATUSES

#: Version of the interface, not of the package.
_VERSION = "1"

#: What may come of sending events.
_TAKING = (
    INVALID_EVENT,
    INVALID_BODY,
    UNAUTHORIZED,
    TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    EXPECTATION_FAILED,
    OVERLOADED,
    BROKER_FULL,
    BROKER_BLOCKED,
    BROKER_UNKNOWN,
    BROKER_UNAVAILABLE,
)

_RECEIPT_EXAMPLE = {
    "cashReceiptID": 40213,
    "storeID": 612,
    "terminalID": 3,
    "agentID": 7,
    "customerID": 85320,
    "date": "2026-11-18 11:06:40",
    "lines": [
        {
            "lineNumber": 1,
            "productCode": "00000017",
            "productDescription": "Baguette tradition",
            "productCategoryCode": "E",
            "productCategoryName": "Pain",
            "quantity": 2,
            "unitOfMeasure": "piece",
            "unitPrice": 1.14,
            "creditAmount": 2.28,
            "taxPercentage": 5.5,
            "settlementAmount": 2.41,
        }
    ],
    "documentTotal": {"taxPayable": 0.13, "netTotal": 2.28, "grossTotal": 2.41},
    "settlements": [{"settlementAmount": 2.41, "paymentMechanism": "CB"}],
}
_FRAME_EXAMPLE = "1f8a5f7c6f4e0d3b9a2c4e6f8091a2b3"
_ID_EXAMPLE = "612:3:2026-11-18 11:06:40:40213"

_REASON = {"type": "string", "enum": [*REASONS]}
_STATUS = {"type": "string", "enum": [*REJECTED_STATUSES]}

_IDENTIFIER = {
    "description": "An integer or a string; compared as strings.",
    "oneOf": [{"type": "integer", "format": "int64"}, {"type": "string", "minLength": 1, "maxLength": 128}],
}
_AMOUNT = {
    "description": "A decimal number from -10^9 to 10^9, exact to 1/10000; also taken as text. Negative is a return.",
    "oneOf": [{"type": "number", "minimum": -1e9, "maximum": 1e9}, {"type": "string"}],
}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = (), description: str = "") -> dict[str, Any]:
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    amount, identifier = _ref("Amount"), _ref("Identifier")
    count = {"type": "integer", "minimum": 0}
    epoch = {"type": "number", "description": "Seconds since 1970-01-01T00:00:00Z."}
    day = {"type": "string", "format": "date"}
    number = {"type": "number", "description": "An exact decimal with two digits."}
    line = {
        "lineNumber": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "productCode": identifier,
        "productDescription": text,
        "productCategoryCode": identifier,
        "productCategoryName": text,
        "quantity": amount,
        "unitOfMeasure": text,
        "unitPrice": amount,
        "creditAmount": amount,
        "taxPercentage": amount,
        "settlementAmount": {**amount, "description": "What category sales are summed of."},
    }
    receipt = {
        "cashReceiptID": identifier,
        "storeID": identifier,
        "terminalID": identifier,
        "agentID": {"anyOf": [identifier, {"type": "null"}]},
        "customerID": {"anyOf": [identifier, {"type": "null"}]},
        "date": {
            "type": "string",
            "description": "Local time of the shop, `YYYY-MM-DD HH:MM:SS`, or RFC 3339. Its day is the business day.",
        },
        "lines": {"type": "array", "maxItems": 1000, "items": _ref("Line")},
        "documentTotal": _object({"grossTotal": amount, "taxPayable": amount, "netTotal": amount}),
        "settlements": {
            "type": "array",
            "maxItems": 1000,
            "items": _object({"paymentMechanism": text, "settlementAmount": amount}),
        },
    }
    rows = {"type": "object", "additionalProperties": _object({"sum": number, "count": count})}
    return {
        "Identifier": _IDENTIFIER,
        "Amount": _AMOUNT,
        "Line": _object(line, description="One line of a receipt."),
        "Receipt": {
            **_object(
                receipt,
                ("agentID", "customerID"),
                "A receipt as a till sends it. Unknown fields are kept. What makes two receipts the same one is "
                "storeID, terminalID, date and cashReceiptID: sending one again changes nothing.",
            ),
            "examples": [_RECEIPT_EXAMPLE],
        },
        "Accepted": {
            **_object(
                {
                    "accepted": {"type": "integer", "minimum": 1, "description": "Events in this request."},
                    "frame": {
                        "type": "string",
                        "pattern": "^[0-9a-f]{32}$",
                        "description": "The broker message that they are in, together with those of other requests.",
                    },
                }
            ),
            "examples": [{"accepted": 1, "frame": _FRAME_EXAMPLE}],
        },
        "StoredReceipt": _object(
            {
                "id": {"type": "string", "examples": [_ID_EXAMPLE]},
                "frame": {"type": "string", "description": "The frame that stored it first."},
                "day": day,
                "received": epoch,
                "stored": epoch,
                "receipt": _ref("Receipt"),
            }
        ),
        "StoredReceipts": _object(
            {
                "receipts": {"type": "array", "items": _ref("StoredReceipt")},
                "next": {
                    "type": ["string", "null"],
                    "description": "Pass it as `after` for the page behind this one; null at the end.",
                },
            }
        ),
        "Totals": _object(
            {
                "stream": {"type": "string", "const": "receipts"},
                "day": day,
                "sum": {**number, "description": "Revenue: the sum of `documentTotal.grossTotal`."},
                "count": count,
                "categories": {
                    "type": "object",
                    "additionalProperties": _object({"sum": number, "quantity": {"type": "number"}, "lines": count}),
                },
                "stores": rows,
                "payments": rows,
                "minutes": {
                    **rows,
                    "description": "By the receipts' own local time, `HH:MM`.",
                },
                "received": {
                    **rows,
                    "description": "By the local time of their arrival, `HH:MM`, those that arrived on this day.",
                },
                "mismatched": {**count, "description": "Receipts whose lines do not add up to their total."},
                "revision": {**count, "description": "Ledger entries that are counted."},
                "asOf": epoch,
            },
            ("lines",),
        ),
        "RejectedItem": _object(
            {
                "id": text,
                "stream": {"type": "string", "const": "receipts"},
                "reason": _REASON,
                "detail": {"type": "string", "description": "What is wrong, for people."},
                "source": {"type": "string", "description": "The frame that it came in first."},
                "firstSeen": epoch,
                "status": _STATUS,
                "bytes": count,
                "history": {
                    "type": "array",
                    "description": "What happened since, oldest first.",
                    "items": _object(
                        {
                            "what": {"type": "string", "enum": ["replayed", "again", "discarded"]},
                            "at": epoch,
                            "frame": {**text, "description": "Replayed in, or rejected again out of."},
                            "note": text,
                        },
                        ("frame", "note"),
                    ),
                },
                "body": {**text, "description": "Its bytes, where they are text; not in lists."},
                "bodyBase64": {"type": "string", "contentEncoding": "base64", "description": "Its bytes, if not."},
            },
            ("body", "bodyBase64"),
        ),
        "RejectedItems": _object(
            {
                "rejected": {"type": "array", "items": _ref("RejectedItem")},
                "next": {
                    "type": ["string", "null"],
                    "description": "Pass it as `after` for the page behind this one; null at the end.",
                },
            }
        ),
        "Problem": _object(
            {
                "type": {"type": "string", "format": "uri-reference"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": {
                    "type": "array",
                    "maxItems": 100,
                    "description": "What is wrong with which event, where events are invalid.",
                    "items": _object(
                        {
                            "event": {"type": "integer", "description": "Index in the request, from 0."},
                            "field": {"type": "string", "examples": ["$.lines[0].quantity"]},
                            "expected": text,
                        }
                    ),
                },
            },
            ("errors",),
            "RFC 9457.",
        ),
    }


def _problems(*kinds: ProblemType) -> dict[str, Any]:
    """Responses for these problem types, and for those that any request may meet."""
    by_status: dict[int, list[ProblemType]] = {}
    for kind in (*kinds, FOREIGN_ORIGIN, UNKNOWN_HOST, INTERNAL):
        by_status.setdefault(kind.status, []).append(kind)
    responses: dict[str, Any] = {}
    for status, same in sorted(by_status.items()):
        headers: dict[str, Any] = {}
        if any(kind.retry_after_seconds for kind in same):
            headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
        responses[str(status)] = {
            "description": "; ".join(f"{kind.title} (`{kind.slug}`)" for kind in same),
            **({"headers": headers} if headers else {}),
            "content": {PROBLEM_TYPE: {"schema": _ref("Problem")}},
        }
    return responses


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text(description: str, content_type: str) -> dict[str, Any]:
    return {"description": description, "content": {content_type: {"schema": {"type": "string"}}}}


def _query(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def _post(operation: str) -> dict[str, Any]:
    lines = msgspec.json.encode(_RECEIPT_EXAMPLE).decode()
    return {
        "operationId": operation,
        "tags": ["Sending"],
        "summary": "Send one or more receipts",
        "description": (
            "Answered when the broker has confirmed them. A request is taken whole or refused whole; at most 10 MiB "
            "after decompression, and 10,000 receipts. Answers that are final: 2xx, 400, 413, 415 and 422. After any "
            "other (401, 408, 429 and 5xx among them) or none, send the same again, not before `Retry-After`: a "
            "receipt that was taken before is not counted twice."
        ),
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "description": "`gzip`, where the body is compressed.",
                "schema": {"type": "string", "enum": ["gzip", "identity"]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            _ref("Receipt"),
                            {"type": "array", "items": _ref("Receipt"), "minItems": 1, "maxItems": 10_000},
                        ]
                    },
                    "example": _RECEIPT_EXAMPLE,
                },
                "application/x-ndjson": {
                    "schema": {"type": "string", "description": "One receipt a line."},
                    "example": f"{lines}\n{lines}\n",
                },
                "application/gzip": {
                    "schema": {"type": "string", "format": "binary", "description": "A `.gz` file of either."}
                },
            },
        },
        "responses": {
            "202": _answer("Confirmed by the broker.", _ref("Accepted")),
            **_problems(*_TAKING),
        },
        "security": [{}, {"token": []}],
    }


def _get(operation: str, tag: str, summary: str, answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"operationId": operation, "tags": [tag], "summary": summary, "responses": answers, **more}


def _paths() -> dict[str, Any]:
    token: dict[str, Any] = {"security": [{}, {"token": []}]}
    day = {"name": "day", "in": "path", "required": True, "schema": {"type": "string", "format": "date"}}
    identity = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": _ID_EXAMPLE,
    }
    totals = {
        "200": _answer("Exact as of the request.", _ref("Totals")),
        **_problems(INVALID_QUERY, UNAUTHORIZED, STORE_UNAVAILABLE),
    }
    bound = {"type": "string", "pattern": r"^-?[0-9]{1,10}(\.[0-9]{1,4})?$", "examples": ["12.50"]}
    filters = [
        _query("day", "Business day.", {"type": "string", "format": "date"}),
        _query("store", "storeID."),
        _query("terminal", "terminalID."),
        _query("customer", "customerID."),
        _query("receipt", "cashReceiptID."),
        _query("category", "productCategoryName of at least one line, exactly."),
        _query("min", "The least `documentTotal.grossTotal`, as a decimal number.", bound),
        _query("max", "The greatest `documentTotal.grossTotal`, as a decimal number.", bound),
        _query("after", "`next` of the page before."),
        _query("limit", "Receipts on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    ]
    moment = {"type": "string", "examples": ["2026-11-21T08:30:00Z", "3d", "1795265998"]}
    rejected_filters = [
        _query("reason", "Why it was rejected.", _REASON),
        _query("status", "What was done about it since.", _STATUS),
        _query("since", "Rejected first at this moment or later: RFC 3339, epoch seconds, or how long ago.", moment),
        _query("before", "Rejected first before this moment.", moment),
        _query("after", "`next` of the page before."),
        _query("limit", "Items on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    ]
    status = _object({"status": {"type": "string"}})
    ready = _object(
        {
            "status": {"type": "string", "enum": ["ready", "not ready"]},
            "takesReceipts": {"type": "boolean", "description": "The broker answers."},
            "answersQueries": {"type": "boolean", "description": "The store answers."},
            "checks": {"type": "array", "items": {"type": "string"}},
            "failing": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        ("checks", "failing"),
    )
    return {
        "/receipts": {
            "post": _post("sendReceipts"),
            "get": _get(
                "listReceipts",
                "Reading",
                "List stored receipts",
                {
                    "200": _answer("A page, newest first.", _ref("StoredReceipts")),
                    **_problems(INVALID_QUERY, UNAUTHORIZED, STORE_UNAVAILABLE),
                },
                description=(
                    "All filters that are given must hold. Newest first: by business day, then by the receipts' own "
                    "time, then by id."
                ),
                parameters=filters,
                **token,
            ),
        },
        "/receipt": {"post": _post("sendReceipt")},
        "/receipts/{id}": {
            "get": _get(
                "readReceipt",
                "Reading",
                "One stored receipt",
                {
                    "200": _answer("The receipt.", _ref("StoredReceipt")),
                    **_problems(INVALID_QUERY, UNAUTHORIZED, NOT_FOUND, STORE_UNAVAILABLE),
                },
                parameters=[identity],
                **token,
            )
        },
        "/rejected": {
            "get": _get(
                "listRejected",
                "Reading",
                "List what was taken and cannot be counted",
                {
                    "200": _answer("A page, newest first.", _ref("RejectedItems")),
                    **_problems(INVALID_QUERY, UNAUTHORIZED, STORE_UNAVAILABLE),
                },
                description=(
                    "All filters that are given must hold. Newest first: by when an item was rejected first, then by "
                    "id. Frames that wait among the dead letters are not here; `tillstream rejected` deals with all."
                ),
                parameters=rejected_filters,
                **token,
            )
        },
        "/rejected/{id}": {
            "get": _get(
                "readRejected",
                "Reading",
                "One item with its bytes",
                {
                    "200": _answer("The item.", _ref("RejectedItem")),
                    **_problems(INVALID_QUERY, UNAUTHORIZED, NOT_FOUND, STORE_UNAVAILABLE),
                },
                parameters=[{**identity, "example": _FRAME_EXAMPLE}],
                **token,
            )
        },
        "/totals": {"get": _get("readTotals", "Reading", "Totals of the current business day", totals, **token)},
        "/totals/{day}": {
            "get": _get("readTotalsOfDay", "Reading", "Totals of a business day", totals, parameters=[day], **token)
        },
        "/healthz": {"get": _get("isAlive", "Operating", "Alive", {"200": _answer("Alive.", status)})},
        "/readyz": {
            "get": _get(
                "isReady",
                "Operating",
                "Ready: it takes receipts",
                {"200": _answer("It takes receipts.", ready), "503": _answer("It does not, and why.", ready)},
            )
        },
        "/metrics": {
            "get": _get("readMetrics", "Operating", "Metrics for Prometheus", {"200": _text("Metrics.", "text/plain")})
        },
        "/openapi.json": {
            "get": _get(
                "readDescription",
                "Operating",
                "This description",
                {"200": _answer("OpenAPI 3.1.", {"type": "object"})},
            )
        },
        "/docs": {
            "get": _get("readDocs", "Operating", "This description as a page", {"200": _text("The page.", "text/html")})
        },
    }


def openapi() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tillstream",
            "version": _VERSION,
            "summary": "Takes receipts, counts each exactly once, and says what they add up to.",
            "description": (
                "Send receipts with `POST /receipts`. An answer of `202` says that they are safe: whatever is "
                "restarted, they will be stored and counted exactly once. All errors are problem documents of RFC 9457."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": "Sending"}, {"name": "Reading"}, {"name": "Operating"}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the entrypoint was given a tokens file.",
                }
            },
        },
    }


def openapi_json() -> bytes:
    """The whole document as JSON."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2)
