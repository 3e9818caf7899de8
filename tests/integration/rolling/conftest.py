"""The systems of the other tests, to run releases beside one another in."""

from tests.integration.system.conftest import embedded_system, server_system

__all__ = ["embedded_system", "server_system"]
