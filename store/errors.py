"""What can go wrong between us and the store; drivers' own errors are translated to these at the edge."""

from streams.errors import TillstreamError


class StoreError(TillstreamError):
    """A read or write failed, or its outcome is unknown. It may have happened; trying again must be safe."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached."""


class StoreMissingError(StoreError):
    """There is no store at that place, and it was not to be made."""


class StoreTimeoutError(StoreError):
    """A query took longer than the store may take for one; it was ended. Nothing was changed."""


class StoreDataError(StoreError):
    """The store holds something that we cannot read, such as a document of a newer format version."""


class StoreRefusedError(StoreError):
    """The store refuses this very write for good: too large, not to be encoded, or a value that it does not take.

    Repeating the same write fails in the same way, while other writes go on. Every other StoreError may pass.
    """
