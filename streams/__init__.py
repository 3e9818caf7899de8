"""What an event is: one module per stream, and what they share.

- `streams.base`: the `Stream` protocol and `Event`
- `streams.receipts`: receipts of tills
- `streams.paper`: an event as people read it
- `streams.money`, `streams.local_time`: exact amounts, business days
- `streams.decoding`, `streams.plain`: errors in words; which values a document store can keep
- `streams.errors`: the one exception root
"""

from streams.base import Event, Stream
from streams.errors import ConfigurationError, InvalidEventError, TillstreamError, UndecodableEventError
from streams.local_time import DateWindow
from streams.paper import Paper, PaperItem, PaperTax
from streams.receipts import ReceiptStream

__all__ = [
    "ConfigurationError",
    "DateWindow",
    "Event",
    "InvalidEventError",
    "Paper",
    "PaperItem",
    "PaperTax",
    "ReceiptStream",
    "Stream",
    "TillstreamError",
    "UndecodableEventError",
]
