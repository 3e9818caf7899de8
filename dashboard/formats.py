"""Numbers as people in a place write them, through Babel's tables (Unicode CLDR). Pure."""

from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

from streams.errors import ConfigurationError

#: What a number that is not known looks like.
UNKNOWN = "–"  # noqa: RUF001 - an en dash is what is meant


class Formats:
    """Writes amounts and counts for one locale and currency.

    Arguments:
        locale: a language, with a territory or not, as `en`, `de` or `fr_CH` (or `fr-CH`).
        currency: an ISO 4217 code; a code that CLDR does not know is shown as it is.

    Raises ConfigurationError for a locale that is not known.
    """

    def __init__(self, locale: str = "en", currency: str = "EUR") -> None:
        try:
            self._locale = Locale.parse(locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError, TypeError) as exc:
            raise ConfigurationError(f"expected a locale such as en, de or fr_CH, not {locale!r}") from exc
        self.currency = currency
        self.digits = max(2, get_currency_precision(currency))

    @property
    def tag(self) -> str:
        """The locale as browsers name it (BCP 47), for `Intl.NumberFormat` and `lang`."""
        return str(self._locale).replace("_", "-")

    def money(self, amount: Decimal) -> str:
        """An amount with its currency: `€1,234.50`, `1.234,50 €`."""
        return format_currency(
            amount, self.currency, locale=self._locale, currency_digits=False, decimal_quantization=True
        )

    def amount(self, amount: Decimal) -> str:
        """An amount without its currency, two digits: `1,234.50`."""
        return format_decimal(amount, format="#,##0.00", locale=self._locale)

    def count(self, number: int) -> str:
        """A whole number: `12,345`."""
        return format_decimal(number, format="#,##0", locale=self._locale)

    def quantity(self, number: Decimal) -> str:
        """A number with as many digits as it needs, up to four: `0.125`, `2`."""
        return format_decimal(number, format="#,##0.####", locale=self._locale)

    def share(self, part: Decimal) -> str:
        """A fraction as percent with one digit: `12.3%`, `12,3 %`."""
        return format_percent(part, format=None if part == 0 else "#,##0.0%", locale=self._locale)

    def change(self, ratio: Decimal) -> str:
        """A relative change with its sign: `+4.2%`, `-3.0%`."""
        return ("+" if ratio > 0 else "") + format_percent(ratio, format="#,##0.0%", locale=self._locale)
