"""Cells and names of CSV files."""

import csv
import io
from zoneinfo import ZoneInfo

import pytest

from dashboard.config import DashboardConfig
from dashboard.pages.receipts_csv import (
    COLUMNS,
    COMMA,
    SEMICOLON,
    Dialect,
    cells,
    dialect_of,
    file_name,
    harmless,
    lines,
)
from dashboard.pages.receipts_filters import Filters
from tests.unit.dashboard.stored_receipt import stored


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\n=1",
        "\N{FULLWIDTH EQUALS SIGN}1",
        "-",
        "--1",
    ],
)
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(text: str) -> None:
    """Texts come from tills: none may become a formula on somebody's desk."""
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a;=1+1", "a;'=1+1"), ("a\n=1", "a\n'=1"), ("=1;=2", "'=1;'=2"), ("Menu; @x", "Menu;' @x")],
)
def test_nor_may_what_is_behind_a_semicolon_or_a_line_break(text: str, shown: str) -> None:
    """Where a comma is a decimal point, spreadsheets take semicolons for the ends of cells."""
    assert harmless(text) == shown


@pytest.mark.parametrize("text", ["", "612", "-5", "+33.5", "-1,5", "Pain", "a=b", "Menu déjeuner", "'quoted'", "1-2"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    """Plain numbers, too, negative ones included."""
    assert harmless(text) == text


def test_in_a_file_with_semicolons_nor_behind_a_comma() -> None:
    """Where commas part cells, spreadsheets take those within a text for the ends of cells."""
    assert harmless("a,=1;=2", SEMICOLON) == "a,'=1;'=2"
    assert harmless("Menu, +boisson") == "Menu, +boisson"


@pytest.mark.parametrize(
    ("csv", "locale", "expected"),
    [
        ("", "en", COMMA),
        ("", "fr", SEMICOLON),
        ("", "de", SEMICOLON),
        ("", "de-CH", COMMA),
        ("comma", "fr", COMMA),
        ("semicolon", "en", SEMICOLON),
    ],
)
def test_a_file_has_the_signs_that_spreadsheets_of_the_locale_read(csv: str, locale: str, expected: Dialect) -> None:
    """Semicolons where a comma is the decimal sign, unless the configuration says otherwise."""
    assert dialect_of(DashboardConfig(csv=csv, locale=locale)) == expected


def test_a_french_spreadsheet_reads_cells_and_amounts() -> None:
    """Parted by semicolons, with decimal commas: each cell is where it belongs, whatever is in it."""
    event = stored(amount=12_345_000, categories=("Menu", "Pain; 'x'", 'a "b", c'))
    text = lines([cells(event, ZoneInfo("Europe/Paris"), "EUR", SEMICOLON)], SEMICOLON)
    (row,) = csv.reader(io.StringIO(text), delimiter=";")
    found = dict(zip(COLUMNS, row, strict=True))
    assert found["amount"] == "1234,50"
    assert found["categories"] == """Menu; Pain; 'x'; a "b", c"""
    assert found["id"] == event.id


def test_a_row_says_what_is_stored() -> None:
    """Times are local, amounts exact with a decimal point, categories in one cell."""
    event = stored(amount=265_300, categories=("Menu", "Pain"), received=1795000000.25, stored=1795000000.5)
    row = dict(zip(COLUMNS, cells(event, ZoneInfo("Europe/Paris"), "EUR"), strict=True))
    assert row == {
        "day": "2026-11-18",
        "time": "11:06:40",
        "store": "612",
        "terminal": "3",
        "receipt": "40213",
        "customer": "85320",
        "categories": "Menu; Pain",
        "amount": "26.53",
        "currency": "EUR",
        "received": "2026-11-18T12:06:40.250+01:00",
        "stored": "2026-11-18T12:06:40.500+01:00",
        "id": "612:3:2026-11-18 11:06:40:40213",
    }


@pytest.mark.parametrize(
    ("units", "text"), [(-5, "-0.0005"), (0, "0.00"), (-34_000, "-3.40"), (10**13, "1000000000.00")]
)
def test_amounts_lose_nothing(units: int, text: str) -> None:
    """Two digits, or four where there is more."""
    assert cells(stored(amount=units), ZoneInfo("UTC"), "EUR")[COLUMNS.index("amount")] == text


def test_any_text_survives_csv() -> None:
    """Quotes, commas and line ends are read back as they were."""
    odd = ['a"b', "c,d", "e\nf", "g\r\nh", "", "ü€", "; "]
    text = lines([odd])
    assert text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [odd]


@pytest.mark.parametrize(
    ("filters", "name"),
    [
        (Filters(day="2026-11-21"), "receipts-2026-11-21.csv"),
        (Filters(), "receipts.csv"),
        (
            Filters(day="2026-11-21", keys={"store": "612"}, category="Café crème", at_least=125_000),
            "receipts-2026-11-21-store-612-category-Caf-cr-me-min-12.50.csv",
        ),
        (Filters(keys={"store": '../../"\r\nX: y'}), "receipts-store-..-..-X-y.csv"),
    ],
)
def test_a_file_is_named_after_its_filters(filters: Filters, name: str) -> None:
    """In letters that every system takes, and that end no header."""
    assert file_name(filters) == name


def test_a_file_name_has_an_end() -> None:
    """However long the filters."""
    assert len(file_name(Filters(keys={"store": "9" * 300}))) <= 104
