"""What is in the images and in the repository, and as whom they run."""

import re
import subprocess
from pathlib import Path

import pytest

from deploy.make_secrets import MARK
from tests.compose.stack import ROOT, Stack, docker

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300, func_only=True)]

#: What looks like a secret, whosever it is.
TELLTALE = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]{32}")
#: Bytes that are looked through at once, and how many of the last are looked through again.
CHUNK, OVERLAP = 1 << 22, 4096


def needles(folder: Path) -> dict[str, bytes]:
    """Each secret of a folder: its name, and the part of it that is random."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name in {"mongo-root-user", "rabbitmq-definitions.json", MARK}:
            continue
        text = path.read_text().strip()
        random = re.findall(r"[A-Za-z0-9_+/=-]{20,}", text)
        assert random, f"nothing random in {path.name}"
        found[path.name] = max(random, key=len).encode()
    return found


def secrets_of(stack: Stack) -> dict[str, bytes]:
    """What must not be found: this stack's secrets, and those of whoever works here."""
    return needles(ROOT / "secrets") | needles(stack.folder)


@pytest.mark.parametrize("service", ["totals", "proxy"])
def test_images_hold_no_secret(stack: Stack, service: str) -> None:
    """No layer, history or setting of our images holds a secret of ours, or somebody's private key."""
    name = docker("inspect", "--format", "{{.Config.Image}}", f"{stack.project}-{service}-1").strip()
    wanted = secrets_of(stack)
    assert len(wanted) > 8
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        before, read = b"", 0
        while chunk := saving.stdout.read(CHUNK):
            read += len(chunk)
            text = before + chunk
            for secret, value in wanted.items():
                assert value not in text, f"{name} holds the secret {secret}"
            if key := TELLTALE.search(text):
                pytest.fail(f"{name} holds a private key: …{text[max(0, key.start() - 300) : key.end()]!r}")
            before = text[-OVERLAP:]
    assert saving.returncode == 0
    assert read > 50_000_000, "that was no image"


def test_the_repository_holds_no_secret(stack: Stack) -> None:
    """Nothing that git keeps, and what `scripts/secrets` makes is ignored."""
    wanted = secrets_of(stack)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30).stdout
    for path in (ROOT / name for name in listed.decode().split("\0") if name):
        if not path.is_file():
            continue
        text = path.read_bytes()
        for secret, value in wanted.items():
            assert value not in text, f"{path} holds the secret {secret}"
        assert not TELLTALE.search(text), path
    for made in ("secrets/tokens", ".env"):
        subprocess.run(["git", "check-ignore", "--quiet", "--", made], cwd=ROOT, check=True, timeout=30)


@pytest.mark.parametrize("service", ["proxy", "entrypoint", "worker", "totals", "dashboard", "rabbitmq", "mongo"])
async def test_no_container_runs_as_root(stack: Stack, service: str) -> None:
    """All its processes have another user, no capability, and no way to new ones; ours can write to /tmp only."""
    show = "for each in /proc/[0-9]*/status; do grep -HE '^(Uid|CapEff|CapPrm|NoNewPrivs):' $each; done 2>/dev/null"
    lines = (await stack.compose("exec", "-T", service, "sh", "-c", show)).splitlines()
    facts = {(line.split(":")[1], line.split()[-1]) for line in lines}
    assert not {user for name, user in facts if name == "Uid"} & {"0"}, lines
    assert {value for name, value in facts if name.startswith("Cap")} == {"0" * 16}
    assert {value for name, value in facts if name == "NoNewPrivs"} == {"1"}
    if service not in {"rabbitmq", "mongo"}:
        for place in ("/opt/tillstream/x", "/usr/x", "/etc/x", "/run/secrets/x", "/x"):
            await stack.compose("exec", "-T", service, "sh", "-c", f"! touch {place} 2>/dev/null")


async def test_no_build_tool_is_left(stack: Stack) -> None:
    """Neither a compiler nor pip nor what makes wheels is in the image that runs."""
    script = "for each in gcc cc make git pip pip3 hatchling curl wget; do command -v $each; done; true"
    assert await stack.compose("exec", "-T", "worker", "sh", "-c", script) == ""
    find = "from importlib.util import find_spec; print([n for n in ('pip', 'hatchling', 'pytest') if find_spec(n)])"
    assert (await stack.compose("exec", "-T", "worker", "python3", "-c", find)).strip() == "[]"
