import json
from typing import Any

from broker.exchanges import Queue
from broker.protocol import Consumer
from tests.integration.workers.conftest import NOON, STREAM, Place
from tests.support import eventually


async def next_body(listener: Consumer, key: str, **expected: Any) -> dict[str, Any]:
    """The next message with a routing key whose body says what is expected."""
    async for delivery in listener:
        body: dict[str, Any] = json.loads(delivery.body)
        if delivery.routing_key == key and all(body.get(name) == value for name, value in expected.items()):
            return body
    raise AssertionError("the subscription ended")


async def test_totals_are_published_also_when_nothing_changed(place: Place) -> None:
    """An empty day is published, again and again: silence means trouble."""
    listener = await place.broker.subscribe("test", {"count": "#"})
    async with place.running(place.totals().run):
        for _ in range(3):
            body = await next_body(listener, "receipts")
            assert body == {"sum": 0.0, "count": 0, "day": "2026-11-18", "revision": 0, "asOf": NOON}
    await listener.close()


async def test_what_workers_count_is_published(place: Place) -> None:
    """Count, categories and all metrics agree with what came in."""
    place.now = NOON + 30
    listener = await place.broker.subscribe("test", {"count": "#", "categories": "#", "metrics": "#"})
    async with place.running(place.totals().run), place.running(place.worker().run):
        await place.publish(place.frame(1, 2))
        place.now = NOON + 31
        assert (await next_body(listener, "receipts", count=2))["sum"] == 53.06
        found: dict[str, dict[str, Any]] = {}
        async for delivery in listener:
            body = json.loads(delivery.body)
            if body["revision"] >= 1:
                found.setdefault(f"{delivery.exchange}/{delivery.routing_key}", body)
            if len(found) == 8:
                break
    assert found["categories/receipts"]["categories"] == {"Menu": 48.24, "Pain": 4.82}
    assert found["metrics/receipts.rate"]["averagePerMinute"] == 2
    assert found["metrics/receipts.stores"]["stores"] == {"612": {"sum": 53.06, "count": 2}}
    assert found["metrics/receipts.payments"]["payments"]["CB"] == {"sum": 40.0, "count": 2}
    assert found["metrics/receipts.delay"]["connectionDelay"]["mean"] > 3000
    minutes = found["metrics/receipts.minutes"]
    assert minutes["received"]["12:00"] == {"count": 2, "sum": 53.06}
    assert minutes["own"]["11:06"] == {"count": 2, "sum": 53.06}
    assert found["metrics/receipts.engine"]["lag"] == 0
    await listener.close()


async def test_a_lost_partial_is_read_from_the_ledger(place: Place) -> None:
    """The ledger is the truth: totals that were away when frames were counted know them all the same."""
    async with place.running(place.worker().run):
        await place.publish(place.frame(1))
        await eventually(place.entries)
    listener = await place.broker.subscribe("test", {"count": "#"})
    consumer = await place.broker.consume(place.topology.partials, prefetch=10)
    async for delivery in consumer:  # somebody else took the partial
        await delivery.ack()
        break
    await consumer.close()
    async with place.running(place.totals().run):
        assert (await next_body(listener, "receipts", revision=1))["count"] == 1
    await listener.close()


async def test_one_is_active_and_a_standby_takes_over(place: Place) -> None:
    """The second one waits; when the first is gone it goes on from the checkpoint."""
    first, second = place.totals(), place.totals()
    listener = await place.broker.subscribe("test", {"count": "#"})
    async with place.running(first.run) as stop_first, place.running(place.worker().run):
        await place.publish(place.frame(1))
        await next_body(listener, "receipts", count=1)
        async with place.running(second.run):
            await place.publish(place.frame(2))
            await next_body(listener, "receipts", count=2)
            assert second._totals.revision == 0
            stop_first.set()
            await eventually(lambda: second._totals.revision >= 2)
            await next_body(listener, "receipts", count=2)
            await place.publish(place.frame(3))
            assert (await next_body(listener, "receipts", count=3))["sum"] == 79.59
    await listener.close()


async def test_totals_go_on_from_their_checkpoint(place: Place) -> None:
    """After a restart the same totals are there, and old entries are not needed to know them."""
    async with place.running(place.totals().run), place.running(place.worker().run):
        await place.publish(place.frame(1, 2))

        async def checkpoint() -> bool:
            head = await place.store.head(STREAM.name)
            return head is not None and sum(head.offsets.values()) == 1

        await eventually(checkpoint)
    head = await place.store.head(STREAM.name)
    await place.store.tidy(head, tallies_before=NOON + 1, days_before=NOON + 1e9)
    listener = await place.broker.subscribe("test", {"count": "#"})
    async with place.running(place.totals().run):
        assert (await next_body(listener, "receipts"))["count"] == 2
    await listener.close()


async def test_a_failing_store_is_waited_out(place: Place) -> None:
    """While the ledger cannot be read nothing is published and the process is not ready; then all is right."""
    keeper = place.totals()
    place.store.failing = {"ledger_after", "head"}
    listener = await place.broker.subscribe("test", {"count": "#"})
    async with place.running(keeper.run), place.running(place.worker().run):
        await place.publish(place.frame(1))
        await eventually(lambda: place.store.failures >= 2)
        assert keeper._troubles
        place.store.failing = set()
        assert (await next_body(listener, "receipts", revision=1))["count"] == 1
        await eventually(lambda: not keeper._troubles)
        await keeper.check()
        place.store.failing = {"swap_head"}
        failures = place.store.failures
        await place.publish(place.frame(2))
        await eventually(lambda: place.store.failures > failures)
        place.store.failing = set()
        assert (await next_body(listener, "receipts", revision=2))["count"] == 2
    await listener.close()


async def test_a_message_says_no_more_than_its_revision(place: Place) -> None:
    """A partial that comes in while a publication is being prepared is in all of its messages, or in none."""
    listener = await place.broker.subscribe("test", {"count": "#", "categories": "#", "metrics": "#"})
    keeper = place.totals(sync_s=1000.0)
    real = place.broker.depth

    async def slow(queue: Queue) -> int:
        found = await real(queue)
        if await place.entries():
            await eventually(lambda: keeper._totals.revision == 1)
        return found

    place.broker.depth = slow  # type: ignore[method-assign]
    async with place.running(keeper.run), place.running(place.worker().run):
        await next_body(listener, "receipts", revision=0)
        await place.publish(place.frame(1))
        async for delivery in listener:
            body = json.loads(delivery.body)
            if "count" in body:
                assert body["count"] == body["revision"]
            if delivery.routing_key == "receipts.stores":
                assert len(body["stores"]) == body["revision"]
            if body["revision"] == 1 and delivery.routing_key == "receipts.engine":
                break
    await listener.close()
