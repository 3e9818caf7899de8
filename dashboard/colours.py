"""Colours of categories: the same category has the same one on every page, for as long as the process runs.

Each colour has a value for each theme. They were searched for (in OKLCH, by simulated annealing) to be as far apart as
nine can be for people with any of the colour blindnesses, and to stand out from a card in both themes; a test computes
the distances. They are marks beside names, never the only thing that tells categories apart.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from types import MappingProxyType

#: Of the first category, the second, …: by day and by night.
LIGHT = (
    "#2961ba",  # blue
    "#8b3701",  # crust
    "#757f0d",  # olive
    "#91537b",  # mallow
    "#1c3001",  # rosemary
    "#2b98b9",  # sky
    "#630948",  # plum
    "#b3846e",  # clay
    "#05367a",  # night
)
DARK = (
    "#67a2ff",
    "#fc8d59",
    "#e4f479",
    "#bf8bab",
    "#5a763a",
    "#92e0fc",
    "#9f5582",
    "#facab4",
    "#3b75cd",
)
#: What has no colour of its own.
OTHER = "cat-other"
_OTHERS = {"light": "#85786a", "dark": "#a89a8a"}

#: Theme → CSS variable (without its dashes) → colour.
PALETTES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        theme: MappingProxyType(
            {**{f"cat-{slot}": colour for slot, colour in enumerate(colours, start=1)}, OTHER: _OTHERS[theme]}
        )
        for theme, colours in (("light", LIGHT), ("dark", DARK))
    }
)


class Colours:
    """Gives out the colours, one to a category.

    A category gets the one that a hash of its name asks for, so that it has mostly the same after a restart, too; the
    next free one if that is taken. Names that are first seen together are served in alphabetical order. When all are
    given out, the rest share the colour of what is other.
    """

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Name → colour as a value for CSS, `var(--cat-1)`."""
        asked = set(names)
        for name in sorted(asked - self._given.keys()):
            if len(self._given) == len(LIGHT):
                break
            self._given[name] = self._free(name)
        return {name: f"var(--{self._given.get(name, OTHER)})" for name in asked}

    def _free(self, name: str) -> str:
        first = int.from_bytes(blake2b(name.encode(), digest_size=4).digest())
        slots = (f"cat-{(first + step) % len(LIGHT) + 1}" for step in range(len(LIGHT)))
        taken = set(self._given.values())
        return next(slot for slot in slots if slot not in taken)
