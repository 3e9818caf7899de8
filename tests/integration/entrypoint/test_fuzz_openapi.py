"""What /openapi.json allows, and much that it does not, made by schemathesis and sent to a running entrypoint."""

import asyncio
import json
import os
import sys
from pathlib import Path

import aiohttp

from tests.integration.system.harness import System, running
from tests.unit.streams.sample import receipt

HOOKS = Path(__file__).parent / "ndjson_for_schemathesis.py"
#: What a schema-valid request may still be refused for stands in no schema: an `after` that is no stored receipt's id,
#: a `Content-Encoding` that is not the body's.
NOT_CHECKED = "positive_data_acceptance"


async def test_answers_are_what_the_description_says(tmp_path: Path) -> None:
    """Statuses, types, headers and bodies conform, wrong requests are refused, and nothing is an error of ours."""
    system = System({"TILLSTREAM_DATA": str(tmp_path / "data")}, tmp_path)
    up = system.add("up", "up", "--no-dashboard", "--port", str(system.port))
    async with running(system):
        await post(
            system, [receipt(), receipt({"cashReceiptID": 1}), receipt({"cashReceiptID": "é/:%"})]
        )  # the first is the example
        await post(system, [receipt({"cashReceiptID": 1, "documentTotal.grossTotal": 1})])  # a conflict to be read
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", f"{system.url}/openapi.json", "--phases", "examples,coverage,fuzzing", "--max-examples", "10",
            "--generation-deterministic", "--continue-on-failure", "--exclude-checks", NOT_CHECKED, "--no-color",
            cwd=tmp_path, env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(150):
                printed, _ = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        assert child.returncode == 0, printed.decode()
        assert "12 selected / 12 total" in printed.decode()
        errors = [event for event in up.events() if event.get("level") in {"error", "critical"}]
        assert errors == []
        assert await up.stop() == 0
    code, said = await system.run("audit")
    assert code == 0, said


async def post(system: System, receipts: list[dict[str, object]]) -> None:
    """Send receipts and wait until they are counted or rejected."""
    body = b"\n".join(json.dumps(each).encode() for each in receipts)
    headers = {"Content-Type": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{system.url}/receipts", data=body, headers=headers) as answer,
    ):
        assert answer.status == 202
