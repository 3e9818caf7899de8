"""Colours that can be read, and files that ask nobody else for anything."""

import re
from importlib.resources import files

import pytest

from dashboard import colours, theme
from tests.unit.dashboard.sight import contrast

ASSETS = files("dashboard") / "assets"
STYLES = {
    each.name: each.read_text("utf-8") for each in ASSETS.iterdir() if each.name.endswith((".css", ".html", ".js"))
}
#: Variables of the frame that are no colours.
NO_COLOURS = {"sans", "serif", "gap"}
#: What sets variables of its own on elements.
PAGES = "".join(
    each.read_text("utf-8") for each in (files("dashboard") / "pages").iterdir() if each.name.endswith(".py")
)


@pytest.mark.parametrize("name", theme.PALETTES)
@pytest.mark.parametrize(("text", "ground", "least"), theme.PAIRS)
def test_contrast(name: str, text: str, ground: str, least: float) -> None:
    """Every pair of colours that is used has the contrast of WCAG AA, by day and by night."""
    palette = theme.PALETTES[name]
    assert contrast(palette[text], palette[ground]) >= least


def test_both_themes_know_the_same_colours() -> None:
    """Whatever has a colour by day has one by night."""
    assert theme.LIGHT.keys() == theme.DARK.keys()
    assert colours.PALETTES["light"].keys() == colours.PALETTES["dark"].keys()


def test_nothing_is_asked_of_another_host() -> None:
    """No style, script or template of ours has an address of somebody else in it."""
    for name, text in STYLES.items():
        assert not re.search(r"https?:|@import|url\(", text), name
    assert not re.search(r"https?:|@import|url\(", theme.PAGE_CSS + theme.PANE_CSS)


@pytest.mark.parametrize("name", [name for name in STYLES if name.endswith(".css")])
def test_every_colour_used_is_one_of_the_theme(name: str) -> None:
    """Each variable in the styles is defined, and no style has a colour of its own (greys are for print and masks)."""
    text = STYLES[name]
    own = set(re.findall(r"--([\w-]+):", text + PAGES + "".join(STYLES.values())))
    used = set(re.findall(r"var\(--([\w-]+)\)", text))  # one with a fallback may be missing
    assert used <= theme.LIGHT.keys() | colours.PALETTES["light"].keys() | NO_COLOURS | own
    colours_of_its_own = set(re.findall(r"#([0-9a-fA-F]{3,8})\b(?=[^{}]*;)", text))
    assert [colour for colour in colours_of_its_own if len(set(colour)) > 1] == []
