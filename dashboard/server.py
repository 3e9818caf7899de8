"""The dashboard's server as the rest of the process sees it: started, stopped and awaited like any other task.

Panel lives in a thread of its own with an event loop of its own, so that building a page never holds up the loop that
takes receipts in; its import, which takes seconds, happens there, too.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable

import structlog

from dashboard.config import DashboardConfig, check, listen, url
from dashboard.sources import Sources

log = structlog.get_logger("tillstream.dashboard")

#: How long the thread may take to end. It is a daemon: one that hangs does not keep the process from ending.
STOP_TIMEOUT_SECONDS = 10.0


async def serve_dashboard(
    config: DashboardConfig,
    sources: Sources,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the dashboard until `stop` is set (or this is cancelled), and return when its thread has ended.

    Arguments:
        sources: what the pages show; made on the caller's loop, read from the dashboard's thread.
        on_ready: called once with the address, on the caller's loop, when pages are answered. Before that, and from
            the very start, browsers that connect wait.

    Raises ConfigurationError before anything starts; whatever ends the thread otherwise is raised here.
    """
    check(config)
    listener = listen(config)
    address = url(config, listener.getsockname()[1])
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()
    stopped: concurrent.futures.Future[None] = concurrent.futures.Future()

    def call(function: Callable[[], object]) -> None:
        try:
            loop.call_soon_threadsafe(function)
        except RuntimeError:  # the caller's loop is closed: nobody waits any more
            return

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            from dashboard.site import serve_site  # noqa: PLC0415 - see above

            asyncio.run(serve_site(config, sources, listener, stopped, ready=lambda: call(tell)))
        except BaseException as exc:  # noqa: BLE001 - raised again where it is awaited
            error = exc
        finally:
            listener.close()
            call(lambda: end(error))

    def tell() -> None:
        if on_ready and not stopped.done():
            on_ready(address)

    thread = threading.Thread(target=run, name="dashboard", daemon=True)
    thread.start()
    stopping = asyncio.create_task(stop.wait(), name="dashboard stop")
    try:
        either: set[asyncio.Future[object]] = {stopping, ended}  # type: ignore[arg-type]  # Future is invariant
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        stopped.set_result(None)
        done, _ = await asyncio.wait({ended}, timeout=STOP_TIMEOUT_SECONDS)
        if done:
            thread.join(1.0)  # its last statement has run: this is a switch of threads, not a wait
        else:
            log.error("the dashboard's thread did not end, leaving it", after_s=STOP_TIMEOUT_SECONDS)
    if ended.done() and (error := ended.result()) is not None:
        raise error
