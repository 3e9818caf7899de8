"""Which store a store is: an id for ever, an epoch until it is restored, and the zone of each stream's days."""

import asyncio

import pytest

from store import Store, StoreDataError
from tests.integration.store.examples import STREAM


async def test_a_store_has_one_identity_whoever_asks(store: Store, other: Store) -> None:
    """Several processes that start at once find the same, and reading alone gives a store none."""
    assert await store.identity(STREAM) is None
    found = await asyncio.gather(*(where.identify(STREAM, "UTC") for where in (store, other) * 3))
    assert len(set(found)) == 1
    assert await other.identity(STREAM) == found[0]
    assert found[0].id != found[0].epoch


async def test_a_stream_keeps_its_zone(store: Store) -> None:
    """The first process decides; each stream has its own."""
    await store.identify(STREAM, "Europe/Paris")
    assert (await store.identify(STREAM, "UTC")).zone == "Europe/Paris"
    assert await store.identity("invoices") is None
    assert (await store.identify("invoices", "UTC")).zone == "UTC"


async def test_a_restored_store_gets_another_epoch_and_keeps_its_id(store: Store, other: Store) -> None:
    """So that messages of before can be told from those after it."""
    before = await store.identify(STREAM, "UTC")
    epoch = await other.renew()
    after = await store.identity(STREAM)
    assert after is not None
    assert (after.id, after.epoch) == (before.id, epoch)
    assert epoch != before.epoch


async def test_a_store_can_adopt_the_frames_of_another(store: Store) -> None:
    """It accepts its own id and those that it was told; adopting twice changes nothing."""
    found = await store.identify(STREAM, "UTC")
    assert found.accepts(found.id)
    assert not found.accepts("other")
    for _ in range(2):
        await store.adopt("other")
    after = await store.identity(STREAM)
    assert after is not None
    assert after.adopted == ("other",)
    assert after.accepts("other")
    assert after.accepts(found.id)


async def test_a_store_that_nothing_was_stored_in_cannot_be_renewed(store: Store) -> None:
    """Nor adopt anything: probably another store was meant."""
    with pytest.raises(StoreDataError, match="no identity yet"):
        await store.renew()
    with pytest.raises(StoreDataError, match="no identity yet"):
        await store.adopt("other")
