"""What was rejected, as an operator deals with it: by the command, on files and on servers."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import broker as brokers
import store as stores
from broker.exchanges import Topology, receipts_topology
from broker.frames import Frame
from broker.protocol import Broker
from engine.prepare import rejected
from engine.quarantine import frame_message
from store import Store
from streams import ReceiptStream
from tests.integration.system.harness import ROOT, System, running
from tests.integration.system.mortal import DIED
from tests.support import eventually
from tests.unit.streams.sample import receipt

#: Each runs a dozen commands, one after another.
pytestmark = pytest.mark.timeout(400)

STREAM = ReceiptStream(ZoneInfo("UTC"))
DAY = "2026-11-18"
LIMIT = 1


def line(number: int, **changes: Any) -> bytes:
    """A receipt as its line in a frame; each is of 26.53."""
    return STREAM.accept(json.dumps(receipt({"cashReceiptID": number, **changes})).encode(), 1000.0 + number)


def urls(system: System) -> tuple[str, str]:
    """Where its broker and its store are."""
    data = system.environ.get("TILLSTREAM_DATA")
    if data is not None:
        return f"sqlite:{data}/broker.db", f"sqlite:{data}/store.db"
    return system.environ["TILLSTREAM_BROKER"], system.environ["TILLSTREAM_STORE"]


@dataclass
class Place:
    """Broker and store of a system, open in the test's own process."""

    broker: Broker
    store: Store
    topology: Topology

    async def put(self, *lines: bytes) -> Frame:
        """Publish a frame of whatever lines."""
        frame = Frame.of(STREAM.name, lines)
        await self.broker.publish(frame_message(STREAM, frame))
        return frame


@asynccontextmanager
async def place(system: System) -> AsyncIterator[Place]:
    """Open them; nothing else may run on files meanwhile."""
    topology = receipts_topology(delivery_limit=int(system.environ.get("TILLSTREAM_DELIVERY_LIMIT", "1000")))
    broker_url, store_url = urls(system)
    store = await stores.connect(store_url)
    try:
        await store.prepare(STREAM.name, STREAM.key_names)
        broker = await brokers.connect(broker_url, topology)
        try:
            yield Place(broker, store, topology)
        finally:
            await broker.close()
    finally:
        await store.close()


async def listed(system: System, *arguments: str) -> list[dict[str, Any]]:
    """What `rejected list --json` says."""
    code, printed = await system.run("rejected", "list", "--json", *arguments)
    assert code == 0, printed
    return [json.loads(one) for one in printed.splitlines() if one.startswith("{")]


async def stop(system: System) -> None:
    """Stop all of it."""
    for process in system.processes.values():
        assert await process.stop() == 0


async def test_what_was_rejected_is_seen_replayed_and_discarded(system: System) -> None:
    """Junk and an invalid receipt that somebody put into the queue, a conflict, and one that this release can read."""
    junk, old = b'{"storeID": \xff', line(2)
    async with place(system) as there:
        await there.put(line(1), junk, line(3).replace(b'"storeID"', b'"shopID"'))
        await there.put(line(1, **{"documentTotal.grossTotal": 99}))
        before = rejected(
            STREAM.name, "invalid", "of an older release", source="e" * 32, body=old, first_seen=1_700_000_000.0
        )
        await there.store.reject([before])
    async with running(system):
        await system.counted(1, [DAY])

        async def all_rejected() -> bool:
            return len((await system.get("/rejected"))["rejected"]) == 4

        await eventually(all_rejected, timeout=30, every=0.3)
        if system.embedded:
            code, printed = await system.run("rejected", "replay", "--all")
            assert (code, "stop `tillstream up`" in printed) == (2, True)
            code, printed = await system.run("rejected", "list")
            assert code == 0
            *_, hint, count = printed.splitlines()
            assert hint == "(dead letters are not listed while `tillstream up` runs; there are rarely any)"
            assert count == "4 items"
            assert "stop `tillstream up`" not in printed
        await stop(system)

        found = {one["reason"] if one["id"] != before.id else "old": one for one in await listed(system)}
        assert found.keys() == {"undecodable", "invalid", "conflict", "old"}
        assert {one["status"] for one in found.values()} == {"open"}
        assert [one["id"] for one in await listed(system, "--before", "2024-01-01")] == [before.id]
        assert [one["id"] for one in await listed(system, "--since", "1h", "--reason", "conflict")] == [
            found["conflict"]["id"]
        ]
        assert await listed(system, "--status", "replayed") == []
        code, printed = await system.run("rejected", "show", found["undecodable"]["id"])
        assert code == 0
        assert '{"storeID": \\xff' in printed
        code, printed = await system.run("rejected", "show", before.id, "--raw")
        assert (code, printed.encode()) == (0, old)
        assert (await system.run("rejected", "show", "nobody"))[0] == 2

        code, printed = await system.run("rejected", "replay", "--all")
        assert code == 1
        assert "1 replayed, 3 left as they are" in printed
        assert "is stored with other content" in printed
        for name in ("undecodable", "conflict"):
            code, printed = await system.run("rejected", "replay", "--id", found[name]["id"], "--force")
            assert code == 0, printed
        assert (await system.run("rejected", "replay"))[0] == 2
        assert (await system.run("rejected", "replay", "--force", "--all"))[0] == 2

        await system.start()
        await system.counted(2, [DAY])

        async def open_again() -> bool:
            return len((await system.get("/rejected?status=open"))["rejected"]) == 3

        await eventually(open_again, timeout=30, every=0.3)
        [replayed] = (await system.get("/rejected?status=replayed"))["rejected"]
        assert replayed["id"] == before.id
        assert [step["what"] for step in replayed["history"]] == ["replayed"]
        tried = await system.get(f"/rejected/{found['conflict']['id']}")
        assert sorted(step["what"] for step in tried["history"]) == ["again", "replayed"]

        code, printed = await system.run("rejected", "discard", "--reason", "conflict", "--note", "a test\n")
        assert (code, "1 discarded" in printed) == (0, True), printed
        [discarded] = await listed(system, "--status", "discarded")
        assert (discarded["reason"], discarded["history"][-1]["note"]) == ("conflict", "a test\n")
        assert len(await listed(system)) == 2
        totals = await system.get(f"/totals/{DAY}")
        assert (totals["count"], totals["sum"] in (53.06, 125.53)) == (2, True)
        code, printed = await system.run("audit")
        assert (code, "everything adds up" in printed) == (0, True), printed


