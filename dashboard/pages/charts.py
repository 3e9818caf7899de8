"""The charts of today's page: their sources are patched, never replaced where a patch will do."""

from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, Range1d, VBar

from dashboard.moments import Moments
from dashboard.pages.drawing import clock_ticks, count_ticks, hour_ticks, hover, ink, pane, plot
from dashboard.view import Chart, minutes_chart

#: Up to this many minutes on the chart each has a bar of its own; beyond, bars are hairs and close up to one shape.
SINGLE_BARS = 180


class MinutesChart:
    """Receipts per minute as bars (a `dashboard.pages.live.Part`); at most one row a minute of the day."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._shown = first = moments.made(minutes_chart)
        self._source = ColumnDataSource(name="minutes", data=_columns(first))
        self._x = Range1d(start=first.start, end=first.end)
        self._y = Range1d(start=0, end=first.top)
        self._ticker = FixedTicker(ticks=hour_ticks(first.start, first.end))
        self._bars = ink(VBar(x="middle", top="count", **_bar_style(first)), fill_color="mark", line_color="mark")
        self.figure = self._draw()

    @property
    def model(self) -> Any:
        """What Panel shows."""
        return pane(self.figure)

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
            self._ticker.ticks = hour_ticks(now.start, now.end)
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
        drawn = plot("minutes", self._x, self._y)
        drawn.add_glyph(self._source, self._bars)
        drawn.add_tools(hover({"at": "@time", "receipts": "@count{0,0}"}))
        drawn.xaxis.ticker = self._ticker
        drawn.xaxis.formatter = clock_ticks()
        drawn.yaxis.formatter = count_ticks(self._moments.current.formats)
        drawn.yaxis.ticker = BasicTicker(min_interval=1)  # there are no half receipts
        return drawn


def _columns(rows: Chart) -> dict[str, list[Any]]:
    return {
        "middle": [minute + 0.5 for minute in rows.minutes],
        "count": list(rows.counts),
        "time": [f"{minute // 60:02}:{minute % 60:02}" for minute in rows.minutes],
    }


def _bar_style(rows: Chart) -> dict[str, Any]:
    """Bars with gaps, or an outline that hides the seams between them; the axis counts minutes."""
    if rows.end - rows.start <= SINGLE_BARS:
        return {"width": 0.85, "line_width": 0}
    return {"width": 1.0, "line_width": 1}
