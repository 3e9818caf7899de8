"""What all charts have in common: no ground of their own, quiet axes, colours that follow the page's theme.

A canvas knows no CSS, so a model that is drawn in a colour of the theme says so by a tag, `ink:line_color=mark`, and
the page (assets/paint.js) paints it at first and whenever the theme changes, without a word to the server. Colours
set from Python later would undo that: use `ink` once, when a model is made.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import panel as pn
from bokeh.models import CustomJSHover, CustomJSTickFormatter, HoverTool, Model, Range1d
from bokeh.plotting import figure

from dashboard import theme
from dashboard.colours import PALETTES as CATEGORY_PALETTES
from dashboard.formats import Formats

FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"
#: Tick of an axis of minutes since midnight, as a time.
CLOCK_JS = "return String(Math.floor(tick / 60)).padStart(2, '0') + ':' + String(tick % 60).padStart(2, '0')"

AnyModel = TypeVar("AnyModel", bound=Model)


def ink(model: AnyModel, **inks: str) -> AnyModel:
    """Draw properties of a model in colours of the theme: `ink(line, line_color="mark")`. Returns the model."""
    colours = {**theme.LIGHT, **CATEGORY_PALETTES["light"]}
    model.update(**{name: colours[colour] for name, colour in inks.items()})
    model.tags = [*model.tags, *(f"ink:{name}={colour}" for name, colour in inks.items())]
    return model


def plot(name: str, x: Range1d, y: Range1d, *, min_height: int = 100) -> Any:
    """An empty chart that fills its place.

    Arguments:
        name: of its Bokeh model, by which tests find it.
    """
    drawn = figure(
        name=name,
        sizing_mode="stretch_both",
        min_height=min_height,
        x_range=x,
        y_range=y,
        toolbar_location=None,
        tools="",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_left=36,
        min_border_right=18,
        min_border_top=8,
    )
    # Nothing is dragged or zoomed here, and a finger that wants to scroll the page must be able to.
    drawn.toolbar.active_drag = None
    drawn.xgrid.grid_line_color = None
    ink(drawn.ygrid[0], grid_line_color="line")
    for axis in drawn.axis:
        axis.minor_tick_line_color = None
        axis.major_label_text_font = FONT
        axis.major_label_text_font_size = "0.85rem"
        ink(axis, axis_line_color="line", major_tick_line_color="line", major_label_text_color="quiet")
    drawn.yaxis.axis_line_color = drawn.yaxis.major_tick_line_color = None
    drawn.yaxis.tags = [tag for tag in drawn.yaxis[0].tags if "line_color" not in tag]
    return drawn


def pane(drawn: Any) -> Any:
    """What a template embeds."""
    return pn.pane.Bokeh(drawn, sizing_mode="stretch_both")  # type: ignore[no-untyped-call]


def hover(rows: Mapping[str, str], **more: Any) -> HoverTool:
    """What is said of the place under the pointer: name → template, as `@time`. Styled in assets/page.css, as it is
    Bokeh's own way to put it at the end of the page."""
    cells = "".join(
        f'<span style="color:var(--quiet)">{name}</span><b>{template}</b>' for name, template in rows.items()
    )
    html = f'<div style="display:grid;grid-template-columns:auto auto;gap:0.1rem 0.8rem">{cells}</div>'
    return HoverTool(tooltips=html, mode="vline", point_policy="follow_mouse", **more)


def clock_ticks() -> CustomJSTickFormatter:
    """Labels of an axis of minutes since midnight."""
    return CustomJSTickFormatter(code=CLOCK_JS)


def money_hover(formats: Formats) -> CustomJSHover:
    """An amount under the pointer, as `Formats.money` writes it."""
    return CustomJSHover(
        args={"tag": formats.tag, "currency": formats.currency, "digits": formats.digits},
        code="""
        if (!Number.isFinite(value)) return "\u2013"
        const how = {style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits}
        try { return new Intl.NumberFormat(tag, how).format(value) }
        catch { return `${value.toFixed(digits)} ${currency}` }
        """,
    )


def amount_ticks(formats: Formats) -> CustomJSTickFormatter:
    """Labels of an axis of amounts, short: `1.2K`, in the locale's way."""
    return CustomJSTickFormatter(
        args={"tag": formats.tag},
        code="return new Intl.NumberFormat(tag, {notation: 'compact', maximumFractionDigits: 1}).format(tick)",
    )


def count_ticks(formats: Formats) -> CustomJSTickFormatter:
    """Labels of an axis of whole numbers."""
    return CustomJSTickFormatter(args={"tag": formats.tag}, code="return new Intl.NumberFormat(tag).format(tick)")


def hour_ticks(start: int, end: int) -> list[int]:
    """Between four and eight labels on whole quarters or hours of an axis of minutes: few enough for a phone."""
    span = end - start
    step = next(minutes for minutes in (15, 30, 60, 120, 180, 240) if span // minutes <= 6)
    return list(range(-(-start // step) * step, end + 1, step))
