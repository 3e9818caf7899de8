"""What a supervised child process runs in tests: an entrypoint as the command line composes it, without settings."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import broker
import store
from entrypoint import Bound, EntrypointConfig, serve
from runtime import stop_event
from streams import ReceiptStream
from tests.integration.entrypoint.harness import TOPOLOGY


def serving(broker_url: str, folder: Path, config: EntrypointConfig, on_ready: Callable[[Bound], None]) -> None:
    """Serve to the end; leave the process's id in `folder` while it runs."""
    asyncio.run(_serve(broker_url, folder, config, on_ready))


def dying_first(broker_url: str, folder: Path, config: EntrypointConfig, on_ready: Callable[[Bound], None]) -> None:
    """Like `serving`, but the first one to get here dies at once."""
    try:
        (folder / "died").touch(exist_ok=False)
    except FileExistsError:
        serving(broker_url, folder, config, on_ready)
    else:
        os._exit(3)


async def _serve(broker_url: str, folder: Path, config: EntrypointConfig, on_ready: Callable[[Bound], None]) -> None:
    async def totals(day: str | None) -> dict[str, Any]:
        return {"pid": os.getpid(), "day": day}

    with stop_event() as stop:
        opened = await broker.connect(broker_url, TOPOLOGY)
        kept = await store.connect(f"sqlite:{folder / f'{os.getpid()}.db'}")
        mark = folder / f"{os.getpid()}.pid"
        mark.touch()
        try:
            await serve(
                config,
                broker=opened,
                store=kept,
                stream=ReceiptStream(ZoneInfo("UTC")),
                stop=stop,
                totals_reader=totals,
                on_ready=on_ready,
            )
        finally:
            await opened.close()
            await kept.close()
            mark.unlink()
