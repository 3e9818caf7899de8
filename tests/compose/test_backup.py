"""What docs/operations.md says about backups and about new passwords, done to the stack."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.compose.stack import ROOT, Stack
from tests.compose.test_roles import LOGIN
from tests.compose.test_traffic import assert_to_the_cent, more_sold, receipts
from tests.support import eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400, func_only=True)]


async def script(stack: Stack, name: str, *arguments: str | Path, wanted: int = 0) -> str:
    """Run one of scripts/ on the stack; what it printed."""
    child = await asyncio.create_subprocess_exec(
        ROOT / "scripts" / name, *arguments, cwd=ROOT, env=stack.environ,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(200):
        printed = (await child.communicate())[0].decode()
    assert child.returncode == wanted, printed
    return printed


async def counts(stack: Stack) -> dict[str, int]:
    """Receipts of each day, by `GET /totals`."""
    return {day: (await stack.get(f"/totals/{day}"))["count"] for day in stack.judge.days}


async def audited(stack: Stack, events: int | None = None) -> bool:
    """Whether what is stored adds up, and is so many receipts."""
    report = json.loads((await stack.tillstream("audit", "--json")).splitlines()[-1])
    return bool(not report["differences"] and events in (None, report["events"]))


@pytest.mark.timeout(600, func_only=True)
async def test_a_backup_is_made_under_traffic_and_put_back(stack: Stack, tmp_path: Path) -> None:
    """Receipts are taken while it is made. Put back, while RabbitMQ goes on, the store is what it was: neither receipts
    that are stored no more count, nor a worker of which the store knows nothing; receipts that wait for a worker do.
    What is sent again counts once."""
    async with stack.selling(receipts(stack), rate=20) as sender:
        await more_sold(sender, 100)
        await script(stack, "backup", tmp_path)
        await more_sold(sender, 100)
    await assert_to_the_cent(stack)

    file = Path((await script(stack, "backup", tmp_path)).splitlines()[-1])
    assert file.stat().st_mode & 0o077 == 0
    before = sum((await counts(stack)).values())
    await stack.compose("stop", "totals")
    later = [list(receipts(stack, number)) for number in (200, 20)]
    for requests in later:
        await stack.compose("restart", "worker")
        async with stack.selling(requests, to_the_end=True):
            pass
        await stack.counted()
    await stack.compose("stop", "worker")
    sold = sum(day.count for day in stack.judge.days.values())
    async with stack.selling(receipts(stack, 30), to_the_end=True):
        pass
    waiting = sum(day.count for day in stack.judge.days.values()) - sold

    assert "docker compose --profile '*' down" in await script(stack, "restore", file, wanted=1)
    await stack.compose("stop", "proxy", "entrypoint", "dashboard", "mongo")
    assert "--replace" in await script(stack, "restore", file, wanted=1)
    assert "restored" in await script(stack, "restore", file, "--replace")
    await assert_half_a_copy_is_no_database(stack)
    assert "restored" in await script(stack, "restore", file)
    await stack.up()

    async def counted() -> bool:
        return sum((await counts(stack)).values()) == before + waiting

    await eventually(counted, timeout=60, every=1)
    await eventually(lambda: audited(stack, before + waiting), timeout=60, every=2)
    for requests in later:
        async with stack.selling(requests, to_the_end=True):
            pass
    await assert_to_the_cent(stack)
    await eventually(lambda: audited(stack), timeout=60, every=2)


async def assert_half_a_copy_is_no_database(stack: Stack) -> None:
    """MongoDB does not start on a restore that was interrupted, which is left behind here."""
    alone = ("run", "--rm", "--no-deps", "-T")
    await stack.compose(*alone, "--entrypoint", "touch", "mongo", "/data/db/restore-unfinished")
    await stack.compose(*alone, "mongo", wanted=1)


async def test_passwords_and_tokens_are_replaced_without_losing_anything(stack: Stack) -> None:
    """New ones for every process at RabbitMQ and MongoDB and for the tills; the old ones are refused."""
    old_token, old_store = stack.token, stack.secret("store-worker-url")
    old_password = stack.secret("rabbitmq-admin-password")
    roles = ("entrypoint", "worker", "totals", "dashboard")
    names = [f"{kind}-{role}" for kind in ("broker", "store") for role in roles] + ["rabbitmq-admin", "tokens"]
    await script(stack, "secrets", "--folder", stack.folder, "--rotate", *names)
    load = ("rabbitmqctl", "import_definitions", "/run/secrets/rabbitmq-definitions.json")
    await stack.compose("exec", "-T", "rabbitmq", *load)
    await stack.compose("run", "--rm", "-T", "mongo-users")
    for role in roles:
        await stack.compose("restart", role)
    await stack.up()
    assert stack.token != old_token
    assert (await stack.python(f"URL = {old_store!r}\n{LOGIN}")).strip() == "refused"
    await stack.compose(
        "exec", "-T", "rabbitmq", "rabbitmqctl", "authenticate_user", "operator", old_password, wanted=65
    )
    async with stack.selling(receipts(stack, 200), to_the_end=True):
        pass
    await assert_to_the_cent(stack)
