"""Sending some receipts more than once: repetitions, and conflicts (the same identity with another content).

A conflict always comes right after the receipt that it contradicts, in the same request if requests hold more than
one: so the first copy is the same for everybody who reads requests in any order, and sums can be checked exactly.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streams.errors import ConfigurationError

#: How many receipts later a repetition comes, on average; also about how many wait at most.
_MEAN_DISTANCE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Which receipts come more than once; all are shares from 0 to 1.

    Attributes:
        duplicates: of receipts that come again, byte for byte.
        nearby: of those repetitions that come right after their receipt (in the same request if it can hold both);
            the others come some time later.
        conflicts: of receipts that are followed by one with the same identity but other goods.
    """

    duplicates: float = 0.0
    nearby: float = 0.25
    conflicts: float = 0.0

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what is no share."""
        for name in ("duplicates", "nearby", "conflicts"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name}: expected a share from 0 to 1, got {getattr(self, name):g}")


def with_copies(
    receipts: Iterable[tuple[bytes, bytes | None]], copies: Copies, size: int, rand: random.Random
) -> Iterator[list[bytes]]:
    """Put receipts and their copies into requests of at most `size`; lazy, but for repetitions kept for later.

    Arguments:
        receipts: each receipt, with one that contradicts it or None.
    """
    request: list[bytes] = []
    for group in _groups(receipts, copies, rand):
        if request and len(request) + len(group) > size:
            yield request
            request = []
        for line in group:  # a group that fits no request is split
            request.append(line)
            if len(request) >= size:
                yield request
                request = []
    if request:
        yield request


def _groups(
    receipts: Iterable[tuple[bytes, bytes | None]], copies: Copies, rand: random.Random
) -> Iterator[list[bytes]]:
    """Lines that belong into one request."""
    later: list[bytes] = []
    for receipt, conflict in receipts:
        group = [receipt]
        if copies.duplicates and rand.random() < copies.duplicates:
            if rand.random() < copies.nearby:
                group.append(receipt)
            else:
                later.append(receipt)
        if conflict is not None:
            group.append(conflict)
        yield group
        if later and rand.random() * _MEAN_DISTANCE < len(later):
            yield [later.pop(rand.randrange(len(later)))]
    for receipt in later:
        yield [receipt]
