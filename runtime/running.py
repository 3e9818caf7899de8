"""The event loop of a process."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result], *, debug: bool | None = None) -> Result:
    """Run a coroutine on a new uvloop event loop, to its end; return its result.

    Errors go up to the caller, who alone knows how to say them. SIGINT cancels `main`, unless it holds
    `runtime.stop_event`. Tasks and asynchronous generators left over are cancelled and finished before this returns.
    """
    _open_standard_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=debug) as runner:
        return runner.run(main)


def _open_standard_files() -> None:
    """Put the null device where a standard stream is closed: uvloop would take its number, and abort."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
