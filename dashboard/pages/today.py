"""The day at a glance."""

from dataclasses import dataclass
from html import escape

from dashboard.comparison import Change
from dashboard.curve import curve
from dashboard.moments import Moment
from dashboard.pages.charts import MinutesChart
from dashboard.pages.curve import CurveChart
from dashboard.pages.frame import Frame, Pages, asset
from dashboard.pages.live import LivePage
from dashboard.view import Bar, StoreRow, View, today

#: Way of a change → its arrow. The words beside it say the same: neither arrow nor colour is needed to read it.
ARROWS = {"more": "▲", "less": "▼", "same": "=", "unknown": ""}


def today_page(pages: Pages) -> LivePage:
    """A session's page of today."""
    return LivePage(
        pages,
        file="today.html",
        path="",
        heading="Today",
        texts=TodayTexts(pages.frame),
        parts={"curve": CurveChart(pages.moments), "chart": MinutesChart(pages.moments)},
        styles=asset("today.css"),
    )


@dataclass(frozen=True, slots=True)
class TodayTexts:
    """Makes the panes' HTML, in which all that comes from receipts is escaped. Two of one frame are equal, so that it
    is made once a moment for all sessions."""

    frame: Frame

    def __call__(self, moment: Moment) -> dict[str, str]:
        """Pane → its HTML."""
        now = today(moment)
        then = now.changes
        return {
            "revenue": f'<p class="number huge">{now.revenue}</p>{_changes(then.revenue, then.revenue_week)}',
            "receipts": f'<p class="number large">{now.receipts}</p>{_changes(then.receipts)}',
            "basket": f'<p class="number large">{now.basket}</p>{_changes(then.basket)}',
            "pace": (
                f'<p class="pair"><span class="number large">{now.pace}</span> '
                f'<span class="small">in the last minute{_after(now.speed)}</span></p>'
            ),
            "curve_note": f'<p class="small">{escape(curve(moment).note)}</p>',
            "categories": _bars(now.bars, "Nothing sold yet.", "share of all categories"),
            "payments": _bars(now.payments, "Nothing paid yet.", "share of all payments"),
            "minutes_note": _minutes_note(now),
            "top": self._stores(now.top, "No store has sold anything yet."),
            "bottom": self._stores(now.bottom, f"No more than {len(now.top)} so far: all are among the first."),
        }

    def _stores(self, rows: tuple[StoreRow, ...], none: str) -> str:
        if not rows:
            return f'<p class="hint">{none}</p>'
        items = "".join(
            f'<li><span class="place">{row.place}</span>'
            f'<a class="name" href="{escape(self.frame.address("store", id=row.store))}">Store {escape(row.store)}</a>'
            f'<span class="amount">{row.amount}</span><span class="share">{row.receipts}</span></li>'
            for row in rows
        )
        return f'<ol class="stores">{items}</ol>'


def _changes(*changes: Change) -> str:
    return f'<ul class="changes">{"".join(f"<li>{_change(each)}</li>" for each in changes)}</ul>'


def _change(change: Change) -> str:
    arrow = f'<span aria-hidden="true">{ARROWS[change.kind]}</span> ' if ARROWS[change.kind] else ""
    was = f' <span class="was">{escape(change.was)}</span>' if change.was else ""
    return f'<span class="{change.kind}">{arrow}{escape(change.text)}</span> <span>{escape(change.than)}</span>{was}'


def _bars(rows: tuple[Bar, ...], none: str, note: str) -> str:
    if not rows:
        return f'<p class="hint">{none}</p>'
    items = "".join(
        f'<li><span class="name">{escape(row.name)}</span><span class="amount">{row.amount}</span>'
        f'<span class="share">{row.share}</span><span class="track" aria-hidden="true">'
        f'<span class="fill" style="width:{row.width}%;background:{row.colour}"></span></span></li>'
        for row in rows
    )
    return f'<ol class="bars">{items}</ol><p class="small">{note}</p>'


def _after(words: str) -> str:
    return f", {escape(words)}" if words else ""


def _minutes_note(now: View) -> str:
    return f'<p class="small">by time of arrival{f"; {now.minutes_note}" if now.minutes_note else ""}</p>'
