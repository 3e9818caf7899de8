"""Which store a process works on: checked at its start, or as soon as the store answers."""

import asyncio
import random

import structlog

from runtime import Backoff
from store.errors import StoreError
from store.protocol import Store, StoreIdentity
from streams import ConfigurationError, ReceiptStream

log = structlog.get_logger()

_RETRY = Backoff(base_s=0.5, cap_s=10.0)


async def identify(store: Store, stream: ReceiptStream) -> StoreIdentity:
    """The identity of a store, given to it if it has none. For processes that write to it.

    Raises ConfigurationError when the store's business days are in another time zone, and StoreError.
    """
    identity = await store.identify(stream.name, stream.zone)
    check_zone(identity, stream)
    return identity


async def identity_of(store: Store, stream: ReceiptStream) -> StoreIdentity:
    """The identity of a store, as soon as it answers and a process that writes to it has given it one.

    Raises ConfigurationError as `identify` does.
    """
    attempt = 0
    while True:
        try:
            identity = await store.identity(stream.name)
        except StoreError as exc:
            log.debug("the store does not answer yet", error=str(exc))
            identity = None
        if identity is not None:
            check_zone(identity, stream)
            return identity
        attempt += 1
        await asyncio.sleep(_RETRY.delay(attempt, random.random()))


def check_zone(identity: StoreIdentity, stream: ReceiptStream) -> None:
    """Raise ConfigurationError unless a store's business days are in the stream's time zone.

    A receipt dated with an offset would have another identity in another zone, and count twice.
    """
    if identity.zone != stream.zone:
        raise ConfigurationError(
            f"the store keeps days in the time zone {identity.zone}, and this process was started with {stream.zone}: "
            f"set TILLSTREAM_TIMEZONE={identity.zone}"
        )
