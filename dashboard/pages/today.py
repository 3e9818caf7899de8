"""The day at a glance."""

from html import escape

from dashboard.moments import Moment
from dashboard.pages.charts import MinutesChart
from dashboard.pages.frame import Pages, asset
from dashboard.pages.live import LivePage
from dashboard.view import Bar, View, today


def today_page(pages: Pages) -> LivePage:
    """A session's page of today."""
    return LivePage(
        pages,
        file="today.html",
        path="",
        heading="Today",
        texts=texts,
        styles=asset("today.css"),
        parts={"chart": MinutesChart(pages.moments)},
    )


def texts(moment: Moment) -> dict[str, str]:
    """Pane → its HTML. All that comes from receipts is escaped."""
    now, currency = today(moment), escape(moment.config.currency)
    return {
        "revenue": f'<p class="number huge"><span>{now.revenue}</span> <span class="unit">{currency}</span></p>',
        "receipts": f'<p class="number large">{now.receipts}</p><p class="small">{_basket(now, currency)}</p>',
        "pace": f'<p class="number large">{now.pace}</p><p class="small">{escape(now.speed)}</p>',
        "categories": _categories(now.bars, currency),
        "minutes_note": f'<p class="small">by time of arrival{f"; {now.minutes_note}" if now.minutes_note else ""}</p>',
    }


def _basket(now: View, currency: str) -> str:
    if now.basket:
        return f"{now.basket} {currency} on average"
    return ""


def _categories(rows: tuple[Bar, ...], currency: str) -> str:
    if not rows:
        return '<p class="hint">Nothing sold yet.</p>'
    items = "".join(
        f'<li><span class="name">{escape(row.name)}</span><span class="amount">{row.amount}</span>'
        f'<span class="share">{row.share}</span>'
        f'<span class="track" aria-hidden="true"><span class="fill" style="width:{row.width}%"></span></span></li>'
        for row in rows
    )
    return f'<ol class="bars">{items}</ol><p class="small">in {currency}; share of all categories</p>'
