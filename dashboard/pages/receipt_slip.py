"""One receipt as a till prints it, in words that are ready to be shown. Pure.

All texts are the till's: escape them wherever they are shown.
"""

from dataclasses import dataclass
from decimal import Decimal

from dashboard.formats import Formats
from dashboard.pages.receipts_list import exact, long_day
from streams.paper import Paper, PaperItem

#: What tills round.
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlipLine:
    """One line.

    Attributes:
        price: quantity and unit price.
        net: the unit price is without the tax: with it, it comes to the amount.
    """

    text: str
    code: str
    category: str
    price: str
    net: bool
    rate: str
    amount: str
    negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """The sheet of paper.

    Attributes:
        facts, sums, payments: label → text, in their order.
        total: the last of the totals, in large type: label, amount.
        taxes: rate, gross, tax; the tax is computed, so it is rounded as a till does.
    """

    title: str
    day: str
    time: str
    facts: tuple[tuple[str, str], ...]
    lines: tuple[SlipLine, ...]
    sums: tuple[tuple[str, str], ...]
    total: tuple[str, str] | None
    taxes: tuple[tuple[str, str, str], ...]
    payments: tuple[tuple[str, str], ...]
    remark: str
    extra: str
    currency: str


def slip(paper: Paper, formats: Formats) -> Slip:
    """A receipt, its numbers written as people here do."""
    *sums, total = paper.totals or (None,)
    return Slip(
        title=paper.title,
        day=long_day(paper.day),
        time=paper.time,
        facts=paper.facts,
        lines=tuple(_line(item, formats) for item in paper.items),
        sums=tuple((label, exact(amount, formats)) for label, amount in sums),
        total=(total[0], exact(total[1], formats)) if total else None,
        taxes=tuple(
            (f"{formats.quantity(tax.rate)}%", exact(tax.gross, formats), formats.amount(tax.tax))
            for tax in paper.taxes
        ),
        payments=tuple((means, exact(amount, formats)) for means, amount in paper.payments),
        remark=paper.remark,
        extra=paper.extra,
        currency=formats.currency,
    )


def _line(item: PaperItem, formats: Formats) -> SlipLine:
    quantity = f"{formats.quantity(item.quantity)} {item.unit}".strip()
    return SlipLine(
        text=item.text,
        code=item.code,
        category=item.category,
        price=f"{quantity} × {exact(item.unit_price, formats)}",  # noqa: RUF001 - a multiplication sign is what is meant
        net=_is_net(item),
        rate=f"{formats.quantity(item.tax_percent)}%",
        amount=exact(item.amount, formats),
        negative=item.amount < 0,
    )


def _is_net(item: PaperItem) -> bool:
    """Whether the amount is the price with the tax added; where it is neither that nor the price, nothing is said."""
    price = item.quantity * item.unit_price
    with_tax = price * (1 + item.tax_percent / 100)
    return abs(with_tax - item.amount) <= _CENT < abs(price - item.amount)
