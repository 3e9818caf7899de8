from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.money import cents, in_range, to_json, to_text, to_units


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("5.9", 59_000),
        ("5.90", 59_000),
        ("3.4000000000000004", 34_000),
        ("0.00005", 0),
        ("0.00015", 2),
        ("0.000050000000000000000000000000000000000000001", 1),
        ("-0.00005", 0),
        ("-7.31", -73_100),
        ("1e9", 10_000_000_000_000),
        ("1e-300000", 0),
        ("0", 0),
    ],
)
def test_amounts_are_exact_and_rounded_half_to_even_once(text: str, units: int) -> None:
    """5.9 is 5.90, float noise vanishes, and no digit is lost before the one rounding."""
    assert to_units(Decimal(text)) == units


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False))
def test_units_agree_with_quantize(amount: Decimal) -> None:
    """Rounding is that of decimal's own quantize."""
    assert to_units(amount) == int(amount.quantize(Decimal("0.0001"), ROUND_HALF_EVEN).scaleb(4))


@given(st.integers(-(10**18), 10**18))
def test_text_agrees_with_decimal(units: int) -> None:
    """Two digits, half to even, no negative zero."""
    expected = (Decimal(units) / 10_000).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    assert to_text(units) == f"{expected + 0:.2f}".replace("-0.00", "0.00")
    assert cents(units) == int(expected * 100)
    assert Decimal(msgspec.json.encode(to_json(units)).decode()) == expected


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1e400", "1000000000.0001"])
def test_what_is_no_sale_is_out_of_range(text: str) -> None:
    """NaN, infinities and more than 10^9 are refused before anything is added up."""
    assert not in_range(Decimal(text))
    assert in_range(Decimal(-1000000000))
