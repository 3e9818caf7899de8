"""Other releases to run beside this one: the one before it, out of the repository's history, and one after it."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.integration.system.harness import ROOT

#: The release before this one; `git log` says what it could do.
PREVIOUS = "9728fdcc5dee46175a8ea843da93366ea178f4c4"
#: Packages that another release must not take from here.
PACKAGES = ("analytics", "broker", "cli", "engine", "entrypoint", "feeds", "runtime", "store", "streams", "workers")
#: Runs `tillstream` as a release that writes newer formats would.
NEWER = ("-m", "tests.integration.rolling.newer")


def export_previous(folder: Path) -> Path:
    """Put the previous release's files into a folder. Fails the test, and says what to do, where they are not had."""
    try:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", PREVIOUS], cwd=ROOT, check=True, capture_output=True, timeout=60
        ).stdout
    except FileNotFoundError:
        pytest.fail("needs git, to take the previous release out of the repository's history", pytrace=False)
    except subprocess.CalledProcessError as exc:
        pytest.fail(
            f"needs commit {PREVIOUS[:10]}, the previous release, and git says: {exc.stderr.decode().strip()}\n"
            "In a shallow clone, `git fetch --unshallow` gets it.",
            pytrace=False,
        )
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def imported_from(root: Path) -> dict[str, Path]:
    """Where a process that is started in a folder, as `harness.Process` starts one, finds our packages."""
    code = f"import importlib; [print(importlib.import_module(one).__file__) for one in {PACKAGES!r}]"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environ, check=True, capture_output=True, timeout=60
    )
    return dict(zip(PACKAGES, map(Path, asked.stdout.decode().split()), strict=True))
