"""The subscriber of docs/messages.md, as a stranger to our processes runs it: with a user of its own at RabbitMQ."""

import asyncio
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.integration.system.harness import ROOT, System, running
from tests.servers.rabbit import Rabbit

pytestmark = [pytest.mark.rabbit]

PAGE = (ROOT / "docs" / "messages.md").read_text().partition("### A subscriber in Python")[2]


def permissions() -> dict[str, str]:
    """What the page lets the user `subscriber` configure, write and read."""
    command = shlex.split(PAGE.partition("rabbitmqctl set_permissions ")[2].replace("\\\n", " ").splitlines()[0])
    assert command[2] == "subscriber"
    return dict(zip(("configure", "write", "read"), command[3:], strict=True))


async def test_it_receives_the_figures_with_a_user_that_may_only_read_them(rabbit: Rabbit, tmp_path: Path) -> None:
    """It prints a message of each exchange, as the user that the page makes."""
    broker = rabbit.vhost()
    vhost = urlsplit(broker).path[1:]
    rabbit.api.put(f"/users/{vhost}-subscriber", {"password": "s3cret", "tags": ""})
    rabbit.api.put(f"/permissions/{quote(vhost, safe='')}/{vhost}-subscriber", permissions())
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    (tmp_path / "subscriber.py").write_text(found[1])
    server = urlsplit(broker).netloc.rpartition("@")[2]

    environ = {"TILLSTREAM_BROKER": broker, "TILLSTREAM_STORE": f"sqlite:{tmp_path}/store.db"}
    system = System({**environ, "TILLSTREAM_TOTALS_PROBES_PORT": "0"}, tmp_path)
    system.add("totals", "totals")
    async with running(system):
        child = await asyncio.create_subprocess_exec(
            sys.executable, tmp_path / "subscriber.py", f"amqp://{vhost}-subscriber:s3cret@{server}/{vhost}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert child.stdout is not None
            heard: set[bytes] = set()
            async with asyncio.timeout(120):
                while heard < {b"count", b"categories", b"metrics"}:
                    line = await child.stdout.readline()
                    assert line, "the subscriber ended"
                    heard.add(line.split()[0])
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()
            rabbit.api.delete(f"/users/{vhost}-subscriber")
