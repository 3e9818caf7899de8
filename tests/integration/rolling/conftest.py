"""The systems of the other tests, to run releases beside one another in."""

from tests.integration.system.conftest import embedded_system, server_system
from tests.integration.workers.conftest import place

__all__ = ["embedded_system", "place", "server_system"]
