"""To the cent: what comes in is what the totals say, by four ways of asking."""

import json
from decimal import Decimal
from typing import Any

import broker as brokers
import store as stores
from broker.embedded import EmbeddedBroker
from broker.exchanges import receipts_topology
from feeds import Copies, Generator, GeneratorOptions, Sender, SenderOptions
from tests.integration.system.harness import System, running, today
from tests.support import eventually
from tests.support_expected import Expected, ExpectedDay

RECEIPTS = 20_000


async def send(system: System, requests: list[list[bytes]], concurrency: int = 8) -> int:
    """Post requests; all their events have to be accepted."""
    options = SenderOptions(url=system.url, concurrency=concurrency, first_patience_s=30.0)
    async with Sender(options) as sender:
        for request in requests:
            assert await sender.submit(request)
        await sender.drain()
    assert sender.counts.complete, sender.counts.summary()
    return sender.counts.accepted


async def stored_receipts(system: System) -> list[tuple[str, bytes]]:
    """Identity and content of every stored receipt, from the store itself."""
    url = system.environ.get("TILLSTREAM_STORE") or f"sqlite:{system.environ['TILLSTREAM_DATA']}/store.db"
    store = await stores.connect(url)
    try:
        return [(event.id, event.body) async for event in store.scan_events("receipts")]
    finally:
        await store.close()


async def rejected_counts(system: System) -> dict[str, int]:
    """How many were rejected, by reason."""
    url = system.environ.get("TILLSTREAM_STORE") or f"sqlite:{system.environ['TILLSTREAM_DATA']}/store.db"
    store = await stores.connect(url)
    try:
        return await store.rejected_count("receipts")
    finally:
        await store.close()


async def published_count(system: System) -> dict[str, Any]:
    """The next message on the exchange `count`."""
    if system.embedded:
        listener: Any = await EmbeddedBroker.attach(f"{system.environ['TILLSTREAM_DATA']}/broker.db")
    else:
        listener = await brokers.connect(system.environ["TILLSTREAM_BROKER"], receipts_topology())
    try:
        consumer = await listener.subscribe("test", {"count": "#"})
        async for delivery in consumer:
            body: dict[str, Any] = json.loads(delivery.body, parse_float=Decimal)
            return body
    finally:
        await listener.close()
    raise AssertionError("nothing was published")


def assert_day(found: dict[str, Any], expected: ExpectedDay) -> None:
    """Every number of a day, to the cent."""
    cent = Decimal("0.01")
    assert (Decimal(str(found["sum"])), found["count"]) == (expected.sum.quantize(cent), expected.count)
    assert {name: Decimal(str(row["sum"])) for name, row in found["categories"].items()} == {
        name: amount.quantize(cent) for name, amount in expected.categories.items()
    }
    assert {name: Decimal(str(row["quantity"])) for name, row in found["categories"].items()} == expected.quantities
    assert {name: (Decimal(str(row["sum"])), row["count"]) for name, row in found["stores"].items()} == {
        name: (amount.quantize(cent), expected.store_counts[name]) for name, amount in expected.stores.items()
    }
    assert {name: Decimal(str(row["sum"])) for name, row in found["payments"].items()} == {
        name: amount.quantize(cent) for name, amount in expected.payments.items()
    }


def identity(body: bytes) -> tuple[str, str, str, str]:
    """What makes two receipts the same one."""
    receipt = json.loads(body)
    return str(receipt["storeID"]), str(receipt["terminalID"]), receipt["date"], str(receipt["cashReceiptID"])


def content(body: bytes) -> dict[str, Any]:
    """A receipt's values but for what the entrypoint stamps."""
    receipt: dict[str, Any] = json.loads(body, parse_float=Decimal)
    receipt.pop("receivedTime", None)
    return receipt


async def test_totals_agree_to_the_cent(system: System) -> None:
    """20,000 receipts, 5 % sent twice, 1 % contradicted: GET, the exchange, the audit and decimal agree."""
    copies = Copies(duplicates=0.05, nearby=0.5, conflicts=0.01)
    generator = Generator(GeneratorOptions(seed=7, returns=0.02, copies=copies))
    requests = list(generator.requests(RECEIPTS, 100))
    singles, batches = requests[:3], requests[3:]
    requests = [[event] for request in singles for event in request] + batches
    sent = [event for request in requests for event in request]
    everything = Expected()
    everything.add_all(sent)
    assert everything.duplicates > RECEIPTS * 0.04
    assert everything.conflicts > RECEIPTS * 0.005
    async with running(system):
        assert await send(system, requests) == len(sent)
        days = sorted(everything.days)
        await system.counted(RECEIPTS, days)

        stored = [body for _, body in await stored_receipts(system)]
        by_identity: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
        for event in sent:
            by_identity.setdefault(identity(event), []).append(content(event))
        assert len(stored) == len(by_identity) == RECEIPTS
        assert all(content(body) in by_identity[identity(body)] for body in stored)
        # Of two receipts that contradict each other the store's first one counts, whichever way they came.
        expected = Expected()
        expected.add_all(stored)
        for day in days:
            assert_day(await system.get(f"/totals/{day}"), expected.days[day])
        contents = sum(
            len({json.dumps(one, default=str, sort_keys=True) for one in sent_as}) - 1
            for sent_as in by_identity.values()
        )
        rejected = await rejected_counts(system)
        assert rejected.keys() == {"conflict"}
        assert rejected["conflict"] >= contents

        if days == [today()]:
            revision = (await system.get(f"/totals/{days[0]}"))["revision"]

            async def published() -> bool:
                body = await published_count(system)
                if body["revision"] < revision:
                    return False
                assert (body["sum"], body["count"]) == (
                    expected.days[days[0]].sum.quantize(Decimal("0.01")),
                    expected.days[days[0]].count,
                )
                return True

            await eventually(published, timeout=15)
        code, printed = await system.run("audit")
        assert (code, "everything adds up" in printed) == (0, True), printed
        assert f"{RECEIPTS} events" in printed


async def test_totals_survive_a_restart(system: System) -> None:
    """Stopped by a signal and started again, the system says what it said before."""
    requests = list(Generator(GeneratorOptions(seed=8)).requests(500, 50))
    expected = Expected()
    expected.add_all(event for request in requests for event in request)
    async with running(system):
        await send(system, requests)
        days = sorted(expected.days)
        await system.counted(500, days)
        before = [await system.get(f"/totals/{day}") for day in days]
        for process in system.processes.values():
            assert await process.stop() == 0
        await system.start()
        after = [await system.get(f"/totals/{day}") for day in days]
        for one in (*before, *after):
            one.pop("asOf")
        assert after == before
        for found, day in zip(after, days, strict=True):
            assert_day(found, expected.days[day])
