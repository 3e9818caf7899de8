import asyncio
import json
import sqlite3
from typing import Any

from analytics import Tally
from broker.errors import BrokerUnavailableError
from broker.exchanges import Queue
from broker.protocol import Consumer, Delivery, Message, QueueState
from engine import Partial, partial_message, worker_name
from streams.errors import TillstreamError
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
    epoch = (await place.store.identify(STREAM.name, "UTC")).epoch
    async with place.running(place.totals().run):
        for _ in range(3):
            body = await next_body(listener, "receipts", complete=None)
            assert body == {
                "sum": 0.0,
                "count": 0,
                "day": "2026-11-18",
                "revision": 0,
                "asOf": NOON,
                "epoch": epoch,
            }
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
    await place.store.tidy(head, named=frozenset(head.days.values()), tallies_before=NOON + 1, days_before=NOON + 1e9)
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
    """A partial that comes in while a publication is under way is in all of its messages, or in none."""
    listener = await place.broker.subscribe("test", {"count": "#", "categories": "#", "metrics": "#"})
    keeper = place.totals(sync_s=1000.0)
    real = place.broker.announce

    async def slow(message: Message) -> None:
        await real(message)
        if message.exchange == "count" and await place.entries():
            await eventually(lambda: keeper._totals.revision == 1)

    place.broker.announce = slow  # type: ignore[method-assign]
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


async def test_the_engine_says_who_works_and_what_waits(place: Place) -> None:
    """Queues, dead letters, consumers, and each worker's events of the last minute with its share, busiest first."""
    listener = await place.broker.subscribe("test", {"metrics": "*.engine"})
    await place.broker.publish(Message(exchange="", routing_key=place.topology.dead.name, body=b"dead"))
    async with place.running(place.totals().run):
        body = await next_body(listener, "receipts.engine", deadLetters=1)
        assert (body["consumers"], body["queueDepth"], body["workers"], body["writers"]) == (0, 0, [], 0)
        await place.publish(place.frame(1))
        assert await next_body(listener, "receipts.engine", queueDepth=1)
        async with place.running(place.worker().run), place.running(place.worker().run):
            await next_body(listener, "receipts.engine", consumers=2, queueDepth=0, writers=1)
            await place.publish(place.frame(2, 3))
            both = Tally(seconds={1: [1, 0, 0]})
            old = Partial(writer="0123456789abcdef", first=1, last=1, tally=both)  # says no name
            for _ in range(2):  # one that is announced again counts once
                await place.broker.announce(partial_message(STREAM.name, old))
            workers = [
                {"worker": worker_name(), "events": 3, "share": 0.75},
                {"worker": "01234567", "events": 1, "share": 0.25},
            ]
            assert await next_body(listener, "receipts.engine", workers=workers)
            place.now += 61
            assert await next_body(listener, "receipts.engine", workers=[], writers=0, consumers=2)
    await listener.close()


async def test_totals_are_published_while_the_broker_does_not_say_how_queues_are(place: Place) -> None:
    """A queue that cannot be asked for is unknown; one that does not answer holds nothing up."""
    listener = await place.broker.subscribe("test", {"metrics": "*.engine"})
    real = place.broker.state
    silent = False

    async def state(queue: Queue) -> QueueState:
        if silent:
            await asyncio.Event().wait()
        if queue is place.topology.dead:
            raise BrokerUnavailableError("says the test")
        return await real(queue)

    place.broker.state = state  # type: ignore[method-assign]
    keeper = place.totals()
    async with place.running(keeper.run):
        body = await next_body(listener, "receipts.engine", queueDepth=0)
        assert (body["consumers"], body["deadLetters"]) == (0, None)
        await keeper.check()
        silent = True
        for _ in range(5):
            await next_body(listener, "receipts.engine")
    await listener.close()


