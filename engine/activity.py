"""Who did something in the last minute: writers and workers, as the partials tell.

For people, not for the totals: partials may get lost, and then a worker seems to have done less than it did.
"""

from dataclasses import dataclass

from engine.partials import Partial

#: What counts as now, seconds.
ACTIVITY_WINDOW = 60
#: No more workers than this are named.
WORKERS_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShare:
    """What a worker counted in the last minute.

    Attributes:
        worker: its name.
        events: how many events.
        share: part of the events of all workers, 0 to 1.
    """

    worker: str
    events: int
    share: float


@dataclass(slots=True)
class _Heard:
    """When a writer was heard last (epoch seconds), and up to which ledger entry."""

    at: float
    last: int


class Activity:
    """Keeps what partials said in the last minute, by the second; memory is bounded by those who spoke in it."""

    def __init__(self) -> None:
        self._writers: dict[str, _Heard] = {}
        #: worker → epoch second → events
        self._events: dict[str, dict[int, int]] = {}

    def hear(self, partial: Partial, now: float) -> None:
        """Note a partial, heard at an epoch second; one that comes again counts once."""
        heard = self._writers.setdefault(partial.writer, _Heard(now, 0))
        heard.at = now
        if partial.last <= heard.last:
            return
        heard.last = partial.last
        if events := partial.events:
            seconds = self._events.setdefault(partial.by, {})
            seconds[int(now)] = seconds.get(int(now), 0) + events

    def forget(self, now: float) -> None:
        """Drop what is older than a minute."""
        self._writers = {name: heard for name, heard in self._writers.items() if _recent(heard.at, now)}
        for worker, seconds in list(self._events.items()):
            kept = {second: events for second, events in seconds.items() if _recent(second, now)}
            if kept:
                self._events[worker] = kept
            else:
                del self._events[worker]

    def writers(self) -> int:
        """How many writers were heard."""
        return len(self._writers)

    def workers(self) -> tuple[WorkerShare, ...]:
        """The workers that counted most, first; shares are of what all counted, also those not named here."""
        sums = {worker: sum(seconds.values()) for worker, seconds in self._events.items()}
        total = sum(sums.values())
        first = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:WORKERS_NAMED]
        return tuple(WorkerShare(worker=worker, events=events, share=events / total) for worker, events in first)


def _recent(at: float, now: float) -> bool:
    return abs(now - at) < ACTIVITY_WINDOW  # on either side: a clock that was set back must not keep it for long
