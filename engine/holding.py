"""Frames that a process must not count, told by their headers: they are held until the right process takes over."""

from collections.abc import Mapping
from typing import Protocol

from broker.frames import FRAME_SCHEMA, STORE_HEADER


class Identity(Protocol):
    """Which store this is."""

    def accepts(self, id: str) -> bool:
        """Whether frames for the store of this id belong into this one."""


def reason_to_hold(headers: Mapping[str, str | int], identity: Identity | None = None) -> str | None:
    """Why this process must not count the frame with these headers, in one line; None if it may.

    Arguments:
        identity: of this process's store; without it, frames for any store are taken.
    """
    schema = headers.get("schema", FRAME_SCHEMA)
    if not isinstance(schema, int) or schema > FRAME_SCHEMA:
        return f"a frame of format {schema} needs a newer release; this one knows {FRAME_SCHEMA}"
    store = headers.get(STORE_HEADER)
    if identity is not None and store is not None and not identity.accepts(str(store)):
        return f"a frame belongs into the store {store}, and this process works on another: look at TILLSTREAM_STORE"
    return None
