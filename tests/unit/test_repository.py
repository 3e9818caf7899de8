"""The repository's own promises: what is locked, what is packaged, what is documented."""

import ast
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


#: Reasons for a pause of a fixed length.
POLL = "between two looks, until a condition holds, with a time limit"
RHYTHM = "the test plays somebody who does something again and again"
NOTHING = "nothing may happen meanwhile, and nobody says that nothing happens"
NEVER = "longer than any test: an answer that does not come"
HTTP = "tests/integration/entrypoint"
#: File and function of each pause of a fixed length, and why nothing can be awaited instead.
PAUSES = {
    ("tests/browser/conftest.py", "_websocket_of"): POLL,
    ("tests/browser/conftest.py", "run"): RHYTHM,
    ("tests/browser/house.py", "soon"): POLL,
    ("tests/browser/test_login.py", "test_a_login_ends_by_itself"): "the login ends by time alone",
    ("tests/browser/test_receipts.py", "quiet"): NOTHING,
    ("tests/browser/test_sessions.py", "at_the_broker"): NOTHING,
    ("tests/browser/test_sessions.py", "test_twenty_pages_have_one_set_of_queues"): NOTHING,
    ("tests/integration/dashboard/test_alone.py", "run"): RHYTHM,
    ("tests/integration/dashboard/test_commands.py", "speak"): RHYTHM,
    (
        "tests/integration/entrypoint/test_connections.py",
        "test_a_client_that_reads_slowly_gets_its_whole_answer",
    ): RHYTHM,
    ("tests/integration/entrypoint/test_connections.py", "test_a_connection_between_requests_is_not_hurried"): NOTHING,
    ("tests/integration/feeds/test_commands.py", "answer"): NEVER,
    ("tests/integration/feeds/test_sender.py", "answer"): NEVER,
    ("tests/integration/feeds/test_sender.py", "slow"): "requests overlap; no more than allowed, however slow",
    ("tests/integration/feeds/test_sender.py", "test_leaving_counts_what_is_under_way_as_unknown"): NEVER,
    ("tests/integration/topology/test_cluster.py", "_until"): POLL,
    ("tests/integration/topology/test_cluster.py", "stands_still"): NOTHING,
    ("tests/integration/topology/test_local.py", "until_nothing_is_left"): POLL,
    ("tests/servers/cluster.py", "_await_joined"): POLL,
    ("tests/servers/ferret.py", "start"): POLL,
    ("tests/servers/rabbit.py", "_await_ready"): POLL,
    ("tests/simulation/story.py", "_rest"): "the clock is simulated",
    ("tests/unit/topology/conftest.py", "forever"): NEVER,
    ("tests/unit/topology/storm.py", "emitted"): POLL,
    ("tests/unit/topology/test_cluster_processes.py", "_until"): POLL,
    ("tests/unit/topology/test_receipt_spout.py", "until_ready"): POLL,
}


def pauses(path: Path) -> set[tuple[str, str]]:
    """Where a test module pauses for a fixed time: its path, and the innermost function."""
    found = set()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncio.sleep", "time.sleep", "sleep"}:
            length = node.args[0] if node.args else None
            if isinstance(length, ast.Constant) and length.value != 0:
                found.add((str(path.relative_to(ROOT)), function))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text()), "")
    return found


def test_tests_do_not_sleep_and_hope() -> None:
    """A pause of a fixed length passes on one machine and fails on another: each is listed with its reason."""
    found = set().union(*(pauses(path) for path in (ROOT / "tests").rglob("*.py")))
    assert found == set(PAUSES)
