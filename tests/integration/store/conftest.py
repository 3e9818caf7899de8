"""The stores that the contract is tested on: every test that asks for `url` or `store` runs once on each.

`ferret` twice: as FerretDB, and by the ways that a MongoDB server is asked (slower there, but the answers must agree).
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

import store as stores
from store import Store
from store.mongo import MongoStore
from tests.integration.store.examples import KEY_NAMES, STREAM
from tests.servers.ferret import existing_mongo, fresh_database

PLACES = [
    "sqlite",
    pytest.param("ferret", marks=pytest.mark.mongo),
    pytest.param("ferret-as-mongodb", marks=pytest.mark.mongo),
]
if os.environ.get("TILLSTREAM_TEST_MONGO"):
    PLACES.append(pytest.param("mongodb", marks=pytest.mark.mongo))


async def _no(self: MongoStore) -> bool:
    return False


@pytest.fixture(params=PLACES)
async def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The URL of a store that nothing is in yet, one per test."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'store.db'}"
        return
    if request.param.startswith("ferret"):
        if request.param == "ferret-as-mongodb":
            monkeypatch.setattr(MongoStore, "_scans", _no)
            monkeypatch.setattr("store.mongo._OF_FIRST", {})  # FerretDB has no partial indexes
        # Its databases go away with the server.
        yield request.getfixturevalue("ferret").database()
        return
    existing = existing_mongo()
    assert existing is not None
    fresh = fresh_database(existing)
    yield fresh
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(fresh)
    await client.drop_database(client.get_default_database().name)
    client.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store that is prepared for the stream of the examples."""
    opened = await stores.connect(url)
    await opened.prepare(STREAM, KEY_NAMES)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str, store: Store) -> AsyncIterator[Store]:
    """A second connection to what `store` is connected to, as another process has it."""
    opened = await stores.connect(url)
    yield opened
    await opened.close()
