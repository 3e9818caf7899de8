"""Charts: their sources are patched, never replaced where a patch will do."""

from typing import Any

import panel as pn
from bokeh.models import BasicTicker, ColumnDataSource, CustomJSTickFormatter, FixedTicker, HoverTool, Range1d, VBar
from bokeh.plotting import figure

from dashboard import theme
from dashboard.moments import Moments
from dashboard.view import Chart, minutes_chart

#: Up to this many minutes on the chart each has a bar of its own; beyond, bars are hairs and close up to one shape.
SINGLE_BARS = 180


class MinutesChart:
    """Receipts per minute as bars (a `dashboard.pages.live.Part`); at most one row a minute of the day."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._shown = first = moments.made(minutes_chart)
        self._source = ColumnDataSource(data=_columns(first))
        self._x = Range1d(start=first.start, end=first.end)
        self._y = Range1d(start=0, end=first.top)
        self._ticker = FixedTicker(ticks=_ticks(first))
        self._bars = VBar(x="middle", top="count", fill_color=theme.ROAST, **_bar_style(first))
        self.figure = self._draw()

    @property
    def model(self) -> Any:
        """What Panel shows."""
        return pn.pane.Bokeh(self.figure, sizing_mode="stretch_both")  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Push the difference between what is shown and what is to be."""
        now = self._moments.made(minutes_chart)
        if now is self._shown:
            return
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
