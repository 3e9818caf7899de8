"""Which rejected items a command is about, from its flags."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from cli.settings import Settings
from engine.quarantine import REASONS, meets
from runtime import read_moment
from store.protocol import RejectedQuery, RejectedSummary
from streams import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a command is about."""

    query: RejectedQuery
    ids: tuple[str, ...] = ()

    @property
    def dead_letters(self) -> bool:
        """Whether there may be dead letters among them: these are open, and poison."""
        return self.query.reason in (None, "poison") and self.query.status in (None, "open")

    def has(self, item: RejectedSummary) -> bool:
        """Whether an item is one of them."""
        return meets(item, self.query) and (not self.ids or item.id in self.ids)


def chosen_by(
    settings: Settings,
    *,
    reason: str | None,
    since: str | None,
    before: str | None,
    ids: Iterable[str] | None,
    status: str | None = "open",
) -> Chosen:
    """The choice that the flags of these names make. Raises ConfigurationError for a condition that cannot be."""
    if reason is not None and reason not in REASONS:
        raise ConfigurationError(f"--reason: expected one of {', '.join(REASONS)}, not {reason!r}")

    def moment(flag: str, text: str | None) -> float | None:
        try:
            return None if text is None else read_moment(text, now=time.time(), zone=settings.timezone)
        except ValueError as exc:
            raise ConfigurationError(f"{flag}: expected {exc}") from None

    query = RejectedQuery(
        reason=reason, status=status, since=moment("--since", since), before=moment("--before", before)
    )
    return Chosen(query=query, ids=tuple(ids or ()))


def some_needed(chosen: Chosen, *, everything: bool) -> None:
    """A command that changes something is told what it is about. Raises ConfigurationError if not."""
    query = chosen.query
    if not (everything or chosen.ids or query.reason or query.since is not None or query.before is not None):
        raise ConfigurationError("say which: --id, --reason, --since or --before; or --all that are open")
