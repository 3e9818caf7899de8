"""RabbitMQ's definitions: everything of `broker.exchanges` and `broker.roles`, as the JSON that RabbitMQ loads.

A server that has loaded them needs no process that may declare anything. Without a driver, and without passwords: users
in it have none, and cannot log in until they get one (`deploy/make_secrets.py`, or `rabbitmqctl change_password`).
"""

from typing import Any

from broker.amqp_arguments import queue_arguments
from broker.exchanges import Topology
from broker.roles import roles

#: What the vhost of our own RabbitMQ is called.
VHOST = "tillstream"
#: Every routing key that we publish with begins with the stream's name.
_KEYS = r"^receipts(\.[a-z]+)?$"
_HASHING = "rabbit_password_hashing_sha256"


def definitions(topology: Topology, *, vhost: str = VHOST, operator: str | None = None) -> dict[str, Any]:
    """The definitions of one vhost.

    Arguments:
        operator: name of a user who may do everything, the management page included; none if None.
    """
    known = roles(topology)
    users = [{"name": role.user, "tags": []} for role in known]
    permissions = [
        {"user": role.user, "configure": role.configure, "write": role.write, "read": role.read} for role in known
    ]
    if operator is not None:
        users.append({"name": operator, "tags": ["administrator"]})
        permissions.append({"user": operator, "configure": ".*", "write": ".*", "read": ".*"})
    return {
        "vhosts": [{"name": vhost}],
        "users": [{**user, "password_hash": "", "hashing_algorithm": _HASHING} for user in users],
        "permissions": [{**each, "vhost": vhost} for each in permissions],
        "topic_permissions": [
            {"user": role.user, "vhost": vhost, "exchange": exchange.name, "write": _KEYS, "read": ".*"}
            for role in known
            for exchange in role.publishes
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for exchange in topology.exchanges
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue_arguments(queue),
            }
            for queue in topology.needs.queues
        ],
        "bindings": [
            {
                "source": source,
                "vhost": vhost,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": pattern,
                "arguments": {},
            }
            for queue in topology.needs.queues
            for source, pattern in queue.bindings
        ],
    }
