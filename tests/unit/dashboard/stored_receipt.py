"""A receipt as the store gives it, for tests of what shows it."""

import dataclasses
from typing import Any

from store.protocol import StoredEvent

_EVENT = StoredEvent(
    id="612:3:2026-11-18 11:06:40:40213",
    frame="f" * 32,
    hash="1:" + "a" * 32,
    day="2026-11-18",
    time=1794996400.0,
    amount=265_300,
    categories=("Menu", "Pain"),
    keys={"store": "612", "terminal": "3", "receipt": "40213", "customer": "85320"},
    received=1794996401.25,
    stored=1794996401.293,
    body=b"{}",
)


def stored(**changes: Any) -> StoredEvent:
    """The receipt of the sample (11:06:40 in Paris), received 1.25 s later and stored after 43 ms more."""
    return dataclasses.replace(_EVENT, **changes)
