"""The places that the contract is tested on: every test that asks for `place` runs once on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.broker.place import AmqpPlace, EmbeddedPlace, Place

PLACES = ["embedded", pytest.param("amqp", marks=pytest.mark.rabbit)]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place, one per test: a file, or a fresh vhost."""
    if request.param == "embedded":
        yield EmbeddedPlace(tmp_path / "broker.db")
        return
    server = request.getfixturevalue("rabbit")
    url = server.vhost()
    yield AmqpPlace(url)
    server.drop_vhost(url)
