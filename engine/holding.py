"""Frames that a process must not count, told by their headers: they are held until the right process takes over."""

import asyncio
import random
from collections.abc import Mapping
from typing import Protocol

import structlog

from broker.frames import FRAME_SCHEMA, STORE_HEADER
from runtime import Backoff
from store.errors import StoreError
from store.protocol import StoreIdentity

log = structlog.get_logger()

_RETRY = Backoff(base_s=0.1, cap_s=5.0)


class Identified(Protocol):
    """The part of a store that tells which one it is."""

    async def identity(self, stream: str) -> StoreIdentity | None:
        """See `store.protocol.Store.identity`."""


def reason_to_hold(headers: Mapping[str, str | int], identity: StoreIdentity | None) -> str | None:
    """Why this process must not count the frame with these headers, in one line; None if it may.

    Arguments:
        identity: of this process's store; None if that has none.
    """
    schema = headers.get("schema", FRAME_SCHEMA)
    if not isinstance(schema, int) or schema > FRAME_SCHEMA:
        return f"a frame of format {schema} needs a newer release; this one knows {FRAME_SCHEMA}"
    store = headers.get(STORE_HEADER)
    if store is None or (identity is not None and identity.accepts(str(store))):
        return None
    own = f"the store {identity.id}" if identity is not None else "a store without an identity"
    return f"a frame belongs into the store {store}, and this process works on {own}: look at TILLSTREAM_STORE"


class FrameCheck:
    """Tells which frames are not for this process, by their headers and by the identity of its store.

    Arguments:
        store: whose identity counts.
        stream: the frames' stream.
    """

    def __init__(self, store: Identified, stream: str) -> None:
        self._store = store
        self._stream = stream
        self._identity: StoreIdentity | None = None

    async def reason_to_hold(self, headers: Mapping[str, str | int]) -> str | None:
        """As the function of this name. The store is asked when a frame names one that is not known to be accepted,
        again and again while it does not answer."""
        failures = 0
        while (why := reason_to_hold(headers, self._identity)) is not None:
            if STORE_HEADER not in headers:
                return why
            try:
                fresh = await self._store.identity(self._stream)
            except StoreError as exc:
                failures += 1
                log.warning("the store does not tell which one it is", error=str(exc))
                await asyncio.sleep(_RETRY.delay(failures, random.random()))
                continue
            if fresh == self._identity:
                return why
            self._identity = fresh
        return None
