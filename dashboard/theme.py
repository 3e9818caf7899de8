"""One warm theme, by day and by night: its colours, and the files in `assets/` that use them. Nothing is loaded from
another host.

Every text has at least 4.5:1 (WCAG AA) on each ground that it is used on, every mark that carries meaning 3:1; a test
computes both for both palettes.
"""

from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from dashboard.colours import PALETTES as CATEGORY_PALETTES

#: The bakery's own two: the header by day, and the line below it.
COFFEE = "#c2ac93"
VANILLA = "#e9d6c0"

#: What each colour is for → its value. Styles and charts know the names only, as CSS variables `--name`.
LIGHT: Mapping[str, str] = MappingProxyType(
    {
        # Grounds: the page, a card on it, something that stands out on a card (a table's head, a row looked at).
        "ground": "#f7efe4",
        "card": "#fffcf7",
        "raised": "#f4e9da",
        # Text, and quieter text.
        "text": "#2b1d12",
        "quiet": "#654d38",
        # Links, on the three grounds.
        "link": "#7b3f12",
        # Lines that only part things, and edges of what can be used.
        "line": "#e0cfb8",
        "edge": "#927455",
        # The header: its ground, text, the line below, and the page that one is on.
        "brand": COFFEE,
        "onbrand": "#2b1d12",
        "band": VANILLA,
        "here": VANILLA,
        # Marks in charts: the thing itself, what it is compared with, the groove of a bar.
        "mark": "#8b6844",
        "past": "#a2835f",
        "track": "#efe1cf",
        # A button to press: ground and text.
        "action": "#5c4129",
        "onaction": "#fffcf7",
        # More and less, as text.
        "more": "#2d6433",
        "less": "#9a3412",
        # Something to know, and trouble: grounds and texts.
        "note": "#f1dfc6",
        "onnote": "#3d2815",
        "alarm": "#fbe3dc",
        "onalarm": "#8c1d18",
        # The ring around what has the keyboard's focus.
        "focus": "#7a1f4b",
    }
)
DARK: Mapping[str, str] = MappingProxyType(
    {
        "ground": "#1a120c",
        "card": "#261b13",
        "raised": "#33251a",
        "text": "#f5e9da",
        "quiet": "#cdb79d",
        "link": "#eec48f",
        "line": "#453426",
        "edge": "#93785c",
        "brand": "#33251a",
        "onbrand": "#f5e9da",
        "band": COFFEE,
        "here": "#543d2a",
        "mark": "#cba77d",
        "past": "#96795a",
        "track": "#3d2d20",
        "action": "#dcbd98",
        "onaction": "#1f150d",
        "more": "#9fd39a",
        "less": "#f3a686",
        "note": "#44321f",
        "onnote": "#f8e8d0",
        "alarm": "#4f1d18",
        "onalarm": "#ffc4b8",
        "focus": "#ffc98f",
    }
)
PALETTES: Mapping[str, Mapping[str, str]] = MappingProxyType({"light": LIGHT, "dark": DARK})

#: Pairs of (text or mark, ground, least contrast) that the styles use.
PAIRS: tuple[tuple[str, str, float], ...] = (
    *((text, ground, 4.5) for text in ("text", "quiet", "link", "more", "less") for ground in ("ground", "card")),
    *((text, "raised", 4.5) for text in ("text", "quiet", "link")),
    ("onbrand", "brand", 4.5),
    ("onbrand", "here", 4.5),
    ("onaction", "action", 4.5),
    ("onnote", "note", 4.5),
    ("onalarm", "alarm", 4.5),
    *((mark, "card", 3.0) for mark in ("mark", "past", "edge")),
    ("mark", "track", 3.0),
    *(("action", ground, 3.0) for ground in ("ground", "card", "raised")),
    *(("edge", ground, 3.0) for ground in ("ground", "raised")),
    *(("focus", ground, 3.0) for ground in ("ground", "card", "raised", "brand", "here")),
)

_ASSETS = files("dashboard") / "assets"


def _variables(theme: str) -> str:
    colours = {**PALETTES[theme], **CATEGORY_PALETTES[theme]}
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items()) + f" color-scheme: {theme};"


#: What pages and panes have in common: numbers, tables, forms, buttons, chips.
_COMMON_CSS = (_ASSETS / "common.css").read_text("utf-8")
#: The colours as variables, which reach into the panes; what is common; the frame's styles.
PAGE_CSS = "\n".join(
    (
        f":root {{ {_variables('light')} }}",
        f':root[data-theme="dark"] {{ {_variables("dark")} }}',
        _COMMON_CSS,
        (_ASSETS / "page.css").read_text("utf-8"),
    )
)
#: Styles inside the panes.
PANE_CSS = (_ASSETS / "pane.css").read_text("utf-8") + _COMMON_CSS
#: The tab's icon, within the page: one request less.
ICON = "data:image/svg+xml;base64," + b64encode((_ASSETS / "icon.svg").read_bytes()).decode()
