"""Which JSON values a document store can keep as they are: the rest is kept as its text."""

import math
from typing import Any

#: MongoDB nests documents at most 100 deep; ours adds two levels of its own.
MAX_DEPTH = 80
_INT64 = 2**63


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a decoded JSON value has integers within 64 bits, ordinary keys, and a reasonable depth.

    Ordinary keys are not empty, start with no `$`, and hold neither a dot nor a NUL (document stores use or refuse
    those).
    """
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return all(_is_plain_key(key) and is_plain(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return all(is_plain(item, depth + 1) for item in value)
    if isinstance(value, float):
        return value != 0 or math.copysign(1, value) > 0  # not every server keeps the sign of -0.0
    return not isinstance(value, int) or -_INT64 <= value < _INT64


def _is_plain_key(key: str) -> bool:
    return bool(key) and not key.startswith("$") and "." not in key and "\0" not in key
