"""A small reverse proxy, as it stands before a dashboard in a company."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

#: What belongs to one connection, not to what is passed on.
_OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "content-encoding"}


@dataclass
class Proxy:
    """Where it is, and what it saw.

    Attributes:
        cookies: each `Set-Cookie` that went through.
    """

    url: str
    cookies: list[str]


@asynccontextmanager
async def reverse_proxy(target: str, *, tells: bool = True, scheme: str = "http") -> AsyncIterator[Proxy]:
    """Pass everything on to `target`'s host and port, under a name of its own.

    Arguments:
        tells: add X-Forwarded-For, -Proto and -Host.
        scheme: what it says that browsers speak to it.
    """
    upstream = urlsplit(target)
    session = aiohttp.ClientSession(auto_decompress=False)
    seen = Proxy("", [])

    def headers(request: web.Request) -> dict[str, str]:
        passed = {name: value for name, value in request.headers.items() if name.lower() not in _OF_CONNECTION}
        passed["Host"] = upstream.netloc
        if tells:
            before = request.headers.get("X-Forwarded-For")
            passed["X-Forwarded-For"] = ", ".join(filter(None, (before, request.remote)))
            passed["X-Forwarded-Proto"] = scheme
            passed["X-Forwarded-Host"] = request.host
        return passed

    async def socket(request: web.Request) -> web.StreamResponse:
        protocols = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        passed = {name: value for name, value in headers(request).items() if not name.startswith("Sec-")}
        address = f"ws://{upstream.netloc}{request.rel_url}"
        try:
            async with session.ws_connect(address, headers=passed, protocols=protocols, max_msg_size=0) as inner:
                outer = web.WebSocketResponse(protocols=protocols[:1], max_msg_size=0)
                await outer.prepare(request)
                pumps = [asyncio.create_task(_pump(inner, outer)), asyncio.create_task(_pump(outer, inner))]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                return outer
        except aiohttp.WSServerHandshakeError as exc:
            return web.Response(status=exc.status)

    async def handle(request: web.Request) -> web.StreamResponse:
        if "Upgrade" in request.headers:
            return await socket(request)
        body = await request.read()
        async with session.request(
            request.method,
            f"http://{upstream.netloc}{request.rel_url}",
            headers=headers(request),
            data=body,
            allow_redirects=False,
        ) as answer:
            response = web.Response(status=answer.status, body=await answer.read())
            for name, value in answer.headers.items():
                if name.lower() not in _OF_CONNECTION - {"content-encoding"}:
                    if name == "Content-Type":
                        response.headers[name] = value
                    else:
                        response.headers.add(name, value)
            seen.cookies += answer.headers.getall("Set-Cookie", [])
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        seen.url = f"http://localhost:{runner.addresses[0][1]}"
        yield seen
    finally:
        await session.close()
        await runner.cleanup()


async def _pump(source: "Socket", sink: "Socket") -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse
