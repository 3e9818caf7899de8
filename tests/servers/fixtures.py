"""The pytest plugin that offers the real servers; each is started lazily, once per test session.

A test that asks for a server that is not to be had is skipped, loudly; with `CI=true` it fails instead.
"""

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.servers.cluster import RabbitCluster
from tests.servers.ferret import FerretMissingError, FerretServer
from tests.servers.rabbit import PrivateRabbit, Rabbit, RabbitMissingError, open_rabbit
from tests.servers.storm import StormMissingError, StormServer


def missing_server(reason: str) -> NoReturn:
    """Skip the test that asked for a server, or fail it where every server has to be there (`CI=true`)."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs a server: {reason}", pytrace=False)
    pytest.skip(f"needs a server: {reason}")


@pytest.fixture(scope="session")
def rabbit() -> Iterator[Rabbit]:
    """A RabbitMQ shared by the session; take a vhost of your own from it, and leave it running."""
    try:
        server = open_rabbit()
    except RabbitMissingError as exc:
        missing_server(str(exc))
    yield server
    server.close()


@pytest.fixture(scope="session")
def own_rabbit() -> Iterator[PrivateRabbit]:
    """A RabbitMQ for tests that stop, kill, pause or alarm it, shared by them; leave it running between tests."""
    try:
        server = PrivateRabbit()
    except RabbitMissingError as exc:
        missing_server(str(exc))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def rabbit_cluster() -> Iterator[RabbitCluster]:
    """Three RabbitMQ nodes shared by the session: to be killed, frozen and cut off; `heal` them after each test."""
    try:
        server = RabbitCluster()
    except RabbitMissingError as exc:
        missing_server(str(exc))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def ferret() -> Iterator[FerretServer]:
    """A FerretDB shared by the session; take a `database()` of your own from it, and leave it running."""
    yield from _started_ferret()


@pytest.fixture(scope="session")
def own_ferret() -> Iterator[FerretServer]:
    """A FerretDB for tests that stop, kill or pause it, shared by them; leave it running between tests."""
    yield from _started_ferret()


def _started_ferret() -> Iterator[FerretServer]:
    try:
        server = FerretServer()
    except FerretMissingError as exc:
        missing_server(str(exc))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def storm_cluster() -> Iterator[StormServer]:
    """A Storm cluster shared by the session; kill what you submit to it, and leave its Supervisor running."""
    try:
        server = StormServer()
    except StormMissingError as exc:
        missing_server(str(exc))
    try:
        server.start()
        yield server
    finally:
        server.close()
