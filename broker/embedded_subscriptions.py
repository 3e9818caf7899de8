"""Subscriptions of the embedded broker: in memory, transient, on the event loop; nobody waits for a slow one."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping

from broker.embedded_file import Record
from broker.embedded_mailbox import EmbeddedDelivery, Mailbox
from broker.protocol import Delivery
from broker.topics import matches

#: Routes remembered; there are a few dozen routing keys, a sender of random ones must not fill memory.
ROUTES_REMEMBERED = 1024


class Subscription:
    """A consumer of what is announced or published from now on; see `broker.protocol.Consumer`."""

    def __init__(self, name: str, bindings: Mapping[str, str], max_length: int, end: "Callable[[Subscription], None]"):
        self.name = name
        self.bindings = dict(bindings)
        self.mailbox: Mailbox[Delivery] = Mailbox(max_length)
        self._end = end

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self.mailbox

    async def cancel(self) -> None:
        """Receive nothing more; what is here can still be read."""
        self._end(self)
        self.mailbox.end(discard=False)

    async def close(self) -> None:
        """End the iteration."""
        self._end(self)
        self.mailbox.end(discard=True)


class Hub:
    """All subscriptions of one broker."""

    def __init__(self) -> None:
        self._open: list[Subscription] = []
        self._routes: dict[tuple[str, str], list[Subscription]] = {}

    def subscribe(self, role: str, bindings: Mapping[str, str], max_length: int) -> Subscription:
        """Open a subscription."""
        made = Subscription(f"{role}.{uuid.uuid4()}", bindings, max_length, self._remove)
        self._open.append(made)
        self._routes.clear()
        return made

    def wanted(self, exchange: str, routing_key: str) -> bool:
        """Whether anybody listens for this."""
        return bool(self._route(exchange, routing_key))

    def offer(self, record: Record) -> None:
        """Give a message to everybody who listens for it."""
        for subscription in self._route(record.exchange, record.routing_key):
            subscription.mailbox.put(EmbeddedDelivery(record, redelivered=False, settle=None))

    async def close(self) -> None:
        """Close all subscriptions."""
        for subscription in list(self._open):
            await subscription.close()

    def _route(self, exchange: str, routing_key: str) -> list[Subscription]:
        route = self._routes.get((exchange, routing_key))
        if route is None:
            if len(self._routes) >= ROUTES_REMEMBERED:
                self._routes.clear()
            route = [
                subscription
                for subscription in self._open
                if (pattern := subscription.bindings.get(exchange)) is not None and matches(pattern, routing_key)
            ]
            self._routes[exchange, routing_key] = route
        return route

    def _remove(self, subscription: Subscription) -> None:
        if subscription in self._open:
            self._open.remove(subscription)
            self._routes.clear()
