"""What a run is made of: how many of what, and which kinds of faults. All else follows from its seed."""

import argparse
import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

#: Of a call to the store: what can become of it.
STORE_CALLS = (
    "read-fails",  # the answer to a read is an error
    "write-lost",  # a write fails and never happens
    "write-unconfirmed",  # a write happens, and its answer is an error
    "write-late",  # a write's answer is an error; it happens after that
    "write-in-part",  # half of a bulk write happens, and its answer is an error
    "slow",  # a call takes seconds
    "crash-in-call",  # the caller dies at this very await; the call may happen or not
)
#: Of a message to the broker.
BROKER_CALLS = (
    "publish-lost",  # a publish never arrives, and nobody answers
    "publish-unconfirmed",  # a publish arrives, and its confirm does not
    "publish-late",  # a publish arrives after its publisher gave up
    "publish-refused",  # the queue is full
    "unheard",  # an announcement gets lost
    "doubled",  # a message is there twice
    "reordered",  # a queue does not keep its order
    "crash-in-call",
)
#: What happens at some moment.
EVENTS = (
    "crash",  # a process is killed after some of its next steps
    "freeze",  # a process stops for a while and goes on: what it was is over
    "stop",  # a process is asked to stop, and starts again
    "clock",  # a process's wall clock jumps
    "cut",  # a process loses its connection to the broker
    "broker-restart",  # transient messages are gone
    "alarm",  # the broker takes no messages
    "full",  # the broker refuses messages
    "store-down",  # no call reaches the store
    "failover",  # what no majority has is gone
    "restore",  # everything goes down; the store comes back as it was some time ago
    "dead-letters",  # the delivery limit is low, and what is dead-lettered is replayed at the end
    "foreign",  # a line that is no receipt is put into the queue by somebody else
    "refused",  # a frame that the store refuses for good, by one of its events or by its ledger entry
)
KINDS = tuple(sorted({*STORE_CALLS, *BROKER_CALLS, *EVENTS}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run.

    Attributes:
        seed: of everything that is left to chance.
        requests: how many requests clients make, of 1 to 4 receipts; some are made again although answered.
        identities: from so few receipts they choose: the fewer, the more repetitions and conflicts.
        entrypoints, workers, totals: processes of each kind.
        trouble: how likely a single call fails, percent.
        events: things that happen at some moment, such as a crash; at most so many.
        kinds: the faults that may occur, of KINDS.
        at: `crash:worker0:17` crashes the first process of that name after 17 of its steps; `freeze:…` stops it there,
            for longer than the broker waits. Steps are what lies between two awaits.
    """

    seed: int
    requests: int
    identities: int
    entrypoints: int
    workers: int
    totals: int
    trouble: int
    events: int
    kinds: frozenset[str]
    at: str = ""

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """The plan that a seed alone stands for."""
        chance = random.Random(f"plan {seed}")
        some = chance.random() < 0.4  # one kind of trouble at a time finds what all at once hides
        return cls(
            seed=seed,
            requests=chance.randint(3, 12),
            identities=chance.choice((3, 8, 8, 30)),
            entrypoints=chance.randint(1, 2),
            workers=chance.randint(1, 3),
            totals=chance.randint(1, 2),
            trouble=chance.choice((2, 5, 10, 20)),
            events=chance.randint(0, 6),
            kinds=frozenset(chance.sample(KINDS, chance.randint(1, 4)) if some else KINDS),
        )

    def command(self) -> str:
        """What replays it."""
        usual = Plan.of(self.seed)
        parts = ["python", "-m", "tests.simulation", "--seed", str(self.seed)]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != getattr(usual, field.name):
                text = ",".join(sorted(value)) if field.name == "kinds" else str(value)
                parts.append(f"--{field.name}={text}")
        return shlex.join(parts)

    @classmethod
    def arguments(cls, **about: Any) -> argparse.ArgumentParser:
        """A parser of what `command` gives."""
        parser = argparse.ArgumentParser(**about)
        parser.add_argument("--seed", type=int, help="play this one run; all else follows from it unless given")
        for field in fields(cls)[1:]:
            parser.add_argument(f"--{field.name}", type=_TYPES.get(field.name, int), help="instead")
        return parser

    @classmethod
    def from_chosen(cls, chosen: argparse.Namespace) -> "Plan":
        """The plan of parsed arguments."""
        given = {field.name: getattr(chosen, field.name) for field in fields(cls)}
        return replace(cls.of(chosen.seed), **{name: value for name, value in given.items() if value is not None})

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> "Plan":
        """The plan of a command's arguments."""
        return cls.from_chosen(cls.arguments().parse_args(arguments))


def _kinds(text: str) -> frozenset[str]:
    found = frozenset(text.split(",")) - {""}
    if not found <= set(KINDS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(KINDS)}")
    return found


_TYPES: dict[str, Any] = {"kinds": _kinds, "at": str}
