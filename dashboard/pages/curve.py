"""The chart of revenue over the day: today's line, yesterday's, and where today is now."""

from math import nan
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    Line,
    Range1d,
    Scatter,
    Text,
    VBar,
)

from dashboard.comparison import clock
from dashboard.curve import STEP, Curve, curve
from dashboard.moments import Moments
from dashboard.pages.drawing import FONT, amount_ticks, clock_ticks, hour_ticks, hover, ink, money_hover, pane, plot


class CurveChart:
    """Revenue over the day as lines (a `dashboard.pages.live.Part`).

    Only what changed is pushed: mostly the last piece of today's line, which has a source of its own.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._shown = first = moments.made(curve)
        self._points = ColumnDataSource(name="curve", data=_points(first))
        self._now = ColumnDataSource(name="now", data=_now(first))
        self._last = ColumnDataSource(name="last", data=_last(first))
        self._x = Range1d(start=first.start, end=first.end)
        self._y = Range1d(start=first.bottom, end=first.top)
        self._ticker = FixedTicker(ticks=hour_ticks(first.start, first.end))
        self.figure = self._draw()

    @property
    def model(self) -> Any:
        """What Panel shows."""
        return pane(self.figure)

    def update(self) -> None:
        """Push the difference between what is shown and what is to be."""
        now = self._moments.made(curve)
        if now is self._shown:
            return
        before, self._shown = self._shown, now
        if now.at != before.at:
            self._points.data = _points(now)
        elif changed := _differences(before, now):
            self._points.patch(changed)
        if (rows := _now(now)) != _now(before):
            self._now.data = rows
        if (rows := _last(now)) != _last(before):
            self._last.data = rows
        if (now.start, now.end) != (before.start, before.end):
            self._x.update(start=now.start, end=now.end)
            self._ticker.ticks = hour_ticks(now.start, now.end)
        if (now.bottom, now.top) != (before.bottom, before.top):
            self._y.update(start=now.bottom, end=now.top)

    def _draw(self) -> Any:
        drawn = plot("curve", self._x, self._y)
        formats = self._moments.current.formats
        drawn.add_glyph(
            self._points, ink(Line(x="at", y="before", line_width=2.5, line_dash=[7, 5]), line_color="past")
        )
        for source in (self._points, self._now):
            drawn.add_glyph(source, ink(Line(x="at", y="today", line_width=4, line_cap="round"), line_color="mark"))
        drawn.add_glyph(self._now, ink(Scatter(x="at", y="today", size="size"), fill_color="mark", line_color="card"))
        drawn.add_glyph(self._now, ink(_label("today"), text_color="text"))
        drawn.add_glyph(self._last, ink(_label("before"), text_color="quiet"))
        # Under the pointer there is always the nearest point, whatever the lines do there.
        nearest = drawn.add_glyph(self._points, VBar(x="at", top=0, bottom=0, width=STEP, fill_alpha=0, line_alpha=0))
        money = money_hover(formats)
        drawn.add_tools(
            hover(
                {"by": "@time", "today": "@today{custom}", "yesterday": "@before{custom}"},
                renderers=[nearest],
                formatters={"@today": money, "@before": money},
            )
        )
        drawn.xaxis.ticker = self._ticker
        drawn.xaxis.formatter = clock_ticks()
        drawn.yaxis.formatter = amount_ticks(formats)
        return drawn


def _label(y: str) -> Text:
    """Words beside a line, above or below it as the rows say."""
    return Text(
        x="at",
        y=y,
        text="label",
        text_baseline="baseline",
        text_align="align",
        y_offset="offset",
        text_font=value(FONT),
        text_font_size=value("0.95rem"),
        text_font_style="bold",
    )


def _points(shown: Curve) -> dict[str, list[Any]]:
    return {
        "at": list(shown.at),
        "time": [clock(minute) for minute in shown.at],
        "today": _drawn(shown.today),
        "before": _drawn(shown.before),
    }


def _drawn(line: tuple[float | None, ...]) -> list[float]:
    return [nan if value is None else value for value in line]


def _differences(before: Curve, now: Curve) -> dict[str, list[tuple[int, float]]]:
    found = {}
    for name in ("today", "before"):
        old, new = getattr(before, name), getattr(now, name)
        rows = [(row, value) for row, value in enumerate(_drawn(new)) if new[row] != old[row]]
        if rows:
            found[name] = rows
    return found


def _now(shown: Curve) -> dict[str, list[Any]]:
    """The last piece of today's line, from its last point to now; its end has a dot and a name."""
    if shown.now is None:
        return _named([], "today", "today", shown, above=True)
    points = [(minute, value) for minute, value in zip(shown.at, shown.today, strict=True) if value is not None]
    then = _value(shown, shown.now[0])
    # A line that rises leaves room above it on the left, and below it on the right.
    return _named([*points[-1:], shown.now], "today", "today", shown, above=then is None or shown.now[1] >= then)


def _last(shown: Curve) -> dict[str, list[Any]]:
    """Where yesterday's line ends, and its name; today's, if it is near, is on the other side of the line."""
    rows = [shown.last] if shown.last else []
    near = bool(shown.now and shown.now[0] > shown.end - (shown.end - shown.start) / 4)
    below = bool(near and shown.last and shown.now and shown.now[1] > shown.last[1])
    return _named(rows, "before", "yesterday", shown, above=not below)


def _named(rows: list[tuple[int, float]], column: str, name: str, shown: Curve, *, above: bool) -> dict[str, list[Any]]:
    """Points with a name at the last one, on the side where there is room for it."""
    last = len(rows) - 1
    return {
        "at": [minute for minute, _ in rows],
        column: [value for _, value in rows],
        "label": [name if row == last else "" for row in range(len(rows))],
        "size": [11 if row == last else 0 for row in range(len(rows))],
        "align": [_side(minute, shown, above=above) for minute, _ in rows],
        "baseline": ["bottom" if above else "top"] * len(rows),
        "offset": [-7 if above else 16] * len(rows),
    }


def _value(shown: Curve, minute: int) -> float | None:
    """Yesterday's at the last point before a minute."""
    known = [value for at, value in zip(shown.at, shown.before, strict=True) if at <= minute and value is not None]
    return known[-1] if known else None


def _side(minute: int, shown: Curve, *, above: bool) -> str:
    """Where words go on from: to the left above a rising line and to the right below it, as the edges allow."""
    share = (minute - shown.start) / (shown.end - shown.start)
    if above:
        return "right" if share > 0.25 else "left"
    return "left" if share < 0.8 else "right"
