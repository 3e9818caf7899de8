"""What receipts add up to, worked out from their bytes with `decimal` and nothing of ours: the judge of exactness."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

_QUANTUM = Decimal("0.0001")


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(_QUANTUM, ROUND_HALF_EVEN)


def _sums() -> defaultdict[str, Decimal]:
    return defaultdict(Decimal)


@dataclass
class ExpectedDay:
    """Totals of one business day; amounts are Decimals."""

    sum: Decimal = Decimal(0)
    count: int = 0
    categories: defaultdict[str, Decimal] = field(default_factory=_sums)
    quantities: defaultdict[str, Decimal] = field(default_factory=_sums)
    stores: defaultdict[str, Decimal] = field(default_factory=_sums)
    store_counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    payments: defaultdict[str, Decimal] = field(default_factory=_sums)


@dataclass
class Expected:
    """Fold receipts in the order in which they were made: of each identity the first copy counts.

    Attributes:
        days: business day → what its receipts add up to.
        first: identity (store, terminal, date, id) → its first copy.
        duplicates, conflicts: how many further copies came, with the same and with another content.
    """

    days: defaultdict[str, ExpectedDay] = field(default_factory=lambda: defaultdict(ExpectedDay))
    first: dict[tuple[str, str, str, str], bytes] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0

    def add_all(self, lines: Iterable[bytes]) -> None:
        """Fold any number of receipts, each as JSON."""
        for line in lines:
            self.add(line)

    def add(self, line: bytes) -> None:
        """Fold one receipt, as JSON."""
        receipt = json.loads(line, parse_float=Decimal)
        identity = (
            str(receipt["storeID"]),
            str(receipt["terminalID"]),
            receipt["date"],
            str(receipt["cashReceiptID"]),
        )
        first = self.first.get(identity)
        if first is None:
            self.first[identity] = line
            self._fold(receipt)
        elif first == line:
            self.duplicates += 1
        else:
            self.conflicts += 1

    def _fold(self, receipt: dict[str, Any]) -> None:
        day = self.days[receipt["date"][:10]]
        gross = _decimal(receipt["documentTotal"]["grossTotal"])
        day.sum += gross
        day.count += 1
        day.stores[str(receipt["storeID"])] += gross
        day.store_counts[str(receipt["storeID"])] += 1
        for line in receipt["lines"]:
            day.categories[line["productCategoryName"]] += _decimal(line["settlementAmount"])
            day.quantities[line["productCategoryName"]] += _decimal(line["quantity"])
        for payment in receipt["settlements"]:
            day.payments[payment["paymentMechanism"]] += _decimal(payment["settlementAmount"])