async def die_of_it(system: System) -> int:
    """Give what is in the queue to a worker that dies of it, until nothing comes any more; how often one died."""
    deaths = 0
    while deaths <= LIMIT + 2:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.system.mortal", *urls(system), str(LIMIT), cwd=ROOT
        )
        async with asyncio.timeout(60):
            code = await child.wait()
        if code == 0:
            return deaths
        assert code == DIED
        deaths += 1
    raise AssertionError("the frame comes again for ever")


async def test_a_dead_letter_is_replayed_whole_and_its_claims_count(system: System) -> None:
    """Its events were stored and not counted: the audit says so, repair refuses, replaying it is what helps."""
    system.environ["TILLSTREAM_DELIVERY_LIMIT"] = str(LIMIT)
    async with place(system) as there:
        frame = await there.put(line(1), b"junk", line(2))
    assert await die_of_it(system) == LIMIT + 1
    [poison] = await eventually(lambda: listed(system, "--reason", "poison"), timeout=60, every=0.5)
    assert (poison["source"], poison["status"], poison["firstSeen"]) == (frame.id, "open", 1001.0)
    assert [one["id"] for one in await listed(system, "--id", poison["id"])] == [poison["id"]]
    code, printed = await system.run("rejected", "show", poison["id"], "--raw")
    assert (code, printed.encode()) == (0, frame.body)

    code, printed = await system.run("audit")
    assert (code, f"2 events are claimed by frame {frame.id}" in printed) == (1, True), printed
    assert "tillstream rejected list --reason poison" in printed
    code, printed = await system.run("audit", "--repair")
    assert (code, "1 dead letters are in receipts.dead" in printed) == (2, True), printed

    code, printed = await system.run("rejected", "replay", "--reason", "poison")
    assert (code, "1 replayed" in printed) == (0, True), printed
    assert await listed(system, "--reason", "poison") == []
    async with running(system):
        await system.counted(2, [DAY])
        code, printed = await system.run("audit")
        assert (code, "everything adds up" in printed) == (0, True), printed


async def test_a_discarded_dead_letter_is_kept_and_what_is_stored_of_it_repaired(system: System) -> None:
    """Repair counts it once at rest, and refuses while a frame waits or a worker is connected."""
    system.environ["TILLSTREAM_DELIVERY_LIMIT"] = str(LIMIT)
    async with place(system) as there:
        frame = await there.put(line(1), line(2))
    assert await die_of_it(system) == LIMIT + 1
    [poison] = await eventually(lambda: listed(system, "--reason", "poison"), timeout=60, every=0.5)
    code, printed = await system.run("rejected", "discard", "--id", poison["id"], "--note", "it kills")
    assert code == 0, printed
    assert await listed(system) == []
    [kept] = await listed(system, "--status", "all")
    assert (kept["id"], kept["reason"], kept["status"]) == (poison["id"], "poison", "discarded")
    code, printed = await system.run("rejected", "show", poison["id"], "--raw")
    assert (code, printed.encode()) == (0, frame.body)

    async with place(system) as there:
        await there.put(line(3))
    code, printed = await system.run("audit", "--repair")
    assert (code, "1 frames wait in receipts.work" in printed) == (2, True), printed
    async with running(system):
        await system.counted(1, [DAY])
        code, printed = await system.run("audit", "--repair")
        assert code == 2
        assert ("stop `tillstream up`" if system.embedded else "2 workers are connected to receipts.work") in printed
        await stop(system)
        assert (await system.run("audit"))[0] == 1
        code, printed = await system.run("audit", "--repair")
        assert (code, f"counted 2 events of frame {frame.id}" in printed) == (0, True), printed
        assert "everything adds up" in printed
        code, printed = await system.run("audit", "--repair")
        assert (code, "0 frames repaired" in printed) == (0, True), printed
        await system.start()
        await system.counted(3, [DAY])
        assert (await system.get(f"/totals/{DAY}"))["count"] == 3
