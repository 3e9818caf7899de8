"""Requests of browsers: what a page of another site may do, which is nothing unless its origin is listed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrypoint import EntrypointConfig
from tests.integration.entrypoint.harness import JSON, Entry, body, entrypoint

TILL = "https://till.example"
FOREIGN = {"Origin": "https://evil.example"}
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
PATHS = ("/receipts", "/receipts/x", "/totals", "/rejected", "/metrics", "/readyz", "/docs", "/nothing")


@pytest.fixture
async def entry(tmp_path: Path) -> AsyncIterator[Entry]:
    """An entrypoint without tokens, with a name, and with a list of one origin."""
    config = EntrypointConfig(host_names=("shop.example",), cors_origins=(TILL,))
    async with entrypoint(tmp_path, config) as running:
        yield running


async def test_a_page_of_another_site_sends_and_reads_nothing(entry: Entry) -> None:
    """Whatever its content type, whatever it asks for: 403 that names the setting, and nothing is published."""
    for headers in ({}, {"Content-Type": "text/plain"}, JSON):
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            for path in ("/receipt", "/receipts", "/receipt/"):
                answer = await entry.post(body(1), {**headers, "Origin": origin}, path)
                document = answer.problem(403, "foreign-origin")
                assert "TILLSTREAM_CORS_ORIGINS" in document["detail"]
                assert "Access-Control-Allow-Origin" not in answer.headers
    for path in PATHS:
        (await entry.get(path, FOREIGN)).problem(403, "foreign-origin")
    preflight = await entry.request("OPTIONS", "/receipts", headers={**FOREIGN, **PREFLIGHT})
    preflight.problem(403, "foreign-origin")
    assert entry.numbers() == []


async def test_a_name_that_was_made_to_lead_here_is_refused(entry: Entry) -> None:
    """Addresses, localhost and configured names are answered; another name is told which setting adds it."""
    for host in ("evil.example", f"evil.example:{entry.bound.port}"):
        for path in PATHS:
            document = (await entry.get(path, {"Host": host})).problem(421, "unknown-host")
            assert "TILLSTREAM_HOST_NAMES" in document["detail"]
        (await entry.post(body(1), {**JSON, "Host": host})).problem(421, "unknown-host")
    assert entry.numbers() == []
    for number, host in enumerate(("localhost", "127.0.0.1", "[::1]:3000", "shop.example", "SHOP.example:8443")):
        assert (await entry.post(body(number), {**JSON, "Host": host})).status == 202
        assert (await entry.get("/totals", {"Host": host})).status == 200
    assert entry.numbers() == [0, 1, 2, 3, 4]


async def test_programs_and_own_pages_are_not_bothered(entry: Entry) -> None:
    """No Origin, or that of the entrypoint itself: taken, and without a word about origins."""
    own = {"Origin": entry.bound.url}
    for number, headers in enumerate((JSON, {**JSON, **own}, {**JSON, **own, "Origin": entry.bound.url.upper()})):
        answer = await entry.post(body(number), headers)
        assert answer.status == 202
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert entry.numbers() == [0, 1, 2]


async def test_a_listed_origin_sends_and_reads(entry: Entry) -> None:
    """Its preflight is answered, and every answer, errors included, says that its page may read it."""
    for number, origin in enumerate((TILL, f"{TILL}:443")):
        listed = {"Origin": origin}
        preflight = await entry.request("OPTIONS", "/receipts", headers={**listed, **PREFLIGHT})
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        for name in ("Authorization", "Content-Type", "Content-Encoding"):
            assert name in preflight.headers["Access-Control-Allow-Headers"]
        for answer, status in (
            (await entry.post(body(number), {**JSON, **listed}), 202),
            (await entry.post(b"{}", {**JSON, **listed}), 400),
            (await entry.get("/totals", listed), 200),
            (await entry.get("/nothing", listed), 404),
        ):
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
            assert answer.headers["Vary"] == "Origin"
    assert entry.numbers() == [0, 1]


async def test_tokens_are_needed_from_a_listed_origin_too(tmp_path: Path) -> None:
    """A preflight request carries no token and needs none; what follows it does, and may read that it was refused."""
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    async with entrypoint(tmp_path, EntrypointConfig(tokens_file=tokens, cors_origins=(TILL,))) as entry:
        listed = {**JSON, "Origin": TILL}
        assert (await entry.request("OPTIONS", "/receipts", headers={**listed, **PREFLIGHT})).status == 204
        refused = await entry.post(body(1), listed)
        refused.problem(401, "unauthorized")
        assert refused.headers["Access-Control-Allow-Origin"] == TILL
        assert (await entry.post(body(1), {**listed, "Authorization": "Bearer sesame"})).status == 202
        preflight = await entry.request("OPTIONS", "/receipts", headers={**FOREIGN, **PREFLIGHT})
        assert preflight.status == 401
        assert "Access-Control-Allow-Origin" not in preflight.headers


async def test_with_tokens_every_name_is_answered(tmp_path: Path) -> None:
    """A token keeps other sites out: a proxy may call the entrypoint what it likes."""
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    async with entrypoint(tmp_path, EntrypointConfig(tokens_file=tokens)) as entry:
        headers = {**JSON, "Host": "any.example", "Authorization": "Bearer sesame"}
        assert (await entry.post(body(1), headers)).status == 202


async def test_a_slash_at_the_end_of_a_path_does_not_matter(entry: Entry) -> None:
    """`/receipt/` is `/receipt`, and so for every fixed path."""
    assert (await entry.post(body(1), JSON, "/receipt/")).status == 202
    assert (await entry.post(body(2), JSON, "/receipts/")).status == 202
    for path in ("/receipts/", "/totals/", "/readyz/", "/docs/"):
        assert (await entry.get(path)).status == 200
    assert entry.numbers() == [1, 2]
    for path in ("/receipt//", "//receipt", "/nothing/"):
        (await entry.post(body(3), JSON, path)).problem(404, "not-found")
