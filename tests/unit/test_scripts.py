"""scripts/: from wherever, and by whatever name, they are called; and with which line ends they are checked out."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_repository import ROOT

SCRIPTS = sorted(
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.read_text("utf-8").startswith("#!")
)


def git(*arguments: str | Path, within: Path) -> str:
    """What git prints."""
    return subprocess.run(
        ["git", *arguments], cwd=within, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_finds_its_repository_behind_links(script: Path) -> None:
    """Each resolves its own name before it goes anywhere, to an absolute path, which CDPATH has no say in."""
    text = script.read_text()
    assert text.count("BASH_SOURCE") == text.count('"$(realpath "${BASH_SOURCE[0]}")"')
    assert 'dirname "$0"' not in text


def test_a_script_runs_behind_a_link_and_with_cdpath(tmp_path: Path) -> None:
    """`scripts/secrets`, as a link elsewhere and with a CDPATH that has a folder of the same name."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "deploy").mkdir()
    link = tmp_path / "scripts" / "make-them"
    link.symlink_to(ROOT / "scripts" / "secrets")
    environ = {"PATH": os.environ["PATH"], "CDPATH": f".:{tmp_path}"}
    for number, command in enumerate((str(link), "scripts/secrets")):
        made = tmp_path / str(number)
        done = subprocess.run(
            [command, "--folder", made], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (made / "tokens").exists()


def test_a_clone_on_windows_has_line_ends_of_unix(tmp_path: Path) -> None:
    """What shells, containers and servers read: git's habit there, CRLF, would break every script."""
    clone = tmp_path / "clone"
    git("init", "--quiet", clone, within=tmp_path)
    git("config", "core.autocrlf", "true", within=clone)
    wanted = [".gitattributes", "scripts/run", "deploy/slim", "deploy/rabbitmq/rabbitmq.conf", "docker-compose.yml"]
    for name in wanted:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    git("add", ".", within=clone)
    for name in wanted:
        (clone / name).unlink()
    git("checkout", "--", ".", within=clone)
    assert [name for name in wanted if b"\r" in (clone / name).read_bytes()] == []
