"""Who may do what at RabbitMQ: a user for each kind of process, with as little as it needs. Without a driver.

RabbitMQ asks for `configure` to declare and delete, for `write` to publish to an exchange and to bind a queue, and for
`read` to consume a queue and to bind to an exchange (RabbitMQ, "Access Control"). Whether something is there, and how
long a queue is, everybody may ask. Who may consume a queue may also purge it: there is no permission between the two.
A queue that exists while it is held is declared by its holder, who binds it and publishes to it, to learn whether it is
held.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from broker.exchanges import CATEGORIES, COUNT, METRICS, PARTIALS, RECEIPTS, REJECTED, Exchange, Needs, Queue, Topology

#: What a subscriber's queue is called after its role and a dot.
_UUID = "[0-9a-f-]{36}"
_NOTHING = "^$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A kind of process, and what its user may do.

    Attributes:
        name: `worker`; its user is `tillstream-worker`.
        publishes: exchanges.
        consumes: shared queues, and those that it holds while it consumes them.
        subscribes: roles as which it subscribes (`broker.protocol.Broker.subscribe`): its own queues' names begin so.
        hears: exchanges that it subscribes to.
    """

    name: str
    publishes: tuple[Exchange, ...] = ()
    consumes: tuple[Queue, ...] = ()
    subscribes: tuple[str, ...] = ()
    hears: tuple[Exchange, ...] = ()

    @property
    def user(self) -> str:
        """The name to log in with."""
        return f"tillstream-{self.name}"

    @property
    def configure(self) -> str:
        """What it may declare and delete: a regular expression, as the next two."""
        return _pattern((queue.name for queue in self._holds), self.subscribes)

    @property
    def write(self) -> str:
        """What it may publish to or bind."""
        held = [name for queue in self._holds for name in (queue.name, _knocked_at(queue))]
        return _pattern([*held, *(exchange.name for exchange in self.publishes)], self.subscribes)

    @property
    def read(self) -> str:
        """What it may consume or bind to."""
        queues = [queue.name for queue in self.consumes] + [_knocked_at(queue) for queue in self._holds]
        return _pattern([*queues, *(exchange.name for exchange in self.hears)], self.subscribes)

    @property
    def _holds(self) -> list[Queue]:
        return [queue for queue in self.consumes if queue.held]

    def needs(self, topology: Topology) -> Needs:
        """What has to be at the broker for it: nothing that only others use, so that it can do without that."""
        names = {exchange.name for exchange in (*self.publishes, *self.hears)}
        used = {queue.name for queue in self.consumes}
        used |= {queue.dead_letter for queue in self.consumes if queue.dead_letter}
        published = {exchange.name for exchange in self.publishes}
        used |= {queue.name for queue in topology.queues if any(source in published for source, _ in queue.bindings)}
        everything = topology.needs
        return Needs(
            tuple(exchange for exchange in everything.exchanges if exchange.name in names),
            tuple(queue for queue in everything.queues if queue.name in used),
        )


def roles(topology: Topology) -> tuple[Role, ...]:
    """All roles there are.

    `storm` is what workers and totals are together. `tools` is for the commands that a person runs:
    `rejected`, `watch`, and `audit --repair`, which announces what it counts.
    """
    worker = Role(name="worker", consumes=(topology.work,), publishes=(PARTIALS, REJECTED))
    published = (COUNT, CATEGORIES, METRICS)
    totals = Role(name="totals", consumes=(topology.partials,), publishes=published, hears=(PARTIALS,))
    return (
        Role(name="entrypoint", publishes=(RECEIPTS,)),
        worker,
        totals,
        Role(name="dashboard", subscribes=("dashboard", "dashboard-rejected"), hears=(*published, REJECTED)),
        Role(
            name="storm",
            consumes=(*worker.consumes, *totals.consumes),
            publishes=(PARTIALS, REJECTED, *published),
            hears=totals.hears,
        ),
        Role(
            name="tools",
            consumes=(topology.dead,),
            publishes=(RECEIPTS, PARTIALS),
            subscribes=("watch",),
            hears=published,
        ),
    )


def needs_of(topology: Topology, name: str) -> Needs:
    """What the role of this name needs at the broker. Raises KeyError if there is none."""
    return {role.name: role for role in roles(topology)}[name].needs(topology)


def _pattern(names: Iterable[str], subscribers: Iterable[str]) -> str:
    """A regular expression of exactly these names, and of the queues of these subscribers."""
    alternatives = [_literal(name) for name in names]
    alternatives += [rf"{_literal(role)}\.{_UUID}" for role in subscribers]
    return f"^({'|'.join(alternatives)})$" if alternatives else _NOTHING


def _knocked_at(queue: Queue) -> str:
    """The exchange by which it is found out whether a queue is held."""
    return queue.held[0] if queue.held else ""


def _literal(name: str) -> str:
    """A name in a regular expression: there are letters, dots and dashes in our names."""
    return name.replace(".", r"\.")
