"""Showing how far a feed is while it runs: a bar on a terminal, a line now and then elsewhere; always on stderr."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from feeds import Counts

#: Seconds between two looks at the counts: on a terminal, and elsewhere.
_TERMINAL_S = 0.2
_PLAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a feed is, in any unit; `total` is None where nobody knows."""

    done: float
    total: float | None


@asynccontextmanager
async def shown(counts: Counts, reached: Callable[[], Reached]) -> AsyncIterator[None]:
    """Inside this block the counts are shown, again and again."""
    console = Console(stderr=True)
    show = _bar if console.is_terminal else _lines
    task = asyncio.create_task(show(console, counts, reached), name="show progress")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _bar(console: Console, counts: Counts, reached: Callable[[], Reached]) -> None:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        while True:
            now = reached()
            progress.update(bar, completed=now.done, total=now.total, description=counts.summary())
            await asyncio.sleep(_TERMINAL_S)


async def _lines(console: Console, counts: Counts, reached: Callable[[], Reached]) -> None:
    while True:
        await asyncio.sleep(_PLAIN_S)
        now = reached()
        percent = f"{100 * now.done / now.total:.0f} %: " if now.total else ""
        console.print(percent + counts.summary(), markup=False, highlight=False, soft_wrap=True)
