"""Receipts over HTTP, by wrk: requests are made before the clock starts, so that it costs wrk nothing to vary them."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from feeds import Generator, GeneratorOptions
from streams import ConfigurationError

_SCRIPT = """
local requests = {}
local count = 0
local file = io.open("FILE", "rb")
while true do
  local size = file:read("*n", "*l")
  if not size then break end
  local body = file:read(size)
  file:read("*l")
  count = count + 1
  requests[count] = wrk.format("POST", "/receipt", {["Content-Type"] = "TYPE", ["Host"] = "127.0.0.1"}, body)
end
file:close()
local turn = 0
function request()
  turn = turn % count + 1
  return requests[turn]
end
function done(summary, latency, requests)
  local form = '{"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}'
  io.write(string.format(form .. '\\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw.

    Attributes:
        rate: requests a second.
        p50_ms, p99_ms: of their latency.
    """

    rate: float
    p50_ms: float
    p99_ms: float


def bodies(folder: Path, requests: int, size: int, seed: int = 1) -> Path:
    """Make a file of requests for `wrk`: each with `size` receipts, as JSON if that is one and as NDJSON otherwise."""
    generator = Generator(GeneratorOptions(seed=seed))
    file = folder / f"bodies-{size}"
    with file.open("wb") as out:
        for events in generator.requests(requests * size, size):
            body = b"\n".join(events)
            out.write(b"%d\n%b\n" % (len(body), body))
    return file


def wrk(url: str, file: Path, *, seconds: float, connections: int, kind: str = "application/json") -> Load:
    """POST the requests of a file, again and again. Raises ConfigurationError without wrk, RuntimeError on refusals."""
    program = shutil.which("wrk")
    if program is None:
        raise ConfigurationError("benchmarks over HTTP need wrk (Debian package wrk)")
    script = file.with_suffix(".lua")
    script.write_text(_SCRIPT.replace("FILE", str(file)).replace("TYPE", kind))
    ran = subprocess.run(
        [
            program,
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout",
            "30s",
            "-s",
            str(script),
            f"{url}/receipt",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^\{.*\}$", ran.stdout, re.MULTILINE)
    if ran.returncode != 0 or found is None:
        raise RuntimeError(f"wrk failed: {ran.stdout[-500:]} {ran.stderr[-500:]}")
    seen = json.loads(found[0])
    if seen["refused"] or seen["broken"]:
        raise RuntimeError(f"{seen['refused']} requests refused, {seen['broken']} broken: {found[0]}")
    return Load(
        rate=seen["requests"] / seen["microseconds"] * 1e6, p50_ms=seen["p50_us"] / 1000, p99_ms=seen["p99_us"] / 1000
    )
