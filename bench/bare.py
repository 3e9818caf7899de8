"""A bare aiohttp server: reads the body, answers 202. `python -m bench.bare PORT`."""

import asyncio
import sys

from aiohttp import web

from runtime import run


async def handle(request: web.Request) -> web.Response:
    """Read the body and do nothing with it."""
    await request.read()
    return web.Response(status=202, body=b'{"accepted": 1}', content_type="application/json")


async def main(port: int) -> None:
    """Serve until killed."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/receipt", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(int(sys.argv[1])))
