"""The page of today, one object per session: built from the feed's last values, then pushed only what changed."""

import time
from html import escape
from typing import Any

import panel as pn
import structlog
from bokeh.models import BasicTicker, ColumnDataSource, CustomJSTickFormatter, FixedTicker, HoverTool, Range1d, VBar
from bokeh.plotting import figure

from dashboard import theme
from dashboard.config import DashboardConfig
from dashboard.feed import Feed
from dashboard.view import Bar, Chart, Notice, View, chart, today

log = structlog.get_logger("tillstream.dashboard")

TITLE = "Tillstream: today"
#: How often a session looks at the feed, which changes once a second; only what changed is pushed. Looking once a
#: second, too, would let a receipt take two seconds to the screen.
EVERY_MILLISECONDS = 250
#: Up to this many minutes on the chart each has a bar of its own; beyond, bars are hairs and close up to one shape.
SINGLE_BARS = 180


def show_page(feed: Feed, config: DashboardConfig) -> Any:
    """Make a session's page and keep it up to date: what the server calls for each visitor.

    Returns what Panel serves. A page that cannot be made is logged, and said to be so in our words: Panel's own page
    for that asks other hosts for fonts.
    """
    try:
        page = Page(feed, config)
    except Exception:
        log.exception("the page cannot be made")
        return _pane('<p class="notice alarm">This page cannot be made; the log of the dashboard says why.</p>')
    # `add_periodic_callback` of Panel marks the page busy each time, which is a message more for nothing.
    document = pn.state.curdoc
    if document is None:
        raise RuntimeError("a page is made for a session")
    document.add_periodic_callback(page.update, EVERY_MILLISECONDS)
    document.config.notify_connection_status = False  # the frame says it, and in our words
    return page.template


class Page:
    """The panes of one session and what they show now.

    Arguments:
        feed: read only.
    """

    def __init__(self, feed: Feed, config: DashboardConfig) -> None:
        self._feed = feed
        self._config = config
        self._view = self._look()
        self._snapshot = feed.latest
        self._panes = {name: _pane(text) for name, text in _texts(self._view, config).items()}
        self._minutes = MinutesChart(chart(feed.latest, config.timezone))
        self.template = pn.Template(theme.TEMPLATE)
        for name, pane in self._panes.items():
            self.template.add_panel(name, pane)
        self.template.add_panel("chart", pn.pane.Bokeh(self._minutes.figure, sizing_mode="stretch_both"))  # type: ignore[no-untyped-call]
        self.template.add_variable("page_css", theme.PAGE_CSS)
        self.template.add_variable("icon", theme.ICON)

    def update(self) -> None:
        """Look at the feed, and push what reads otherwise than before."""
        now = self._look()
        if now != self._view:
            before, after = _texts(self._view, self._config), _texts(now, self._config)
            self._view = now
            for name, text in after.items():
                if text != before[name]:
                    self._panes[name].object = text
        if self._feed.latest is not self._snapshot:
            self._snapshot = self._feed.latest
            self._minutes.show(chart(self._snapshot, self._config.timezone))

    def _look(self) -> View:
        return today(self._feed.latest, now=self._feed.clock(), epoch=time.time(), zone=self._config.timezone)