async def test_recent_delays_are_those_of_the_last_minute(place: Place) -> None:
    """What was slow an hour ago is in the day's delays alone; without receipts there are no recent ones."""
    listener = await place.broker.subscribe("test", {"metrics": "*.delay", "count": "#"})

    async def said(**expected: Any) -> dict[str, Any]:
        async for delivery in listener:
            body: dict[str, Any] = json.loads(delivery.body)
            if "recent" in body and all(body["recent"][name] == value for name, value in expected.items()):
                return body
        raise AssertionError("the subscription ended")

    nothing = {"mean": None, "max": None, "p50": None, "p99": None}
    async with place.running(place.totals().run), place.running(place.worker().run):
        assert (await said(seconds=0))["recent"]["connectionDelay"] == nothing
        frame = place.frame(1)
        place.now += 20
        await place.publish(frame)
        while (body := await said(seconds=20))["connectionDelay"]["mean"] is None:
            pass
        assert body["recent"]["connectionDelay"] == body["connectionDelay"]
        assert body["recent"]["networkDelay"]["mean"] == 20.0
        place.now += 40
        await said(seconds=60)
        place.now += 65
        frame = place.frame(2)
        place.now += 2
        body = await said(networkDelay=nothing)
        assert body["networkDelay"]["mean"] == 20.0
        await place.publish(frame)
        while (body := await said())["recent"]["networkDelay"]["mean"] is None:
            pass
        assert (body["recent"]["networkDelay"]["mean"], body["networkDelay"]["mean"]) == (2.0, 11.0)
    await listener.close()


async def minutes(listener: Consumer) -> dict[str, Any]:
    """The next message about minutes."""
    return await next_body(listener, "receipts.minutes")


async def test_after_a_restart_all_minutes_of_the_day_are_published(place: Place) -> None:
    """The first message of minutes is complete, with what the checkpoint has and what came after it."""
    async with place.running(place.totals().run), place.running(place.worker().run):
        await place.publish(place.frame(1))
        place.now += 120
        await place.publish(place.frame(2, 3))

        async def checkpoint() -> bool:
            head = await place.store.head(STREAM.name)
            return head is not None and sum(head.offsets.values()) == 2

        await eventually(checkpoint)
    place.now += 60
    async with place.running(place.worker().run):
        await place.publish(place.frame(4))

        async def three() -> bool:
            return len(await place.entries()) == 3

        await eventually(three)
    listener = await place.broker.subscribe("test", {"metrics": "*.minutes"})
    async with place.running(place.totals().run):
        first = await minutes(listener)
        assert first["complete"]
        assert {minute: row["count"] for minute, row in first["received"].items()} == {
            "12:00": 1,
            "12:02": 2,
            "12:03": 1,
        }
        assert not (await minutes(listener))["complete"]
    await listener.close()


async def test_minutes_that_went_unheard_are_published_again(place: Place) -> None:
    """After a publication that failed halfway all minutes are told, not only what changed since."""
    listener = await place.broker.subscribe("test", {"metrics": "*.minutes"})
    real = place.broker.announce
    fail = False

    async def announce(message: Message) -> None:
        if fail and message.exchange == "metrics":
            raise BrokerUnavailableError("says the test")
        await real(message)

    place.broker.announce = announce  # type: ignore[method-assign]
    keeper = place.totals()
    async with place.running(keeper.run), place.running(place.worker().run):
        await next_body(listener, "receipts.minutes", complete=False)
        fail = True
        await place.publish(place.frame(1))
        await eventually(lambda: keeper._troubles and keeper._totals.revision == 1)
        fail = False
        while not (body := await minutes(listener))["complete"]:
            pass
        assert body["received"]["12:00"]["count"] == 1
    await listener.close()


async def test_what_is_rejected_is_announced_by_its_reason(place: Place) -> None:
    """Routing key, headers and id of a conflict's announcement; the body is the line as it came."""
    listener = await place.broker.subscribe("test", {"rejected": "receipts.*"})
    async with place.running(place.worker().run):
        await place.publish(place.frame(1))
        await eventually(place.entries)
        second = place.frame(1, **{"documentTotal.grossTotal": 99})
        await place.publish(second)
        deliveries: list[Delivery] = []
        async for delivery in listener:
            deliveries.append(delivery)
            break
        (said,) = deliveries
    assert (said.exchange, said.routing_key, said.body) == ("rejected", "receipts.conflict", second.body.rstrip(b"\n"))
    assert set(said.headers) == {"reason", "first_seen", "source"}
    assert said.headers["source"] == second.id
    assert float(said.headers["first_seen"]) == place.now
    assert str(said.headers["reason"]).startswith("612:")
    assert said.message_id
    await listener.close()


