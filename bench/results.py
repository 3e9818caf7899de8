"""What a benchmark found: two things measured in turns, and their ratio."""

import statistics
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Rates of ours and of the bare counterpart, one pair a round.

    Attributes:
        name: what was compared, in a few words.
        unit: of the rates.
        target: the ratio that ours has to reach; 0 where it is only shown.
        ours, bare: rates by round.
        notes: further figures worth showing, name → value.
    """

    name: str
    unit: str
    target: float = 0.0
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours to bare, round by round: the two of a round ran one right after the other."""
        return [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": [round(rate, 1) for rate in self.ours],
            "bare": [round(rate, 1) for rate in self.bare],
            "ratios": [round(ratio, 3) for ratio in self.ratios],
            "ratio": round(self.ratio, 3),
            "target": self.target,
            **{name: round(value, 3) for name, value in self.notes.items()},
        }
