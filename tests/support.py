"""Small helpers that tests of every kind share."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, timeout: float = ..., every: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, timeout: float = ..., every: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], *, timeout: float = 30.0, every: float = 0.02) -> Any:
    """Ask `check` (plain or async) again and again until its answer is true, and return that answer.

    An AssertionError in it counts as "not yet"; any other exception ends the wait. After `timeout` seconds it fails,
    telling the last answer or assertion.
    """
    deadline = time.monotonic() + timeout
    while True:
        failed: AssertionError | None = None
        answer: Any = None
        try:
            result = check()
            answer = await result if isinstance(result, Awaitable) else result
        except AssertionError as exc:
            failed = exc
        if failed is None and answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s; last answer: {answer!r}") from failed
        await asyncio.sleep(every)
