"""Every exchange, queue and binding there is, declared once and here; adapters only carry this out."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable topic exchange."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable, shared queue; or one that exists only while somebody holds it.

    Attributes:
        bindings: pairs of (exchange name, routing pattern).
        quorum: a replicated queue whose messages survive a node; a classic queue otherwise.
        delivery_limit: how often a message may come back before it is dead-lettered; counts crash loops only.
        dead_letter: name of the queue that dead letters go to (through the default exchange, at least once).
        max_bytes: limit of the ready messages' bodies; publishing is refused beyond it (reject-publish).
        max_length: limit of the number of ready messages; the oldest are dropped beyond it (drop-head).
        held: the queue exists while one consumer holds it, and is empty when the next begins: whatever is published
            meanwhile is dropped. A pair of (exchange name, routing key) that reaches such a queue and nothing else:
            whether somebody holds it can be found out without an error. The exchange is one that every broker has and
            matches keys exactly, so that no listener to everything is taken for a holder.
    """

    name: str
    bindings: tuple[tuple[str, str], ...] = ()
    quorum: bool = False
    delivery_limit: int | None = None
    dead_letter: str | None = None
    max_bytes: int | None = None
    max_length: int | None = None
    held: tuple[str, str] | None = None


RECEIPTS = Exchange("receipts")
PARTIALS = Exchange("partials")
COUNT = Exchange("count")
CATEGORIES = Exchange("categories")
METRICS = Exchange("metrics")
REJECTED = Exchange("rejected")
EXCHANGES = (RECEIPTS, PARTIALS, COUNT, CATEGORIES, METRICS, REJECTED)

#: Far above any restart storm, far below for ever: it only stops a frame that kills each worker that takes it.
DELIVERY_LIMIT = 1000
#: Ready bytes of `receipts.work` before publishers are refused: about 1.2 million receipts of 1.7 kB.
WORK_MAX_BYTES = 2 * 1024**3
#: Partials waiting for a totals process that is slow: the ledger replaces every one that is dropped.
PARTIALS_MAX_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be at the broker before it is used: by all processes, or by one."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The queues of one stream's pipeline, dead letters first: they must exist before what points to them."""

    dead: Queue
    work: Queue
    partials: Queue
    exchanges: tuple[Exchange, ...] = field(default=EXCHANGES)

    @property
    def queues(self) -> tuple[Queue, ...]:
        """All queues, in the order of declaration."""
        return (self.dead, self.work, self.partials)

    @property
    def needs(self) -> Needs:
        """Everything that is kept at the broker; what is held comes and goes with its holder."""
        return Needs(self.exchanges, tuple(queue for queue in self.queues if queue.held is None))


def receipts_topology(*, work_max_bytes: int = WORK_MAX_BYTES, delivery_limit: int = DELIVERY_LIMIT) -> Topology:
    """The exchanges and queues of the `receipts` stream (design: exchanges and queues)."""
    dead = Queue(name="receipts.dead", quorum=True)
    work = Queue(
        name="receipts.work",
        bindings=((RECEIPTS.name, "receipts"),),
        quorum=True,
        delivery_limit=delivery_limit,
        dead_letter=dead.name,
        max_bytes=work_max_bytes,
    )
    partials = Queue(
        name="partials.active",
        bindings=((PARTIALS.name, "receipts"),),
        max_length=PARTIALS_MAX_LENGTH,
        held=("amq.direct", "partials.active"),
    )
    return Topology(dead=dead, work=work, partials=partials)
