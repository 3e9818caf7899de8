"""What can go wrong between us and the broker; drivers' own errors are translated to these at the edge."""

from streams.errors import TillstreamError


class BrokerError(TillstreamError):
    """Root of the broker's errors."""


class BrokerUnavailableError(BrokerError):
    """No connection (never made, lost, or the broker is stopping). Trying again later is safe."""


class PublishUnknownError(BrokerUnavailableError):
    """A publish got no answer in time, or its connection broke first: it may or may not have been taken."""


class BrokerBlockedError(BrokerUnavailableError):
    """The broker asked publishers to wait (a memory or disk alarm); nothing was sent."""


class BrokerFullError(BrokerError):
    """The broker refused the message because a queue is at its limit; it was not taken."""


class OverloadedError(BrokerError):
    """More is waiting for the broker here than we want to hold; nothing was sent. Trying again later is safe."""


class MessageTooLargeError(BrokerError):
    """The message is larger than brokers take; nothing was sent, and sending it again does not help."""


class UnroutableError(BrokerError):
    """No queue is bound for this exchange and routing key; the message was not taken."""


class ConsumerRefusedError(BrokerError):
    """Another consumer holds the queue exclusively."""


class TopologyMismatchError(BrokerError):
    """An exchange or queue exists with other arguments than ours; the text names the argument."""


class TopologyMissingError(BrokerError):
    """An exchange or queue is not there, and our user may not declare it; the text names it."""
