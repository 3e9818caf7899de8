"""Opening what the roles stand on."""

import asyncio

import pytest
import structlog

from cli.roles import StoppedError, opened
from cli.settings import read_settings
from tests.support import eventually


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
async def test_a_host_that_cannot_be_found_is_waited_for(scheme: str) -> None:
    """A name server may start later than we do, whatever the form of the address: a role tries again until it is told
    to stop."""
    address = f"{scheme}://u:hush@cluster0.example.invalid/till?serverSelectionTimeoutMS=100"
    settings = read_settings({"TILLSTREAM_STORE": address, "TILLSTREAM_BROKER": "amqp://127.0.0.1:1/"}).settings
    stop = asyncio.Event()

    async def open_and_close() -> None:
        async with opened(settings, stop):
            pass

    with structlog.testing.capture_logs() as logs:
        opening = asyncio.create_task(open_and_close())
        await eventually(lambda: len(logs) >= 2 or opening.done(), timeout=60)
        stop.set()
        with pytest.raises(StoppedError):
            await opening
    assert {line["event"] for line in logs} == {"the store does not answer yet"}
    assert "hush" not in str(logs)
