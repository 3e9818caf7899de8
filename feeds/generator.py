"""Receipts as a chain of bakeries' tills send them, made up from a seed: the same seed and clock, the same bytes.

Money is in whole cents inside, so lines, totals and payments agree to the cent. Not here: when requests leave
(`feeds.pace`), how they are sent (`feeds.http`), and what they should add up to, which the tests work out from the
bytes alone.
"""

import base64
import math
import random
import time
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import accumulate

from feeds.catalogue import CATEGORIES, PAYMENTS, PRODUCTS, SALES_BY_HOUR, STREETS, TOWNS, Product
from feeds.copies import Copies, with_copies
from streams.errors import ConfigurationError

TERMINALS = 4
#: Lines of a receipt: how often 1, 2, 3, 4, 5.
_LINES = tuple(accumulate((14, 25, 28, 20, 13)))
#: Pieces, and steps of 50 g of what is sold by weight: how often 1, 2, 3…
_PIECES = tuple(accumulate((62, 22, 8, 5, 2, 1)))
_STEPS = tuple(accumulate((2, 6, 14, 20, 22, 16, 10, 6, 3, 1)))
_STEP_THOUSANDTHS = 50
#: Share of receipts paid in two ways, and of receipts with a payment that carries float noise.
_TWO_PAYMENTS = 0.3
_NOISE = 0.05
#: A terminal's counter starts anywhere below this each day, so that two runs within one second rarely collide.
_FIRST_ID_BELOW = 40_000
_AGENTS = 12
_CUSTOMERS = 100_000
#: A 2048-bit signature, as certified tills put on their receipts.
_SIGNATURE_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What to generate.

    Attributes:
        seed: any integer; None takes one that is different every time.
        stores: number of stores, with four terminals each.
        timezone: of the tills' clocks, which is what `date` shows.
        returns: share of receipts that take goods back: negative quantities and amounts.
        copies: which receipts come more than once.
    """

    seed: int | None = None
    stores: int = 1000
    timezone: tzinfo = UTC
    returns: float = 0.0
    copies: Copies = field(default_factory=Copies)

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what cannot be generated."""
        if not 1 <= self.stores <= 1_000_000:
            raise ConfigurationError(f"stores: expected 1 to 1000000, got {self.stores}")
        if not 0 <= self.returns <= 1:
            raise ConfigurationError(f"returns: expected a share from 0 to 1, got {self.returns:g}")


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A line but for its number: net and gross cents, and the JSON after the number."""

    net: int
    gross: int
    text: str


class Generator:
    """An endless source of receipts.

    Arguments:
        options: see there.
        clock: epoch seconds; what `date` shows is read from it at each receipt.
    """

    def __init__(self, options: GeneratorOptions | None = None, clock: Callable[[], float] = time.time) -> None:
        self.options = options or GeneratorOptions()
        self._clock = clock
        seed = random.SystemRandom().getrandbits(64) if self.options.seed is None else self.options.seed
        self._random = random.Random(f"receipts {seed}")
        self._copies_random = random.Random(f"copies {seed}")
        stores = self.options.stores
        # Some stores sell several times what others do.
        self._stores = list(accumulate(self._random.lognormvariate(0, 0.5) for _ in range(stores)))
        self._tails = [_store_tail(store) for store in range(1, stores + 1)]
        self._first_ids = [self._random.randrange(_FIRST_ID_BELOW) for _ in range(stores * TERMINALS)]
        self._last_ids = list(self._first_ids)
        self._sold = _fragments(1)
        self._returned = _fragments(-1)
        self._by_hour = _products_by_hour()
        self._payments = list(accumulate(PAYMENTS.values()))
        self._payment_heads = [f'"paymentMechanism": "{name}"}}' for name in PAYMENTS]
        self._second = -1
        self._date = ""
        self._hour = 0

    def receipt(self) -> bytes:
        """The next receipt, as JSON on one line. Its identity is new."""
        return self._compose(self._next_identity())

    def requests(self, receipts: int | None = None, size: int = 1) -> Iterator[list[bytes]]:
        """Receipts and their copies, made as they are asked for, in requests of at most `size`.

        Arguments:
            receipts: how many receipts to make, not counting copies, which come on top; None never ends.
            size: how many receipts a request may hold, copies included.
        """
        return with_copies(self._groups(receipts), self.options.copies, size, self._copies_random)

    def _groups(self, receipts: int | None) -> Iterator[tuple[bytes, bytes | None]]:
        """Each receipt, with one that contradicts it or None."""
        made = 0
        share = self.options.copies.conflicts
        while receipts is None or made < receipts:
            identity = self._next_identity()
            receipt = self._compose(identity)
            conflict = self._compose(identity) if share and self._copies_random.random() < share else None
            if conflict == receipt:  # cannot happen while tills sign: the signature is new
                conflict = None
            yield receipt, conflict
            made += 1

    def _next_identity(self) -> str:
        """The fields that name a receipt and say who made it, as the beginning of its JSON."""
        rand = self._random.random
        second = int(self._clock())
        if second != self._second:
            self._tick(second)
        stores = self._stores
        store = min(bisect(stores, rand() * stores[-1]), len(stores) - 1)
        terminal = int(rand() * TERMINALS)
        till = store * TERMINALS + terminal
        number = self._last_ids[till] = self._last_ids[till] + 1
        return (
            f'{{"cashReceiptID": {number}, "storeID": {store + 1}, "terminalID": {terminal + 1}, '
            f'"agentID": {1 + int(rand() * _AGENTS)}, "customerID": {1 + int(rand() * _CUSTOMERS)}, '
            f'"date": "{self._date}", {self._tails[store]}'
        )

    def _tick(self, second: int) -> None:
        """Take over a new second of the clock; counters start again on a new day."""
        local = datetime.fromtimestamp(second, self.options.timezone)
        date = local.strftime("%Y-%m-%d %H:%M:%S")
        if date[:10] != self._date[:10]:
            self._last_ids = list(self._first_ids)
        self._second, self._date, self._hour = second, date, local.hour

    def _compose(self, identity: str) -> bytes:
        """A receipt with this identity and goods, payments and signature of its own."""
        rand = self._random.random
        returned = self.options.returns > 0 and rand() < self.options.returns
        catalogue = self._returned if returned else self._sold
        weights = self._by_hour[self._hour]
        total = weights[-1]
        net = gross = 0
        lines = []
        for number in range(1, 2 + bisect(_LINES, rand() * _LINES[-1])):
            fragments, quantities = catalogue[bisect(weights, rand() * total)]
            fragment = fragments[bisect(quantities, rand() * quantities[-1])]
            net += fragment.net
            gross += fragment.gross
            lines.append(f'{{"lineNumber": {number}, {fragment.text}')
        signature = base64.b64encode(self._random.randbytes(_SIGNATURE_BYTES)).decode()
        return (
            f'{identity}"receiptType": "{"retour" if returned else "vente"}", "lines": [{", ".join(lines)}], '
            f'"documentTotal": {{"taxPayable": {_amount(gross - net)}, "netTotal": {_amount(net)}, '
            f'"grossTotal": {_amount(gross)}}}, "settlements": [{self._settle(gross)}], '
            f'"signature": "{signature}"}}'
        ).encode()

    def _settle(self, gross: int) -> str:
        """One or two payments that make up `gross` cents, as JSON."""
        rand = self._random.random
        last = self._payment(rand)
        noisy = rand() < _NOISE
        if gross < 200 or rand() >= _TWO_PAYMENTS:
            return f'{{"settlementAmount": {_noisy(gross, rand) if noisy else _amount(gross)}, {last}'
        # A round sum in cash or a voucher, the rest by other means.
        first = min(gross // 100 - 1, 1 + int(rand() * 20)) * 100
        head = self._payment(rand)
        return (
            f'{{"settlementAmount": {_noisy(first, rand) if noisy else _amount(first)}, {head}, '
            f'{{"settlementAmount": {_amount(gross - first)}, {last}'
        )

    def _payment(self, rand: Callable[[], float]) -> str:
        return self._payment_heads[bisect(self._payments, rand() * self._payments[-1])]


def _amount(cents: int) -> str:
    """Cents as the JSON number that a till writes: 5.9, not 5.90, and 6, not 6.0."""
    return repr(cents / 100) if cents % 100 else str(cents // 100)


def _noisy(cents: int, rand: Callable[[], float]) -> str:
    """Cents with the float noise of a sum: a few steps beside the number."""
    value = cents / 100
    for _ in range(1 + int(rand() * 3)):
        value = math.nextafter(value, math.inf if rand() < 0.5 else -math.inf)
    return repr(value)


def _fragments(sign: int) -> list[tuple[list[_Fragment], tuple[int, ...]]]:
    """For each product: a fragment for each quantity, and how often each is sold (cumulative)."""
    return [
        (
            [_fragment(index, product, sign * step) for step in range(1, 1 + len(quantities))],
            quantities,
        )
        for index, product in enumerate(PRODUCTS, start=1)
        for quantities in [_STEPS if product.by_weight else _PIECES]
    ]


def _fragment(index: int, product: Product, steps: int) -> _Fragment:
    thousandths = steps * (_STEP_THOUSANDTHS if product.by_weight else 1000)
    net, gross = product.amounts(thousandths)
    quantity = thousandths // 1000 if thousandths % 1000 == 0 else thousandths / 1000
    tax = product.tax // 10 if product.tax % 10 == 0 else product.tax / 10
    text = (
        f'"productCode": "{index:08d}", "productDescription": "{product.name}", '
        f'"productCategoryCode": "{CATEGORIES[product.category]}", "productCategoryName": "{product.category}", '
        f'"quantity": {quantity}, "unitOfMeasure": "{"kg" if product.by_weight else "piece"}", '
        f'"unitPrice": {_amount(product.net_price)}, "creditAmount": {_amount(net)}, '
        f'"taxPercentage": {tax}, "settlementAmount": {_amount(gross)}}}'
    )
    return _Fragment(net, gross, text)


def _products_by_hour() -> list[list[float]]:
    """For each hour: how often each product is sold (cumulative), in the order of the catalogue."""
    in_category = {name: sum(p.weight for p in PRODUCTS if p.category == name) for name in CATEGORIES}
    hours = []
    for hour in range(24):
        sales = next(weights for end, weights in SALES_BY_HOUR.items() if hour < end)
        share = dict(zip(CATEGORIES, sales, strict=True))
        hours.append(list(accumulate(share[p.category] * p.weight / in_category[p.category] for p in PRODUCTS)))
    return hours


def _store_tail(store: int) -> str:
    """What a till prints of its store and itself: fields beyond the schema, which are kept as they are."""
    name = f"Boulangerie de {STREETS[store % len(STREETS)]}".replace("de les ", "des ").replace("de le ", "du ")
    town = TOWNS[store * 7 % len(TOWNS)]
    siret = f"{552_100_000 + store * 17:09d}{store % 90 + 10:05d}"
    return (
        f'"store": {{"name": "{name}", "town": "{town}", "siret": "{siret}"}}, '
        f'"software": {{"name": "Caisse", "version": "4.{store % 7}.{store % 11}"}}, "currency": "EUR", '
    )
