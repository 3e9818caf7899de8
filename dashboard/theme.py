"""One warm theme: its colours, and the files in `assets/` that use them. Nothing is loaded from another host.

Every text colour has at least 4.5:1 (WCAG AA) on each ground that it is used on, every bar 3:1; a test computes it.
"""

from base64 import b64encode
from importlib.resources import files

COFFEE = "#c2ac93"
VANILLA = "#e9d6c0"
#: Page ground, card ground, and lines between things.
MILK = "#f8f1e7"
FOAM = "#fffcf7"
CRUST = "#d9c4aa"
#: Text, quieter text, and bars.
ESPRESSO = "#2b1d12"
MOCHA = "#674f3a"
ROAST = "#8b6844"
#: Trouble: text on its ground.
CHERRY = "#8c1d18"
BLUSH = "#fbe3dc"

#: Pairs of (text or bar, ground, least contrast) that the theme uses.
PAIRS = (
    (ESPRESSO, COFFEE, 4.5),
    (ESPRESSO, VANILLA, 4.5),
    (ESPRESSO, MILK, 4.5),
    (ESPRESSO, FOAM, 4.5),
    (MOCHA, MILK, 4.5),
    (MOCHA, FOAM, 4.5),
    (CHERRY, BLUSH, 4.5),
    (ROAST, FOAM, 3.0),
    (ROAST, VANILLA, 3.0),
)

_ASSETS = files("dashboard") / "assets"
_COLOURS = {
    "coffee": COFFEE,
    "vanilla": VANILLA,
    "milk": MILK,
    "foam": FOAM,
    "crust": CRUST,
    "espresso": ESPRESSO,
    "mocha": MOCHA,
    "roast": ROAST,
    "cherry": CHERRY,
    "blush": BLUSH,
}

#: The colours as variables, which reach into the panes, and the frame's styles.
PAGE_CSS = (
    ":root { "
    + " ".join(f"--{name}: {colour};" for name, colour in _COLOURS.items())
    + " }\n"
    + (_ASSETS / "page.css").read_text("utf-8")
)
#: Styles inside the panes.
PANE_CSS = (_ASSETS / "pane.css").read_text("utf-8")
#: The tab's icon, within the page: one request less.
ICON = "data:image/svg+xml;base64," + b64encode((_ASSETS / "icon.svg").read_bytes()).decode()
