"""Which fault comes when: drawn from a seed, the same for the same seed and length."""

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """What goes wrong. The values are what the report calls it."""

    KILL = "process killed"
    FREEZE = "process frozen"
    RESTART = "process restarted"
    BROKER_RESTART = "broker restarted"
    BROKER_KILL = "broker killed"
    BROKER_FREEZE = "broker frozen"
    STORE_KILL = "store killed"
    STORE_FREEZE = "store frozen"
    CUT = "link cut"
    HOLE = "link black hole"
    DEAF = "link loses answers"
    SLOW = "link slow"
    FULL_QUEUE = "queue full"
    STORE_DISK = "store's disk full"
    BROKER_DISK = "broker's disk full"
    BROKER_DISK_END = "broker's disk full to the last byte"
    NODE_RESTART = "broker's node restarted"
    NODE_KILL = "broker's node killed"
    NODE_FREEZE = "broker's node frozen"
    NODE_PART = "broker's node parted from the others"


#: Faults of our own processes come in one lane, those of what is around them in another: so two overlap now and then.
PROCESS_KINDS = (Kind.KILL, Kind.FREEZE, Kind.RESTART)
OUTER_KINDS = tuple(kind for kind in Kind if kind not in PROCESS_KINDS)
#: Not drawn unless asked for: beyond its alarm for a low disk a single RabbitMQ may ruin its own log, and did (3.10.8,
#: seed 1: `corrupt_log, gap_between_snapshot_and_first_index`), which no client of it can make good.
BEYOND_PROMISE = (Kind.BROKER_DISK_END,)
#: Of one node of three, while the others go on.
NODE_KINDS = (Kind.NODE_RESTART, Kind.NODE_KILL, Kind.NODE_FREEZE, Kind.NODE_PART)
USUAL_KINDS = tuple(kind for kind in Kind if kind not in BEYOND_PROMISE + NODE_KINDS)
#: Where the broker is a cluster: what happens to its nodes comes twice as often as all else around our processes.
CLUSTER_KINDS = (
    *PROCESS_KINDS, *NODE_KINDS, *NODE_KINDS, Kind.STORE_KILL, Kind.STORE_FREEZE, Kind.CUT, Kind.HOLE, Kind.DEAF,
)  # fmt: skip

#: How long each lasts, seconds: one of these, a little more or less. What lasts longer than a heartbeat (10 s, noticed
#: after 20) or a time limit (10 s for a publish, 30 s for a call of the store) is another fault than what does not.
_LASTS: dict[Kind, Sequence[float]] = {
    Kind.KILL: (0.3, 2.0, 6.0),
    Kind.FREEZE: (0.5, 4.0, 12.0, 28.0, 40.0),
    Kind.RESTART: (0.1, 1.0, 4.0),
    Kind.BROKER_RESTART: (0.5, 5.0),
    Kind.BROKER_KILL: (0.2, 4.0),
    Kind.BROKER_FREEZE: (2.0, 8.0, 14.0),
    Kind.STORE_KILL: (0.1, 2.0, 7.0),
    Kind.STORE_FREEZE: (1.0, 6.0, 14.0),
    Kind.CUT: (0.1, 3.0, 8.0),
    Kind.HOLE: (2.0, 12.0, 25.0),
    Kind.DEAF: (2.0, 11.0, 25.0),
    Kind.SLOW: (8.0, 15.0),
    Kind.FULL_QUEUE: (5.0, 10.0),
    Kind.STORE_DISK: (3.0, 8.0),
    Kind.BROKER_DISK: (4.0, 9.0),
    Kind.BROKER_DISK_END: (4.0, 9.0),
    Kind.NODE_RESTART: (0.5, 5.0),
    Kind.NODE_KILL: (0.5, 6.0),
    Kind.NODE_FREEZE: (3.0, 12.0, 25.0),
    Kind.NODE_PART: (2.0, 6.0, 15.0),
}
_SLOW_DELAYS_S = (0.02, 0.2, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        target: name of a process, a node, or a link such as `worker-1 to store`; empty where the kind says it all.
        lasts_s: from doing it to undoing it.
        pause_s: of its lane, before it.
        delay_s: of each piece of bytes on a slow link.
    """

    kind: Kind
    target: str = ""
    lasts_s: float
    pause_s: float
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What can be hit: names of processes, of links between them and the servers, and of nodes of a cluster."""

    processes: Sequence[str]
    links: Sequence[str]
    nodes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast faults come.

    Attributes:
        pause_s: shortest and longest pause in a lane between healing one and the next.
        shortest: each fault lasts as briefly as its kind can.
        kinds: to draw from; by default all within what is promised.
    """

    pause_s: tuple[float, float] = (4.0, 12.0)
    shortest: bool = False
    kinds: Sequence[Kind] = USUAL_KINDS


def lanes(seed: int, cast: Cast, pace: Pace) -> tuple[Iterator[Fault], Iterator[Fault]]:
    """Two endless rows of faults: of our processes, and of what is around them."""
    process = [kind for kind in pace.kinds if kind in PROCESS_KINDS]
    outer = [kind for kind in pace.kinds if kind in OUTER_KINDS]
    return (
        _lane(random.Random(f"processes {seed}"), process, cast, pace),
        _lane(random.Random(f"surroundings {seed}"), outer, cast, pace),
    )


def _lane(rand: random.Random, kinds: Sequence[Kind], cast: Cast, pace: Pace) -> Iterator[Fault]:
    """Kinds come as cards of a shuffled pack, so that each comes; targets and lengths likewise, kind by kind."""
    packs: dict[str, list[object]] = {}

    def draw(name: str, cards: Sequence[object]) -> object:
        pack = packs.setdefault(name, [])
        if not pack:
            pack += cards
            rand.shuffle(pack)
        return pack.pop()

    while kinds:
        kind = draw("kinds", kinds)
        assert isinstance(kind, Kind)
        target = ""
        if kind in PROCESS_KINDS:
            target = str(draw(kind.value, cast.processes))
        elif kind in {Kind.CUT, Kind.HOLE, Kind.DEAF, Kind.SLOW}:
            target = str(draw(kind.value, cast.links))
        elif kind in NODE_KINDS:
            target = str(draw(kind.value, cast.nodes))
        lasts = _LASTS[kind][0] if pace.shortest else _LASTS[kind][rand.randrange(len(_LASTS[kind]))]
        yield Fault(
            kind=kind,
            target=target,
            lasts_s=round(lasts * rand.uniform(0.8, 1.2), 2),
            pause_s=round(rand.uniform(*pace.pause_s), 2),
            delay_s=rand.choice(_SLOW_DELAYS_S) if kind is Kind.SLOW else 0.0,
        )
