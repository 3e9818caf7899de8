"""An event as people read it on paper: a title, who and where, items, taxes, totals, payments. Pure data.

All amounts are exact decimals with two digits, or up to four where they need them; quantities and percentages have the
digits that they need. All texts are the sender's: escape them wherever they are shown.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperItem:
    """One line.

    Attributes:
        text: what was sold, in words.
        code, category: the product's code, and the name of its category.
        quantity, unit: how many of what; negative for a return.
        unit_price: of one unit, as the sender gave it.
        tax_percent: the rate of tax, such as 5.5.
        amount: what the line comes to.
    """

    text: str
    code: str
    category: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    tax_percent: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTax:
    """The items of one rate of tax.

    Attributes:
        rate: percent.
        gross: the sum of these items' amounts, tax included.
        tax: the tax contained in it, gross · rate / (100 + rate), rounded half to even to 1/10000.
    """

    rate: Decimal
    gross: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """An event as people read it.

    Attributes:
        title: such as "Receipt 4711".
        day: business day, `YYYY-MM-DD`.
        time: the event's own local time, `HH:MM:SS`.
        facts: label → value of what is known about where, by whom and for whom, in the order to show.
        items: the lines in the sender's order.
        taxes: one for each rate found in the items, by rate.
        totals: label → amount as the sender gave them, in the order to show.
        payments: means of payment → amount.
        remark: one sentence where something does not fit together, else "".
        extra: the fields that the schema does not know, as indented JSON; "" if there are none.
    """

    title: str
    day: str
    time: str
    facts: tuple[tuple[str, str], ...]
    items: tuple[PaperItem, ...]
    taxes: tuple[PaperTax, ...]
    totals: tuple[tuple[str, Decimal], ...]
    payments: tuple[tuple[str, Decimal], ...]
    remark: str
    extra: str
