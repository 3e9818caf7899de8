"""Cells and names of CSV files."""

import csv
import io
from zoneinfo import ZoneInfo

import pytest

from dashboard.pages.receipts_csv import COLUMNS, cells, file_name, harmless, lines
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
