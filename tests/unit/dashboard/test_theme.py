"""Colours that can be read, and files that ask nobody else for anything."""

import re

import pytest

from dashboard import theme


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("text", "ground", "least"), theme.PAIRS)
def test_contrast(text: str, ground: str, least: float) -> None:
    """Every pair of colours that is used has the contrast of WCAG AA."""
    lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least


def test_nothing_is_asked_of_another_host() -> None:
    """No style, script or font of ours has an address in it."""
    for text in (theme.PAGE_CSS, theme.PANE_CSS):
        assert not re.search(r"https?:|@import|url\(", text)


def test_every_colour_used_is_one_of_the_theme() -> None:
    """Each variable in the styles is defined."""
    used = set(re.findall(r"var\(--([a-z]+)\)", theme.PAGE_CSS + theme.PANE_CSS))
    defined = set(re.findall(r"--([a-z]+):", theme.PAGE_CSS))
    assert used <= defined
