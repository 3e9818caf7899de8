"""One receipt as the tills send it, and ways to bend it."""

import copy
from typing import Any

SAMPLE: dict[str, Any] = {
    "cashReceiptID": 40213,
    "storeID": 612,
    "terminalID": 3,
    "agentID": 7,
    "customerID": 85320,
    "date": "2026-11-18 11:06:40",
    "lines": [
        {
            "lineNumber": 1,
            "productCode": "00000011",
            "productDescription": "Menu déjeuner",
            "productCategoryCode": "B",
            "productCategoryName": "Menu",
            "quantity": 3,
            "unitOfMeasure": "piece",
            "unitPrice": 7.31,
            "creditAmount": 21.93,
            "taxPercentage": 10,
            "settlementAmount": 24.12,
        },
        {
            "lineNumber": 2,
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
        },
    ],
    "documentTotal": {"taxPayable": 2.32, "netTotal": 24.21, "grossTotal": 26.53},
    "settlements": [
        {"settlementAmount": 20.000000000000004, "paymentMechanism": "CB"},
        {"settlementAmount": 6.53, "paymentMechanism": "Especes"},
    ],
}

MISSING = object()


def receipt(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy of the sample with changes: dotted path (list indexes as numbers) → value, or MISSING to remove it."""
    fresh = copy.deepcopy(SAMPLE)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at: Any = fresh
        for part in parents:
            at = at[int(part)] if part.isdigit() else at[part]
        key: Any = int(last) if last.isdigit() else last
        if value is MISSING:
            del at[key]
        else:
            at[key] = value
    return fresh
