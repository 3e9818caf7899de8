"""Reading amounts as people write them, and as the dashboard shows them."""

from decimal import Decimal

import pytest
from babel import Locale
from babel.localedata import locale_identifiers

from dashboard.formats import Formats
from dashboard.pages.amounts import amount_text, read_amount
from dashboard.pages.receipts_list import exact

#: Each has a group, a fraction or a sign that another does not.
AMOUNTS = ("0", "7", "-3.4", "12.5", "999.99", "1234.5", "1234", "-1234567.89", "0.1234", "123456.7891", "999999999")


@pytest.mark.parametrize(
    ("text", "locale", "units"),
    [
        ("12.50", "en", 125_000),
        ("12,50", "en", 125_000),
        ("12,50", "fr", 125_000),
        ("12.50", "de", 125_000),
        ("12", "de", 120_000),
        (" 12 ", "de", 120_000),
        ("0.1234", "en", 1234),
        (".5", "en", 5000),
        ("5.", "en", 50_000),
        ("-3,4", "de", -34_000),
        ("\N{MINUS SIGN}3.4", "en", -34_000),
        ("+3.4", "en", 34_000),
        ("1,234.50", "en", 12_345_000),
        ("1.234,50", "de", 12_345_000),
        ("1,234.50", "de", 12_345_000),
        ("1 234,50", "fr", 12_345_000),
        ("1\u202f234,50", "fr", 12_345_000),
        ("1'234.50", "de_CH", 12_345_000),
        ("1\N{RIGHT SINGLE QUOTATION MARK}234.50", "de_CH", 12_345_000),
        ("1,234", "en", 12_340_000),
        ("1,234", "fr", 12_340),
        ("1.234", "de", 12_340_000),
        ("1.234", "en", 12_340),
        ("1,234,567", "fr", 12_345_670_000),
        ("1234.567", "de", 12_345_670),
        ("0", "en", 0),
        ("1,23,456.50", "hi", 1_234_565_000),
        ("1,23,456.50", "en_IN", 1_234_565_000),
        ("\u0661\u066c\u0662\u0663\u0664\u066b\u0665\u0660", "ar_EG", 12_345_000),
        ("\u0661\u066b\u0665", "en", 15_000),
        ("\u061c-\u0663", "ar_EG", -30_000),
        ("\u200e\u2212\u06f1\u06f2\u066b\u06f5", "fa", -125_000),
        ("\u0967\u0968.\u096b", "mr", 125_000),
        ("1.234,567", "en", 12_345_670),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, locale: str, units: int) -> None:
    """Points and commas, groups and minus signs of any place; the locale decides only where nothing else does."""
    assert read_amount(text, Locale.parse(locale)) == units


@pytest.mark.parametrize(
    "text",
    [
        "x",
        ".",
        "-",
        "1e5",
        "1.2.3",
        "1,2,3",
        "12.34567",
        "1.234.567,8.9",
        "12,34.5",
        "NaN",
        "٣x",
        "1" * 12,
        "--1",
        "1-",
        "+-1",
        "1,2345,678",
        "½",
        "²",
    ],
)
def test_what_is_no_amount_is_refused_in_words(text: str) -> None:
    """The sentence is for the person who typed it."""
    with pytest.raises(ValueError, match=r"^Expected .*\.$"):
        read_amount(text, Locale.parse("en"))


@pytest.mark.parametrize("units", [0, 125_000, -34_000, 1234, 12_340, 12_340_000, -1, 9_999_999_999])
def test_an_amount_in_an_address_means_the_same_everywhere(units: int) -> None:
    """Whoever opens a link that somebody else made sees the same list."""
    text = amount_text(units)
    assert {read_amount(text, Locale.parse(name)) for name in locale_identifiers()} == {units}


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
def test_an_amount_is_read_as_it_is_shown_in_every_locale(currency: str) -> None:
    """Whatever stands in a list may be copied into the form: in all locales that CLDR has."""
    wrong = {}
    for name in sorted(locale_identifiers()):
        formats, locale = Formats(name, currency), Locale.parse(name)
        for text in AMOUNTS:
            amount = Decimal(text)
            shown = exact(amount, formats)
            try:
                read = read_amount(shown, locale)
            except ValueError as exc:
                wrong[name, shown] = str(exc)
            else:
                if read != amount.scaleb(4):
                    wrong[name, shown] = str(read)
    assert not wrong
