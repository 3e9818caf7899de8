"""Tallies: pure folding and merging, no I/O. Shared by both engines.

- `analytics.tally`: `Tally` and `DayTally`, the commutative monoid that everything is counted in
- `analytics.histogram`: durations in fixed logarithmic buckets
- `analytics.codec`: tallies to versioned JSON and back
"""

from analytics.codec import NewerFormatError, decode_day, decode_tally, encode_day, encode_tally
from analytics.histogram import Histogram
from analytics.tally import TALLY_VERSION, DayTally, Tally, merge_rows

__all__ = [
    "TALLY_VERSION",
    "DayTally",
    "Histogram",
    "NewerFormatError",
    "Tally",
    "decode_day",
    "decode_tally",
    "encode_day",
    "encode_tally",
    "merge_rows",
]
