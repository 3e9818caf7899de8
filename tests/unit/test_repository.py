"""The repository's own promises: what is locked, what is packaged, what is documented."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def normal(requirement: str) -> str:
    """The name in a requirement, in its normal form."""
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def locked(name: str) -> dict[str, str]:
    """What a lock file pins, name → version and whatever follows, hashes included."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return dict(line.split("==", maxsplit=1) for line in text.splitlines() if line)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-storm.txt", "requirements-dev.txt"])
def test_locks_pin_by_hash_and_name_no_place(name: str) -> None:
    """Exact versions with hashes; no index's address, no path of a machine, no option."""
    for package, rest in locked(name).items():
        assert re.fullmatch(r"[a-z0-9-]+", package)
        assert "--hash=sha256:" in rest
        assert "://" not in rest


def test_locks_hold_what_the_project_asks_for() -> None:
    """A dependency that was added is locked, and all locks agree on it."""
    runtime, storm, dev = (locked(f"requirements{name}.txt") for name in ("", "-storm", "-dev"))
    groups = PROJECT["dependency-groups"]
    assert {normal(each) for each in PROJECT["project"]["dependencies"] + groups["build"]} <= set(runtime)
    assert {normal(each) for each in groups["dev"]} <= set(dev)
    assert {normal(each) for each in PROJECT["project"]["optional-dependencies"]["storm"]} <= set(storm)
    assert {package: storm[package] for package in runtime} == runtime
    assert {package: dev[package] for package in storm} == storm


def test_every_package_is_in_the_wheel_and_under_the_import_rules() -> None:
    """A new top-level package is not forgotten by what reads these lists."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(PROJECT["tool"]["importlinter"]["root_packages"])
    assert packages <= set(PROJECT["tool"]["mypy"]["files"])
    assert packages - {"bench"} == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_decisions_are_listed() -> None:
    """Each page of docs/decisions is in the list of its README."""
    folder = ROOT / "docs" / "decisions"
    listing = (folder / "README.md").read_text()
    for page in folder.glob("[0-9]*.md"):
        assert f"({page.name})" in listing