class MinutesChart:
    """Receipts per minute as bars. Its source has at most one row a minute of the day."""

    def __init__(self, first: Chart) -> None:
        self._shown = first
        self._source = ColumnDataSource(data=_columns(first))
        self._x = Range1d(start=first.start, end=first.end)
        self._y = Range1d(start=0, end=first.top)
        self._ticker = FixedTicker(ticks=_ticks(first))
        self._bars = VBar(x="middle", top="count", fill_color=theme.ROAST, **_bar_style(first))
        self.figure = self._draw()

    def show(self, now: Chart) -> None:
        """Push the difference between what is shown and `now`."""
        before, self._shown = self._shown, now
        if (now.minutes, now.counts) != (before.minutes, before.counts):
            self._show_rows(before, now)
        if (now.start, now.end) != (before.start, before.end):
            self._x.update(start=now.start, end=now.end)
            self._ticker.ticks = _ticks(now)
            self._bars.update(**_bar_style(now))
        if now.top != before.top:
            self._y.end = now.top

    def _show_rows(self, before: Chart, now: Chart) -> None:
        known = len(before.minutes)
        if now.minutes[:known] != before.minutes:  # another day, or a minute that came late
            self._source.data = _columns(now)
            return
        changed = [(row, now.counts[row]) for row in range(known) if now.counts[row] != before.counts[row]]
        if changed:
            self._source.patch({"count": changed})
        if len(now.minutes) > known:
            fresh = _columns(now)
            self._source.stream({name: column[known:] for name, column in fresh.items()})

    def _draw(self) -> Any:
        plot = figure(
            sizing_mode="stretch_both",
            min_height=280,
            x_range=self._x,
            y_range=self._y,
            toolbar_location=None,
            tools="",
            background_fill_color=theme.FOAM,
            border_fill_color=theme.FOAM,
            outline_line_color=None,
            min_border_left=36,
            min_border_right=18,
        )
        plot.add_glyph(self._source, self._bars)
        plot.add_tools(HoverTool(tooltips=[("at", "@time"), ("receipts", "@count{0,0}")], mode="vline"))
        plot.xaxis.ticker = self._ticker
        plot.xaxis.formatter = CustomJSTickFormatter(
            code="return String(Math.floor(tick / 60)).padStart(2, '0') + ':' + String(tick % 60).padStart(2, '0')"
        )
        plot.yaxis.ticker = BasicTicker(min_interval=1)  # there are no half receipts
        plot.xgrid.grid_line_color = None
        plot.ygrid.grid_line_color = theme.VANILLA
        for axis in plot.axis:
            axis.axis_line_color = theme.CRUST
            axis.major_tick_line_color = theme.CRUST
            axis.minor_tick_line_color = None
            axis.major_label_text_color = theme.MOCHA
            axis.major_label_text_font = "system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif"
            axis.major_label_text_font_size = "13px"
        return plot


def _columns(rows: Chart) -> dict[str, list[Any]]:
    return {
        "middle": [minute + 0.5 for minute in rows.minutes],
        "count": list(rows.counts),
        "time": [f"{minute // 60:02}:{minute % 60:02}" for minute in rows.minutes],
    }


def _bar_style(rows: Chart) -> dict[str, Any]:
    """Bars with gaps, or an outline that hides the seams between them; the axis counts minutes."""
    if rows.end - rows.start <= SINGLE_BARS:
        return {"width": 0.85, "line_color": None}
    return {"width": 1.0, "line_color": theme.ROAST}


def _ticks(rows: Chart) -> list[int]:
    """Between four and eight labels on whole quarters or hours: few enough for a phone."""
    span = rows.end - rows.start
    step = next(minutes for minutes in (15, 30, 60, 120, 180, 240) if span // minutes <= 6)
    return list(range(-(-rows.start // step) * step, rows.end + 1, step))


def _pane(text: str) -> Any:
    return pn.pane.HTML(  # type: ignore[no-untyped-call]
        text, stylesheets=[theme.PANE_CSS], sizing_mode="stretch_width", margin=0
    )


def _texts(now: View, config: DashboardConfig) -> dict[str, str]:
    """Pane → its HTML. All that comes from receipts is escaped."""
    currency = escape(config.currency)
    return {
        "stamp": (
            f'<div class="stamp"><span>{escape(now.day)}</span><span>{escape(str(config.timezone))}</span>'
            f'<span>updated <span class="time">{now.updated}</span></span></div>'
        ),
        "notice": _notice(now.notice, now.empty, config),
        "revenue": f'<p class="number huge"><span>{now.revenue}</span> <span class="unit">{currency}</span></p>',
        "receipts": f'<p class="number large">{now.receipts}</p><p class="small">{_basket(now, currency)}</p>',
        "pace": f'<p class="number large">{now.pace}</p><p class="small">{escape(now.speed)}</p>',
        "categories": _categories(now.bars, currency),
        "minutes_note": f'<p class="small">by time of arrival{f"; {now.minutes_note}" if now.minutes_note else ""}</p>',
    }


def _basket(now: View, currency: str) -> str:
    if now.basket:
        return f"{now.basket} {currency} on average"
    return "none today" if now.empty else ""


def _notice(notice: Notice | None, empty: bool, config: DashboardConfig) -> str:
    if notice:
        return f'<div class="notice{" alarm" if notice.alarm else ""}" role="status">{escape(notice.text)}</div>'
    if empty:
        where = escape(config.receipt_url)
        return f'<div class="notice" role="status">No receipts yet: POST one to <code>{where}</code></div>'
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
    return f'<ol>{items}</ol><p class="small">in {currency}; share of all categories</p>'
