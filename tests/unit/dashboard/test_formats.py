"""Numbers as people in a place write them."""

from decimal import Decimal

import pytest

from dashboard.formats import Formats
from streams.errors import ConfigurationError

#: Spaces that do not break: as wide as others, and narrow.
NBSP, NARROW = "\u00a0", "\u202f"


@pytest.mark.parametrize(
    ("locale", "currency", "expected"),
    [
        ("en", "EUR", "€1,234.50"),
        ("de", "EUR", f"1.234,50{NBSP}€"),
        ("fr_CH", "CHF", f"1{NARROW}234,50{NBSP}CHF"),
        ("de_CH", "CHF", f"CHF{NBSP}1\u2019234.50"),
        ("en", "JPY", "¥1,234"),
        ("en", "KWD", f"KWD{NBSP}1,234.500"),
        ("en", "XYZ", f"XYZ{NBSP}1,234.50"),
    ],
)
def test_money_is_written_as_its_place_and_currency_want_it(locale: str, currency: str, expected: str) -> None:
    """Separators and the symbol's place come from the locale, the number of digits from the currency."""
    assert Formats(locale, currency).money(Decimal("1234.5")) == expected


@pytest.mark.parametrize(
    ("locale", "share"),
    [
        ("en", "12.3%"),
        ("de", f"12,3{NBSP}%"),
        ("fr_CH", "12,3%"),
        ("de_CH", "12.3%"),
        ("eu", f"%{NBSP}12,3"),
    ],
)
def test_percent_has_the_locales_pattern_and_one_digit(locale: str, share: str) -> None:
    """The percent sign stands where the locale puts it."""
    assert Formats(locale).share(Decimal("0.1234")) == share


@pytest.mark.parametrize(
    ("locale", "count", "amount", "quantity"),
    [
        ("en", "1,234,567", "1,234.50", "0.125"),
        ("de", "1.234.567", "1.234,50", "0,125"),
        ("fr_CH", f"1{NARROW}234{NARROW}567", f"1{NARROW}234,50", "0,125"),
        ("de_CH", "1\u2019234\u2019567", "1\u2019234.50", "0.125"),
        ("en_IN", "12,34,567", "1,234.50", "0.125"),
    ],
)
def test_digits_are_grouped_as_the_locale_does(locale: str, count: str, amount: str, quantity: str) -> None:
    """Counts, amounts without a currency, and quantities."""
    formats = Formats(locale)
    assert formats.count(1_234_567) == count
    assert formats.amount(Decimal("1234.5")) == amount
    assert formats.quantity(Decimal("0.1250")) == quantity
    assert formats.quantity(Decimal(2)) == "2"


def test_amounts_have_the_digits_of_their_currency() -> None:
    """There are no hundredths of a yen."""
    assert Formats("en", "JPY").amount(Decimal(1234)) == "1,234"
    assert (Formats("en", "JPY").digits, Formats("en", "EUR").digits) == (0, 2)


def test_browsers_are_told_the_same_locale() -> None:
    """The tag is as `Intl` wants it, whichever way the locale was written."""
    assert Formats("fr_CH").tag == Formats("fr-CH").tag == "fr-CH"


@pytest.mark.parametrize("locale", ["xx", "english", "", "de_XX_YY", "../etc"])
def test_a_locale_that_is_none_is_refused(locale: str) -> None:
    """Its name is in the error."""
    with pytest.raises(ConfigurationError, match="expected a locale"):
        Formats(locale)
