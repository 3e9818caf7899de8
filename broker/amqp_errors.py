"""Driver's errors and what they mean to us: the one place that knows how aio-pika and aiormq fail."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from broker.errors import BrokerError, BrokerUnavailableError, ConsumerRefusedError, TopologyMismatchError
from runtime.tls import tls_words

_INEQUIVALENT = re.compile(r"inequivalent arg '(.+?)' for (.+?): received (.+) but current is (.+)$")


def reason(exc: BaseException) -> str:
    """What happened, in one line without type names; RabbitMQ's own text where it sent one."""
    if isinstance(exc, ConnectionClosed) and len(exc.args) > 1:
        return str(exc.args[1])
    text = str(exc).partition("\n")[0]
    return tls_words(text) or text or "the connection was lost"


def translate(doing: str, exc: BaseException) -> BrokerError:
    """The error to raise for a driver's error that came up while `doing` something; raise it from `exc`."""
    text = reason(exc)
    if isinstance(exc, BrokerError):
        return exc
    if isinstance(exc, TimeoutError):
        return BrokerUnavailableError(f"{doing}: the broker did not answer in time")
    if isinstance(exc, ChannelPreconditionFailed):
        if found := _INEQUIVALENT.search(text):
            argument, what, ours, theirs = found.groups()
            return TopologyMismatchError(f"{what} exists with another {argument}: ours is {ours}, it has {theirs}")
        return TopologyMismatchError(f"{doing}: {text}")
    if isinstance(exc, ChannelLockedResource) or (isinstance(exc, ChannelAccessRefused) and "exclusive use" in text):
        return ConsumerRefusedError(f"{doing}: {text}")
    if isinstance(exc, (AuthenticationError, ChannelAccessRefused, ConnectionNotAllowed, ProbableAuthenticationError)):
        return BrokerError(f"{doing}: {text}")
    if isinstance(exc, InvalidFrameError) and "Connection.OpenOk" in text:  # all that the driver lets through of it
        return BrokerError(f"{doing}: refused; is there such a vhost, and may this user use it?")
    return BrokerUnavailableError(f"{doing}: {text}")


@asynccontextmanager
async def translated(doing: str, timeout: float) -> AsyncIterator[None]:
    """Run driver calls: bounded in seconds, every failure of theirs raised as a BrokerError, nothing swallowed."""
    task = asyncio.current_task()
    cancels = task.cancelling() if task else 0
    try:
        async with asyncio.timeout(timeout):
            yield
    except asyncio.CancelledError as exc:
        # The driver fails its waiters with CancelledError when it closes; only a cancel of ours counts here.
        if task is None or task.cancelling() > cancels:
            raise
        raise translate(doing, exc) from exc
    except Exception as exc:
        # On a lost connection the driver raises whatever closed it, down to a plain Exception.
        if isinstance(exc, BrokerError):
            raise
        raise translate(doing, exc) from exc
