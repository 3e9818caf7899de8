"""What an audit found, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass, field

#: Differences are listed up to this number; their count goes on.
MAX_LISTED = 20
#: Told of the progress: what is being read, and how many of these there were so far.
Progress = Callable[[str, int], None]
#: Progress is told every so many.
TOLD_EVERY = 500


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What the audit found.

    Attributes:
        since: the first day that was looked at; empty for all days.
        events, entries, writers, days: how many were looked at.
        dropped: ledger entries whose tally was dropped below a checkpoint.
        open: frames that own events and have no ledger entry: they wait in a queue, are dead letters, or were lost.
        differences: how many places do not add up; 0 is what it should be.
        listed: the first of them, one line each.
    """

    since: str = ""
    events: int = 0
    entries: int = 0
    writers: int = 0
    days: int = 0
    dropped: int = 0
    open: int = 0
    differences: int = 0
    listed: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(text)


def quiet(what: str, done: int) -> None:
    """Progress that nobody looks at."""