async def test_partials_of_before_a_restore_are_ignored(place: Place) -> None:
    """They are of another epoch; the store is well, and what it has is read from it."""
    identity = await place.store.identify(STREAM.name, "UTC")
    keeper = place.totals()
    async with place.running(keeper.run), place.running(place.worker().run):
        await place.publish(place.frame(1))
        await eventually(lambda: keeper._totals.revision == 1)
        old = Partial(writer="w", first=1, last=1, tally=Tally(), store=identity.id, epoch="before")
        await place.broker.announce(partial_message(STREAM.name, old))
        stray = keeper._metrics.partials.labels("stray")
        await eventually(lambda: stray._value.get() == 1)
        await keeper.check()
        assert keeper._totals.revision == 1


async def test_a_worker_with_another_store_is_reported(place: Place) -> None:
    """Totals are not ready while its partials arrive, and name the worker and the setting to look at."""
    await place.store.identify(STREAM.name, "UTC")
    keeper = place.totals()
    async with place.running(keeper.run):
        await eventually(lambda: keeper._identity is not None)
        other = Partial(writer="w", first=1, last=1, tally=Tally(), worker="till-7", store="other", epoch="other")
        await place.broker.announce(partial_message(STREAM.name, other))

        async def reported() -> bool:
            try:
                await keeper.check()
            except TillstreamError as exc:
                return str(exc).startswith("worker till-7 writes to another store")
            return False

        await eventually(reported)
        assert keeper._totals.revision == 0


async def test_a_store_restored_under_running_totals_is_read_again(place: Place) -> None:
    """Its new epoch says so; figures go back to what it has, and subscribers can tell by the epoch."""
    await place.store.identify(STREAM.name, "UTC")
    listener = await place.broker.subscribe("test", {"count": "#"})
    keeper = place.totals(checkpoint_s=3600.0)  # none is under way while tables change
    async with place.running(keeper.run):
        async with place.running(place.worker().run):
            await place.publish(place.frame(1))
            before = await next_body(listener, "receipts", count=1)
        with sqlite3.connect(place.store._store._path) as connection:
            for table in ("events_receipts", "ledger", "checkpoints", "days"):
                connection.execute(f"DELETE FROM {table}")
        connection.close()
        epoch = await place.store.renew()
        after = await next_body(listener, "receipts", epoch=epoch)
        assert (after["sum"], after["revision"]) == (0, 0)
        assert before["epoch"] != epoch
    await listener.close()


async def test_old_data_that_cannot_be_dropped_are_no_reason_to_be_unready(place: Place) -> None:
    """No total depends on it; it is tried again."""
    keeper = place.totals(tidy_s=0.05)
    place.store.failing = {"tidy"}
    async with place.running(keeper.run), place.running(place.worker().run):
        await place.publish(place.frame(1))
        await eventually(lambda: place.store.failures >= 2)
        await keeper.check()
        assert keeper._totals.revision == 1


async def test_all_minutes_are_published_each_minute_also_by_a_clock_that_was_set_back(place: Place) -> None:
    """Whoever listens anew knows the whole day within a minute, whatever the wall clock shows."""
    listener = await place.broker.subscribe("test", {"metrics": "receipts.minutes"})
    uptime = [1000.0]
    keeper = place.totals(monotonic=lambda: uptime[0])
    async with place.running(keeper.run):
        await next_body(listener, "receipts.minutes", complete=True)
        await next_body(listener, "receipts.minutes", complete=False)
        place.now -= 3600
        uptime[0] += 61
        assert (await next_body(listener, "receipts.minutes", complete=True))["asOf"] == place.now
    await listener.close()


async def test_seconds_of_reception_ahead_of_the_clock_are_forgotten(place: Place) -> None:
    """An entrypoint whose clock was a day ahead does not fill the rates' memory for ever."""
    keeper = place.totals()
    async with place.running(keeper.run), place.running(place.worker().run):
        place.now += 86_400
        await place.publish(place.frame(1))
        await eventually(lambda: keeper._totals.revision == 1)
        place.now -= 86_400
        await eventually(lambda: not keeper._totals.seconds)
