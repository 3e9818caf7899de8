"""Numbers as people in a place write them, through Babel's tables (Unicode CLDR). Pure."""

import re
from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern, format_currency, get_currency_precision, parse_pattern

from streams.errors import ConfigurationError

#: What a number that is not known looks like.
UNKNOWN = "–"  # noqa: RUF001 - an en dash is what is meant

#: A code of letters that touches a digit gets a space, as CLDR asks for and browsers do; Babel does not.
_TOUCHING = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


class Formats:
    """Writes amounts and counts for one locale and currency.

    Arguments:
        locale: a language, with a territory or not, as `en`, `de` or `fr_CH` (or `fr-CH`).
        currency: an ISO 4217 code, which decides how many digits amounts have; a code that CLDR does not know is shown
            as it is, with two.

    Spaces within a number, and between it and its unit, do not break.
    Raises ConfigurationError for a locale that is not known.
    """

    def __init__(self, locale: str = "en", currency: str = "EUR") -> None:
        try:
            self._locale = Locale.parse(locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError, TypeError) as exc:
            raise ConfigurationError(f"expected a locale such as en, de or fr_CH, not {locale!r}") from exc
        self.currency = currency
        self.digits = get_currency_precision(currency)
        self._count = self._pattern("")
        self._amount = self._pattern("." + "0" * self.digits if self.digits else "")
        self._quantity = self._pattern(".####")
        percent = self._locale.percent_formats[None].pattern
        self._share = parse_pattern(re.sub(r"0(?![0#])", "0.0", percent))

    @property
    def tag(self) -> str:
        """The locale as browsers name it (BCP 47), for `Intl.NumberFormat` and `lang`."""
        return str(self._locale).replace("_", "-")

    def money(self, amount: Decimal) -> str:
        """An amount with its currency: `€1,234.50`, `1.234,50 €`, `CHF 1,234.50`, `¥1,234`."""
        text = format_currency(amount, self.currency, locale=self._locale)
        return _TOUCHING.sub("\u00a0", text)

    def amount(self, amount: Decimal) -> str:
        """An amount without its currency, with as many digits as that has: `1,234.50`."""
        return _applied(self._amount, amount, self._locale)

    def count(self, number: int) -> str:
        """A whole number: `12,345`."""
        return _applied(self._count, number, self._locale)

    def quantity(self, number: Decimal) -> str:
        """A number with as many digits as it needs, up to four: `0.125`, `2`."""
        return _applied(self._quantity, number, self._locale)

    def share(self, part: Decimal) -> str:
        """A fraction as percent with one digit: `12.3%`, `12,3 %`."""
        return _applied(self._share, part, self._locale)

    def _pattern(self, fraction: str) -> NumberPattern:
        """The locale's own grouping of digits, with another fraction."""
        whole = str(self._locale.decimal_formats[None].pattern).partition(".")[0]
        return parse_pattern(whole + fraction)


def _applied(pattern: NumberPattern, number: Decimal | int, locale: Locale) -> str:
    text: str = pattern.apply(number, locale)
    return text
