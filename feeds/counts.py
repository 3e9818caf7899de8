"""What became of the events of a feed, for the lines that a person reads at the end."""

from dataclasses import dataclass, field

#: Distinct reasons that are kept apart; a reason may quote what was found, so there may be as many as events.
_MOST_REASONS = 200
OTHER_REASONS = "other reasons"


@dataclass(slots=True)
class Reason:
    """How many events were refused for one reason, and the number (from 1) of the first one."""

    count: int
    first: int


@dataclass(slots=True)
class Counts:
    """What became of the events handed to a sender.

    Attributes:
        accepted: answered with 202.
        refused: will never be taken.
        unknown: sent, but no conclusive answer came: they may or may not have been taken. Sending them again is safe.
        unsent: given up before a server could take them: not sent, or answered that nothing was taken.
        retried: requests that were sent again.
        reasons: why events were refused.
    """

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    unsent: int = 0
    retried: int = 0
    reasons: dict[str, Reason] = field(default_factory=dict)

    def refuse(self, reason: str, number: int) -> None:
        """Count one refused event; `number` is its place in the feed, from 1."""
        self.refused += 1
        if reason not in self.reasons and len(self.reasons) >= _MOST_REASONS:
            reason = OTHER_REASONS
        known = self.reasons.setdefault(reason, Reason(0, number))
        known.count += 1
        known.first = min(known.first, number)

    @property
    def settled(self) -> int:
        """Events whose fate is known or was given up."""
        return self.accepted + self.refused + self.unknown + self.unsent

    @property
    def complete(self) -> bool:
        """Whether every event was accepted."""
        return not (self.refused or self.unknown or self.unsent)

    def summary(self) -> str:
        """One line: `12,000 accepted, 3 refused, 2 requests retried`."""
        parts = [f"{self.accepted:,} accepted", f"{self.refused:,} refused"]
        if self.unknown:
            parts.append(f"{self.unknown:,} unknown (no answer; sending them again is safe)")
        if self.unsent:
            parts.append(f"{self.unsent:,} not sent")
        if self.retried:
            parts.append(f"{self.retried:,} request{'s' if self.retried > 1 else ''} retried")
        return ", ".join(parts)

    def reason_lines(self, most: int = 10) -> list[str]:
        """The most frequent reasons, one a line."""
        ranked = sorted(self.reasons.items(), key=lambda item: (-item[1].count, item[1].first))
        lines = [f"{known.count:,} x {reason} (first: event {known.first:,})" for reason, known in ranked[:most]]
        if len(ranked) > most:
            rest = sum(known.count for _, known in ranked[most:])
            lines.append(f"{rest:,} for {len(ranked) - most:,} more reasons")
        return lines
