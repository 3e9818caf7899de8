"""What can go wrong between us and Storm; Thrift's own errors are translated to these in `topology.nimbus`."""

from streams.errors import TillstreamError


class StormError(TillstreamError):
    """Root of the errors of Storm, and of setting one up."""


class NimbusUnavailableError(StormError):
    """No Nimbus answers at the address, or what answers is none. Trying again later is safe."""


class NimbusRefusedError(StormError):
    """Nimbus understood and refused: an invalid topology or name, missing rights, another Nimbus leads."""


class TopologyExistsError(StormError):
    """A topology of this name runs already."""


class TopologyMissingError(StormError):
    """No topology of this name runs."""


class ClusterError(StormError):
    """The cluster on this machine cannot be started, or has broken; the text says what is missing or where to look."""
