"""Amounts as people write them, whatever their locale. Pure."""

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

from babel import Locale

from streams.money import in_range, to_units

_DIGITS = 4
#: Stand between thousands besides the locale's own sign: blanks of all kinds, apostrophes.
_GAPS = re.compile("[\\s'\N{RIGHT SINGLE QUOTATION MARK}]")
#: Signs between thousands that are nothing else anywhere.
_GROUPS = "\N{ARABIC THOUSANDS SEPARATOR}\N{REVERSED COMMA}"
_AMOUNT = re.compile(r"[+-]?[0-9.,]*[0-9][0-9.,]*")
#: Enough for every locale of a process, which has one.
_LOCALES = 8


def read_amount(text: str, locale: Locale) -> int:
    """An amount as people write it, in 1/10000: `12.50`, `12,50`, `1,234.50`, `1.234,50`, `1 234,50`, `-3`.

    Digits may be of any script. An amount in the locale's own form means the same as there: `1,234` is a thousand and
    some in English, and a little more than one in French. In other forms the last of two kinds of separators is the
    decimal point.

    Raises ValueError with a sentence for a person.
    """
    compact = "".join(map(_plain, _GAPS.sub("", text)))
    number = compact.lstrip("+-")
    if len(compact) - len(number) > 1:
        raise ValueError("Expected an amount such as 12.50.")
    whole, fraction = _own(number, locale) or _foreign(number)
    if len(fraction) > _DIGITS:
        raise ValueError(f"Expected at most {_DIGITS} digits after the decimal point.")
    amount = Decimal(f"{'-' if compact.startswith('-') else ''}{whole or 0}.{fraction or 0}")
    if not in_range(amount):
        raise ValueError("Expected an amount of less than a thousand million.")
    return to_units(amount)


def amount_text(units: int) -> str:
    """An amount in 1/10000 as programs and `read_amount` read it, whatever the locale: `12.50`, `0.1250`."""
    digits = f"{abs(units) // 10_000}.{abs(units) % 10_000:04d}"
    return ("-" if units < 0 else "") + digits.removesuffix("00")


def _plain(sign: str) -> str:
    """Digits of all scripts in ASCII, one minus sign, and nothing that only directs the order of reading."""
    if sign == "\N{MINUS SIGN}":
        return "-"
    if unicodedata.category(sign) == "Cf":
        return ""
    digit = unicodedata.decimal(sign, None)
    return sign if digit is None else str(digit)


def _own(number: str, locale: Locale) -> tuple[str, str] | None:
    """Digits before and after the decimal point of a number in a form of the locale's own; None for other forms."""
    for form, group in _forms(locale):
        if found := form.fullmatch(number):
            return found["whole"].replace(group, "") if group else found["whole"], found["fraction"] or ""
    return None


@lru_cache(_LOCALES)
def _forms(locale: Locale) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each form in which a locale writes numbers, with its sign between thousands: in Latin digits first, then in those
    of its own script and of Arabic ones."""
    last, others = locale.decimal_formats[None].grouping
    found = []
    for system in dict.fromkeys(("latn", locale.default_numbering_system, "arab", "arabext")):
        symbols = locale.number_symbols.get(system) or {}
        if "decimal" not in symbols or "group" not in symbols:
            continue
        point, group = re.escape(symbols["decimal"]), _GAPS.sub("", symbols["group"])
        grouped = rf"[0-9]{{1,{others}}}(?:{re.escape(group)}[0-9]{{{others}}})*{re.escape(group)}[0-9]{{{last}}}"
        whole = rf"{grouped}|[0-9]*" if group else "[0-9]*"
        found.append((re.compile(rf"(?=.*[0-9])(?P<whole>{whole})(?:{point}(?P<fraction>[0-9]*))?"), group))
    return tuple(found)


def _foreign(number: str) -> tuple[str, str]:
    """Digits before and after the decimal point of a number that another locale writes so. Raises ValueError."""
    number = number.replace("\N{ARABIC DECIMAL SEPARATOR}", ".")
    number = number.translate(dict.fromkeys(map(ord, _GROUPS)))
    if _AMOUNT.fullmatch(number) is None:
        raise ValueError("Expected an amount such as 12.50.")
    kinds = sorted({sign for sign in number if sign in ".,"}, key=number.rindex)
    if not kinds:
        return number, ""
    point = kinds[-1]
    before, _, after = number.rpartition(point)
    if number.count(point) == 1:
        return (_ungrouped(before, kinds[0]) if len(kinds) == 2 else before), after
    if len(kinds) == 2:
        raise ValueError("Expected an amount such as 12.50.")
    return _ungrouped(number, point), ""


def _ungrouped(number: str, sign: str) -> str:
    first, *others = number.split(sign)
    if not 1 <= len(first) <= 3 or any(len(digits) != 3 for digits in others):
        raise ValueError("Expected thousands in groups of three digits, or an amount such as 12.50.")
    return first + "".join(others)
