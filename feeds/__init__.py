"""Producers: what makes events up or reads them from files, and sends them to the entrypoint.

- `feeds.catalogue`: what a bakery sells, when, and how it is paid
- `feeds.generator`: receipts made up from a seed
- `feeds.copies`: sending some of them more than once
"""

from feeds.copies import Copies
from feeds.generator import Generator, GeneratorOptions

__all__ = ["Copies", "Generator", "GeneratorOptions"]
