"""Producers: what makes events up or reads them from files, and sends them to the entrypoint.

- `feeds.catalogue`: what a bakery sells, when, and how it is paid
- `feeds.generator`: receipts made up from a seed
- `feeds.copies`: sending some of them more than once
- `feeds.splitter`, `feeds.files`: events from files of any size, and to files
- `feeds.stored`: events of a store
- `feeds.answers`: what an answer of the entrypoint means; `feeds.counts`: what became of every event
- `feeds.sender`: requests to the entrypoint, a bounded number at once, tried again where that helps
- `feeds.pace`, `feeds.feed`: keeping a rate; a generator or files on one side, a sender on the other
"""

from feeds.copies import Copies
from feeds.counts import Counts
from feeds.feed import run_feed, run_generator, send_files, send_requests
from feeds.files import STANDARD, EventWriter, read_requests
from feeds.generator import Generator, GeneratorOptions
from feeds.sender import Sender, SenderOptions, SendingError
from feeds.splitter import FileFormatError
from feeds.stored import send_stored

__all__ = [
    "STANDARD",
    "Copies",
    "Counts",
    "EventWriter",
    "FileFormatError",
    "Generator",
    "GeneratorOptions",
    "Sender",
    "SenderOptions",
    "SendingError",
    "read_requests",
    "run_feed",
    "run_generator",
    "send_files",
    "send_requests",
    "send_stored",
]
