"""Are the numbers of each writer's ledger entries 1..n? Told by sums, in memory that does not grow with the ledger.

Entries of one writer have different numbers, by the store's unique key. So as many entries as the highest number says
are all of them. Writers that the totals name are counted each; finished ones, which the totals only hold as a sum, are
counted in buckets, where the seal that ends each says how many entries its writer has.
"""

import zlib
from array import array
from collections.abc import Iterator, Mapping

from store.protocol import Folded, LedgerEntry

BUCKETS = 65_536


def bucket_of(id: str) -> int:
    """The bucket of a writer or frame."""
    return zlib.crc32(id.encode()) % BUCKETS


class WriterSums:
    """Sums over the numbers of ledger entries.

    Arguments:
        offsets: writer → number up to which its entries are in the totals.

    Attributes:
        beyond: writer → highest number that is not in the totals.
        sealed: writers that the totals do not name and that have a seal, and how many entries these say.
    """

    def __init__(self, offsets: Mapping[str, int]) -> None:
        self.offsets = offsets
        self.beyond: dict[str, int] = {}
        self.sealed = Folded()
        self._named = dict.fromkeys(offsets, 0)
        self._missing = array("q", bytes(8 * BUCKETS))
        self._numbers = array("q", bytes(8 * BUCKETS))

    def add(self, entry: LedgerEntry) -> None:
        """Count an entry that is in the totals."""
        if entry.writer in self._named:
            self._named[entry.writer] += 1
            return
        bucket = bucket_of(entry.writer)
        self._missing[bucket] -= 1
        self._numbers[bucket] -= entry.seq
        if entry.is_seal:
            self.sealed = Folded(self.sealed.writers + 1, self.sealed.entries + entry.seq)
            self._missing[bucket] += entry.seq
            self._numbers[bucket] += entry.seq * (entry.seq + 1) // 2

    def leave_out(self, entry: LedgerEntry) -> None:
        """Note an entry that is not in the totals."""
        self.beyond[entry.writer] = max(entry.seq, self.beyond.get(entry.writer, 0))

    def incomplete(self) -> Iterator[tuple[str, int, int]]:
        """Writers that the totals name and whose entries are not all there: writer, number, entries."""
        for writer, count in self._named.items():
            if count != self.offsets[writer]:
                yield writer, self.offsets[writer], count

    def suspects(self) -> set[int]:
        """Buckets of finished writers of which at least one is incomplete."""
        return {bucket for bucket in range(BUCKETS) if self._missing[bucket] or self._numbers[bucket]}
