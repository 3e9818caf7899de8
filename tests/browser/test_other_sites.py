"""A page of another site in a real browser, and an entrypoint on the same machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser

from entrypoint import EntrypointConfig
from tests.integration.entrypoint.harness import body, entrypoint

pytestmark = pytest.mark.browser

#: Send a receipt from a page, and say what the page learned of the answer.
SEND = """async ([url, mode, type, data, token]) => {
    const headers = {...(type && {'Content-Type': type}), ...(token && {'Authorization': `Bearer ${token}`})};
    try {
        const answer = await fetch(url, {method: 'POST', mode, headers, body: new Blob([data])});
        return [answer.type, answer.status, await answer.text()];
    } catch (error) {
        return [error.name, 0, ''];
    }
}"""


@asynccontextmanager
async def other_site() -> AsyncIterator[str]:
    """A site of somebody else's: its origin."""

    async def page(_: web.BaseRequest) -> web.Response:
        return web.Response(text="<!doctype html><title>Other</title>", content_type="text/html")

    runner = web.ServerRunner(web.Server(page), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def send(browser: Browser, origin: str, *arguments: Any) -> list[Any]:
    """What a page of an origin gets when it sends something."""
    page = await browser.new_page()
    await page.goto(origin)
    answer: list[Any] = await page.evaluate(SEND, arguments)
    return answer


async def test_a_page_of_another_site_sends_nothing_by_any_way_that_browsers_have(
    browser: Browser, tmp_path: Path
) -> None:
    """Neither without a content type, which needs no permission of the browser, nor as JSON, nor by a form."""
    async with other_site() as origin, entrypoint(tmp_path) as entry:
        url = f"{entry.bound.url}/receipt"
        receipt = body(1).decode()
        assert (await send(browser, origin, url, "no-cors", "", receipt, ""))[:2] == ["opaque", 0]
        assert (await send(browser, origin, url, "cors", "application/json", receipt, ""))[0] == "TypeError"
        page = await browser.new_page()
        await page.goto(origin)
        await page.evaluate(
            """([url, data]) => {
                const form = Object.assign(document.createElement('form'),
                    {method: 'post', action: url, enctype: 'text/plain'});
                form.append(Object.assign(document.createElement('input'), {name: data, value: ''}));
                document.body.append(form);
                form.submit();
            }""",
            [url, receipt],
        )
        await page.wait_for_url(url)
        assert "foreign-origin" in await page.content()
        assert entry.numbers() == []
        figures = await entry.metrics()
        assert figures['tillstream_http_requests_total{route="other",status="403"}'] >= 3


async def test_a_till_in_a_browser_sends_from_a_listed_origin_and_reads_its_answer(
    browser: Browser, tmp_path: Path
) -> None:
    """Preflight, token and 202; a wrong token's 401 is readable, too."""
    tokens = tmp_path / "tokens"
    tokens.write_text("till: s3cret\n")
    async with other_site() as origin:
        config = EntrypointConfig(tokens_file=tokens, cors_origins=(origin,))
        async with entrypoint(tmp_path, config) as entry:
            url = f"{entry.bound.url}/receipt/"
            sent = await send(browser, origin, url, "cors", "application/json", body(1).decode(), "s3cret")
            assert sent[:2] == ["cors", 202]
            assert '"accepted": 1' in sent[2]
            refused = await send(browser, origin, url, "cors", "application/json", body(2).decode(), "till:s3cret")
            assert refused[:2] == ["cors", 401]
            assert "send only what is behind the colon" in refused[2]
            assert entry.numbers() == [1]
