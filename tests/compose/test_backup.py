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


async def audited(stack: Stack) -> bool:
    """Whether what is stored adds up."""
    report = json.loads((await stack.tillstream("audit", "--json")).splitlines()[-1])
    return not report["differences"]


async def test_a_backup_is_made_under_traffic_and_put_back(stack: Stack, tmp_path: Path) -> None:
    """Receipts are taken while it is made. Put back, the store is what it was, and what is sent again counts again."""
    async with stack.selling(receipts(stack), rate=20) as sender:
        await more_sold(sender, 100)
        await script(stack, "backup", tmp_path)
        await more_sold(sender, 100)
    await assert_to_the_cent(stack)

    file = Path((await script(stack, "backup", tmp_path)).splitlines()[-1])
    assert file.stat().st_mode & 0o077 == 0
    before = await counts(stack)
    later = list(receipts(stack, 200))
    async with stack.selling(later, to_the_end=True):
        pass
    await assert_to_the_cent(stack)

    assert "docker compose --profile '*' down" in await script(stack, "restore", file, wanted=1)
    await stack.compose("down", within=180)
    assert "--replace" in await script(stack, "restore", file, wanted=1)
    assert "restored" in await script(stack, "restore", file, "--replace")
    await stack.up()
    assert await counts(stack) == {**dict.fromkeys(stack.judge.days, 0), **before}
    await eventually(lambda: audited(stack), timeout=60, every=2)
    async with stack.selling(later, to_the_end=True):
        pass
    await assert_to_the_cent(stack)


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
