"""The virtual environment that scripts make: interrupted at any moment, asked for twice at once, whole afterwards."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import eventually
from tests.unit.test_repository import ROOT

pytestmark = pytest.mark.timeout(300)

#: A build backend that needs nothing but Python: an editable installation of one command.
BACKEND = """
    import zipfile

    FILES = {
        "mini.py": "def main():\\n    print('it runs')\\n",
        "mini-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: mini\\nVersion: 1\\n",
        "mini-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: m\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "mini-1.dist-info/entry_points.txt": "[console_scripts]\\ntillstream = mini:main\\n",
    }

    def build_editable(folder, config_settings=None, metadata_directory=None):
        with zipfile.ZipFile(folder + "/mini-1-py3-none-any.whl", "w") as wheel:
            for name, text in FILES.items():
                wheel.writestr(name, text)
            wheel.writestr("mini-1.dist-info/RECORD", "".join(f"{name},,\\n" for name in FILES))
        return "mini-1-py3-none-any.whl"
"""
PROJECT = """
    [build-system]
    requires = []
    build-backend = "backend"
    backend-path = ["."]
    [project]
    name = "mini"
    version = "1"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of a project that installs in a moment, with our scripts."""
    folder = tmp_path / "a clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("run", "environment.sh"):
        (folder / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    (folder / "scripts" / "run").chmod(0o755)
    (folder / "backend.py").write_text(textwrap.dedent(BACKEND))
    (folder / "pyproject.toml").write_text(textwrap.dedent(PROJECT))
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "requirements-dev.txt").write_text("# nothing else\n")
    return folder


def begin(clone: Path) -> "subprocess.Popen[str]":
    """`scripts/run`, with all that it starts in a session of its own."""
    return subprocess.Popen(
        ["scripts/run", "version"],
        cwd=clone,
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]") -> str:
    """What it printed, once it has ended well."""
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return printed


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(lambda clone: (clone / ".venv/bin/python").exists(), id="python is there"),
        pytest.param(lambda clone: any(clone.glob(".venv/lib/*/site-packages/pip")), id="pip is half there"),
    ],
)
async def test_what_was_interrupted_is_made_anew(clone: Path, moment: Callable[[Path], bool]) -> None:
    """Killed in the first seconds of the first run, the next run works, and so do all later ones."""
    process = begin(clone)
    await eventually(lambda: moment(clone), timeout=60, every=0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    for _ in range(2):
        assert "it runs" in ended(begin(clone))
    assert not (clone / ".venv/unfinished").exists()
    assert not list(clone.glob(".venv-old-*"))


async def test_an_environment_that_an_earlier_release_left_half_made_is_replaced(clone: Path) -> None:
    """One without pip, and without a word about it, does not break every later run."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True, timeout=60)
    assert "it runs" in ended(begin(clone))


async def test_two_first_runs_at_once_both_work(clone: Path) -> None:
    """README starts processes in a row: the second waits for the first one's environment."""
    processes = [begin(clone), begin(clone)]
    assert ["it runs" in ended(each) for each in processes] == [True, True]
