"""What a process answers about itself."""

import asyncio
from collections.abc import Mapping

import aiohttp
import prometheus_client
import pytest
from aiohttp import web

from runtime import Probes
from runtime.probes import Check
from streams.errors import ConfigurationError, TillstreamError


async def works() -> None:
    """A thing that works."""
    return


async def refuses() -> None:
    """A thing that says why it does not work."""
    raise TillstreamError("connection refused")


async def hangs() -> None:
    """A thing that never answers."""
    await asyncio.Event().wait()


async def crashes() -> None:
    """A thing that fails in a way nobody foresaw."""
    raise KeyError("password=hunter2")


async def ready(checks: Mapping[str, Check]) -> tuple[int, dict[str, object]]:
    """Status and body of /readyz."""
    probes = Probes(checks=checks, registry=prometheus_client.CollectorRegistry(), check_timeout_s=0.2)
    async with probes.serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            body: dict[str, object] = await answer.json()
            return answer.status, body


async def test_ready_when_every_check_answers() -> None:
    """200, naming what was asked."""
    assert await ready({"store": works, "broker": works}) == (
        200,
        {"status": "ready", "checks": ["broker", "store"]},
    )


async def test_not_ready_names_each_failing_check_and_why() -> None:
    """503 with the failing checks alone; an unexpected error shows its kind and not its text."""
    status, body = await ready({"broker": works, "store": refuses, "ledger": hangs, "tally": crashes})
    assert status == 503
    assert body == {
        "status": "not ready",
        "failing": {"store": "connection refused", "ledger": "no answer within 0.2 s", "tally": "KeyError"},
    }


async def test_checks_run_side_by_side() -> None:
    """All of them are under way before the first has to be over."""
    barrier = asyncio.Barrier(50)

    async def waits_for_all() -> None:
        await barrier.wait()

    probes = Probes(
        checks={str(number): waits_for_all for number in range(50)},
        registry=prometheus_client.CollectorRegistry(),
        check_timeout_s=30.0,
    )
    assert await probes.failing() == {}


async def test_alive_however_the_checks_fare() -> None:
    """A store that is away is no reason to restart the process."""
    probes = Probes(checks={"store": refuses}, registry=prometheus_client.CollectorRegistry())
    async with probes.serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
            assert await answer.json() == {"status": "alive"}


async def test_metrics_are_those_of_the_registry() -> None:
    """Prometheus's text form and content type."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("tillstream_things", "Things.", registry=registry).inc(3)
    async with Probes(registry=registry).serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert "tillstream_things_total 3.0" in await answer.text()


async def test_mounted_probes_use_the_given_text_of_metrics() -> None:
    """An application of several processes puts its own text in place."""

    async def all_together() -> bytes:
        return b"tillstream_all 1.0\n"

    app = web.Application()
    Probes(registry=prometheus_client.CollectorRegistry(), metrics=all_together).mount(app)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics") as answer:
                assert await answer.text() == "tillstream_all 1.0\n"
    finally:
        await runner.cleanup()


async def test_a_taken_port_is_a_configuration_error() -> None:
    """One line that names the address and the setting that takes a free port."""
    probes = Probes(registry=prometheus_client.CollectorRegistry())
    async with probes.serve("127.0.0.1", 0) as port:
        line = f"^probes: cannot listen on 127.0.0.1:{port}: address already in use; TILLSTREAM_X=0 takes a free one$"
        with pytest.raises(ConfigurationError, match=line):
            async with probes.serve("127.0.0.1", port, "TILLSTREAM_X"):
                pass


async def test_requests_of_other_sites_are_refused() -> None:
    """By another name, or for a page of another site: a problem document; by a configured name all is answered."""
    probes = Probes(registry=prometheus_client.CollectorRegistry(), host_names=("worker.example",))
    async with probes.serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        for path in ("healthz", "readyz", "metrics", "nothing"):
            for headers, status in (
                ({"Host": "evil.example"}, 421),
                ({"Origin": "https://evil.example"}, 403),
                ({"Origin": "null"}, 403),
            ):
                async with session.get(f"http://127.0.0.1:{port}/{path}", headers=headers) as answer:
                    assert answer.status == status
                    assert answer.content_type == "application/problem+json"
        async with session.get(f"http://127.0.0.1:{port}/readyz", headers={"Host": "worker.example:3001"}) as answer:
            assert answer.status == 200


async def test_an_optional_check_that_fails_takes_an_ability_away_and_leaves_the_process_ready() -> None:
    """What it can do and what not is said, with the failing check; a check that is not optional decides."""
    for store, broker, expected in (
        (works, works, (200, "ready", True, True)),
        (refuses, works, (200, "ready", True, False)),
        (works, refuses, (503, "not ready", False, True)),
    ):
        probes = Probes(
            checks={"store": store, "broker": broker},
            optional=frozenset({"store"}),
            abilities={"takes": frozenset({"broker"}), "answers": frozenset({"store"})},
            registry=prometheus_client.CollectorRegistry(),
        )
        async with probes.serve("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                body = await answer.json()
                assert (answer.status, body["status"], body["takes"], body["answers"]) == expected
                failing = {name for name, check in (("store", store), ("broker", broker)) if check is refuses}
                assert set(body.get("failing", ())) == failing
