"""A whole system whose processes may do nothing but their work at RabbitMQ, and how it is watched."""

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import store as stores
from tests.integration.broker.roles_of import Loaded
from tests.integration.broker.running_roles import ROLES, Roles, metrics, roles_system
from tests.integration.system.harness import running
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit
from tests.support import eventually
from tests.unit.streams.sample import receipt
from tests.unit.test_docs import documented

pytestmark = [pytest.mark.rabbit, pytest.mark.mongo]

DAY = "2026-11-18"
_ROW = re.compile(r"^\| `(tillstream_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


@pytest.fixture
def roles(own_rabbit: PrivateRabbit, ferret: FerretServer, tmp_path: Path) -> Roles:
    """A system that is not started yet."""
    return roles_system(Loaded.into(own_rabbit, tmp_path / "secrets"), ferret.database(), tmp_path)


async def post(roles: Roles, *bodies: dict[str, Any]) -> str:
    """POST receipts; the frame that they are in."""
    url = f"{roles.system.url}/receipts"
    async with aiohttp.ClientSession() as session, session.post(url, json=list(bodies)) as response:
        answer = await response.json()
    assert response.status == 202, answer
    frame: str = answer["frame"]
    return frame


def named(lines: list[dict[str, Any]], event: str, frame: str) -> list[dict[str, Any]]:
    """The lines of this event that name a frame, alone or among others."""
    return [line for line in lines if line["event"] == event and frame in (line.get("frame"), *line.get("frames", ()))]


async def test_each_process_works_as_its_own_user_and_a_frame_is_followed_through_all_logs(roles: Roles) -> None:
    """From the answer 202 to the stored receipt and the page; a conflict is seen, replayed and rejected again."""
    async with running(roles.system):
        first = await post(roles, receipt({"cashReceiptID": 1}), receipt({"cashReceiptID": 2}))
        await roles.system.counted(2, [DAY])
        second = await post(roles, receipt({"cashReceiptID": 1, "documentTotal.grossTotal": 99}))

        # The id that was answered is that of the ledger's entry and of each receipt's owner.
        store = await stores.connect(roles.system.environ["TILLSTREAM_STORE"])
        try:
            ids = [f"612:3:2026-11-18 11:06:40:{number}" for number in (1, 2)]
            owners = await store.owners("receipts", ids)
            assert {owner.frame for owner in owners.values()} == {first}
            entry = await store.entry("receipts", first)
        finally:
            await store.close()
        assert entry is not None

        # The same id, in every log on its way; then the writer's id and numbers, which the totals know it by.
        [confirmed] = named(roles.lines("entrypoint"), "frame confirmed", first)
        assert (confirmed["level"], confirmed["events"]) == ("debug", 2)
        [flushed] = named(roles.lines("worker"), "flushed", first)
        assert (flushed["writer"], flushed["counted"]) == (entry.writer, 2)
        assert flushed["first"] <= entry.seq <= flushed["last"]

        def heard() -> bool:
            return any(
                line["event"] == "partial" and line["writer"] == entry.writer and line["last"] >= entry.seq
                for line in roles.lines("totals")
            )

        await eventually(heard, timeout=30)
        [rejected] = await eventually(
            lambda: named(roles.lines("worker", "warning"), "events rejected", second), timeout=30
        )
        assert rejected["reason"] == "conflict"

        # What a person does about it, as yet another user.
        code, printed = await roles.tools.run("rejected", "list", "--json")
        [item] = [json.loads(line) for line in printed.splitlines() if line.startswith('{"id')]
        assert (code, item["source"]) == (0, second)
        code, printed = await roles.tools.run("rejected", "replay", "--force", "--id", item["id"])
        assert code == 0, printed
        [again] = re.findall(r"replayed in frame (\w+)", printed)
        await eventually(lambda: named(roles.lines("worker"), "events rejected", again), timeout=30)
        code, printed = await roles.tools.run("audit")
        assert (code, "everything adds up" in printed) == (0, True), printed

        for role in ROLES:
            lines = [line["event"] for line in roles.lines(role)]
            assert "this user may not declare queues: they are used as they are" in lines
            assert roles.lines(role, "error", "critical") == []

        # The totals are heard by the dashboard, whose queues are the only ones that anybody may make.
        async with aiohttp.ClientSession() as session:

            async def ready() -> bool:
                async with session.get(f"{roles.probes['dashboard']}/readyz") as response:
                    return response.status == 200

            await eventually(ready, timeout=30)


async def test_what_is_watched_is_documented_and_does_not_grow_with_the_traffic(roles: Roles) -> None:
    """Every process answers the probes; its figures have the documented types and labels, as many for any number of
    stores and categories, and its log has no line for each frame but at debug."""
    kinds = {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in _ROW.findall(documented("metrics.md"))
    }
    async with running(roles.system):
        async with aiohttp.ClientSession() as session:
            for url in roles.probes.values():
                for path in ("/healthz", "/readyz", "/metrics"):

                    async def answered(address: str = url + path) -> bool:
                        async with session.get(address) as response:
                            return response.status == 200

                    await eventually(answered, timeout=30)
        seen: list[dict[str, int]] = []
        for run in range(2):
            for number in range(40):
                await post(
                    roles,
                    receipt(
                        {
                            "cashReceiptID": number,
                            "storeID": f"{run}-{number}",
                            "lines": [
                                {**line, "productCategoryName": f"category {run} {number}"}
                                for line in receipt()["lines"]
                            ],
                        }
                    ),
                )
            await roles.system.counted(40 * (run + 1), [DAY])
            series: dict[str, int] = {}
            for role, url in roles.probes.items():
                await roles.system.get("/totals", roles.system.url)
                found = await metrics(url)
                assert found, role
                for name, (kind, labels, many) in found.items():
                    assert kinds[name][0] == kind, name
                    assert labels <= kinds[name][1], name
                    series[name] = many
            seen.append(series)
        # Forty more stores and categories; an outcome or status that there was not before may have come meanwhile.
        grown = {name: (seen[0].get(name), many) for name, many in seen[1].items() if many > seen[0].get(name, 0) + 5}
        assert grown == {}
        assert set(kinds) - set(seen[1]) == set()
        for role in ROLES:
            said = roles.lines(role, "info", "warning", "error")
            assert len(said) < 15, [line["event"] for line in said]
            assert all(line["timestamp"].endswith("Z") and line["logger"] for line in roles.lines(role))
