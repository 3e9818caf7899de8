"""Moving messages: the front door.

- `connect` gives a `Broker`, whatever carries the messages
- `broker.protocol` says what every broker does, `broker.exchanges` what there is to publish to and consume from
- `broker.address` says which addresses name one
- `broker.frames` is the unit of publishing, `broker.group_commit` decides when one leaves
- `broker.amqp` (RabbitMQ through aio-pika) and `broker.embedded` (SQLite) are the two implementations
"""

from broker.address import check_address
from broker.errors import BrokerError, BrokerUnavailableError
from broker.exchanges import Topology, receipts_topology
from broker.protocol import Broker, Consumer, Delivery, Message, QueueState
from broker.roles import needs_of
from streams.errors import ConfigurationError

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerUnavailableError",
    "Consumer",
    "Delivery",
    "Message",
    "QueueState",
    "Topology",
    "connect",
    "receipts_topology",
]


async def connect(
    url: str,
    topology: Topology,
    *,
    publish_timeout: float = 10.0,
    wait: float | None = 30.0,
    name: str = "tillstream",
    role: str | None = None,
) -> Broker:
    """Open a broker and declare there what is needed of the topology.

    Arguments:
        url: `amqp://user:password@host:port/vhost` (or `amqps:`), where the nodes of a cluster are named all together
            (`host1:port,host2:port`), or `sqlite:PATH` for the embedded broker.
        topology: every exchange and queue to be declared.
        publish_timeout: seconds to wait for a confirm before its outcome counts as unknown.
        wait: how long to try while RabbitMQ cannot be reached, seconds; None for ever, 0 once.
        name: how the connection is called in RabbitMQ's lists.
        role: one of `broker.roles.roles`: at RabbitMQ only what this one uses has to be there, so that it can do
            without what only others use; everything by default.
    Raises:
        BrokerUnavailableError: not reached within `wait`.
        TopologyMismatchError: a queue is there with other arguments; the text names the argument.
        BrokerError: RabbitMQ refuses the user or has no such vhost. Like a mismatch this is raised at once.
        ConfigurationError: a URL that is none of these.
    """
    try:
        scheme, _, path = check_address(url).partition(":")
    except ValueError as exc:
        raise ConfigurationError(f"the broker's address: expected {exc}") from None
    # Each implementation is imported only where it is used: the embedded one starts without aio-pika.
    if scheme in {"amqp", "amqps"}:
        from broker.amqp import AmqpBroker  # noqa: PLC0415

        needs = topology.needs if role is None else needs_of(topology, role)
        return await AmqpBroker.open(url, needs, publish_timeout=publish_timeout, wait=wait, name=name)
    from broker.embedded import EmbeddedBroker  # noqa: PLC0415

    return await EmbeddedBroker.open(path, topology, publish_timeout_seconds=publish_timeout)
