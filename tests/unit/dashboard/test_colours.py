"""Colours of categories: told apart by everybody, and the same on every page."""

from itertools import combinations

import pytest

from dashboard import theme
from dashboard.colours import DARK, LIGHT, OTHER, PALETTES, Colours
from tests.unit.dashboard.sight import SIGHTS, contrast, distance

THEMES = [("light", LIGHT), ("dark", DARK)]
#: In OKLab; five times what is just noticed side by side would be 0.1.
LEAST_DISTANCE = 0.085


@pytest.mark.parametrize(("name", "colours"), THEMES)
def test_each_stands_out_from_a_card(name: str, colours: tuple[str, ...]) -> None:
    """3:1, as WCAG asks of marks that carry meaning."""
    assert len(colours) >= 8
    for colour in PALETTES[name].values():
        assert contrast(colour, theme.PALETTES[name]["card"]) >= 3


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("name", "colours"), THEMES)
def test_no_two_look_alike(name: str, colours: tuple[str, ...], sight: str) -> None:
    """To people with usual sight and with each colour blindness."""
    for one, other in combinations(colours, 2):
        assert distance(one, other, sight) >= LEAST_DISTANCE, (one, other)


def test_a_category_keeps_its_colour() -> None:
    """Whoever asks, whenever, in whichever order, and whatever else there is by then."""
    colours = Colours()
    first = colours.of(["Pain", "Menu", "Pizza"])
    assert len(set(first.values())) == 3
    later = colours.of(["Boisson", "Pizza", "Pain", "Aaa", "Menu"])
    assert {name: later[name] for name in first} == first
    assert len(set(later.values())) == 5
    assert Colours().of(["Pizza", "Pain", "Menu"]) == first


def test_most_categories_keep_theirs_over_restarts_and_catalogues() -> None:
    """The name decides, where no other wants the same."""
    assert Colours().of(["Pain"])["Pain"] == Colours().of(["Pain", "zzz"])["Pain"] or Colours().of(["zzz"])["zzz"]
    alone = {name: Colours().of([name])[name] for name in ("Pain", "Menu", "Pizza", "Boisson", "Confiserie")}
    together = Colours().of(alone)
    assert sum(together[name] == colour for name, colour in alone.items()) >= 3


def test_what_is_beyond_shares_one() -> None:
    """More categories than colours: the rest is other, and nothing is remembered of it."""
    given = Colours().of([f"c{number:03}" for number in range(100)])
    assert sum(colour != f"var(--{OTHER})" for colour in given.values()) == len(LIGHT)
    assert list(given.values()).count(f"var(--{OTHER})") == 100 - len(LIGHT)
