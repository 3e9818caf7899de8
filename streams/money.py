"""Amounts: exact decimals in, integers of 1/10000 inside, two digits out. Never a binary float, never text surgery."""

from decimal import Context, Decimal, InvalidOperation

import msgspec

#: Amounts are integers of this part of a unit (of currency, or of a quantity).
SCALE = 10_000
#: An amount beyond this, either way, is a mistake rather than a sale.
LIMIT = Decimal(10) ** 9

#: A precision that no request can exceed (its body is limited far below), so that rounding happens once, in `round`.
_EXACT = Context(prec=100_000_000)
_SCALE = Decimal(SCALE)


def in_range(amount: Decimal) -> bool:
    """Whether an amount is a number (neither NaN nor infinite) of at most 10^9, either way."""
    try:
        return -LIMIT <= amount <= LIMIT
    except InvalidOperation:  # comparing with NaN
        return False


def to_units(amount: Decimal) -> int:
    """An amount that is `in_range`, in 1/10000, rounded half to even: 5.9 → 59000, 3.4000000000000004 → 34000."""
    return round(_EXACT.multiply(amount, _SCALE))


def cents(units: int) -> int:
    """Units of 1/10000 in 1/100, rounded half to even."""
    whole, rest = divmod(units, 100)
    return whole + (rest > 50 or (rest == 50 and whole % 2 == 1))


def to_text(units: int) -> str:
    """Units of 1/10000 as a decimal with two digits: 59000 → `5.90`, -12 → `0.00`."""
    rounded = cents(units)
    whole, part = divmod(abs(rounded), 100)
    return f"{'-' if rounded < 0 else ''}{whole}.{part:02d}"


def to_json(units: int) -> msgspec.Raw:
    """Units of 1/10000 as a JSON number with two digits, to be put into something that msgspec encodes."""
    return msgspec.Raw(to_text(units).encode())
