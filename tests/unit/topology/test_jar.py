import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from topology.jar import PACKAGES, build_jar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a small file in each of our packages."""
    for package in PACKAGES:
        folder = tmp_path / "root" / package / "__pycache__"
        folder.mkdir(parents=True)
        (folder / "a.cpython-311.pyc").write_bytes(b"compiled")
        (folder.parent / "__init__.py").write_text("")
        (folder.parent / ".swap").write_text("an editor's")
    return tmp_path / "root"


def test_every_file_is_below_resources_but_what_java_wants_first(tmp_path: Path) -> None:
    """Storm unpacks `resources/`; what Python compiled and editors left is not in it."""
    built = build_jar(tmp_path / "t.jar")
    with zipfile.ZipFile(built.path) as jar:
        names = jar.namelist()
    assert names[0] == "META-INF/MANIFEST.MF"
    assert all(name.startswith("resources/") for name in names[1:])
    assert names[1:] == sorted(names[1:])
    assert {name.split("/")[1] for name in names[1:]} == set(PACKAGES)
    assert not [name for name in names if name.endswith(".pyc") or "/." in name]
    assert built.files == len(names) - 1
    assert built.size == built.path.stat().st_size


def test_equal_files_give_equal_bytes(root: Path, tmp_path: Path) -> None:
    """When files were written, and in which order they are found, does not show."""
    first = build_jar(tmp_path / "first.jar", root=root)
    for file in sorted(root.rglob("*.py"), reverse=True):
        file.touch()
        os.utime(file, (1, 1))
        file.chmod(0o600)
    second = build_jar(tmp_path / "second.jar", root=root)
    assert first.path.read_bytes() == second.path.read_bytes()


def test_further_files_are_added_and_win(root: Path, tmp_path: Path) -> None:
    """A file given beside the packages is in the jar, also in place of one of theirs."""
    extra = {"probe.py": b"x = 1", "broker/__init__.py": b"changed"}
    with zipfile.ZipFile(build_jar(tmp_path / "t.jar", root=root, extra=extra).path) as jar:
        assert jar.read("resources/probe.py") == b"x = 1"
        assert jar.read("resources/broker/__init__.py") == b"changed"


def test_a_jar_that_cannot_be_written_leaves_the_old_one(root: Path, tmp_path: Path) -> None:
    """Whoever reads the jar meanwhile sees the old one or the new one, never a half."""
    path = tmp_path / "t.jar"
    build_jar(path, root=root)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        build_jar(path, root=root, extra={"zz": None})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["t.jar"]


def test_everything_that_components_import_of_ours_is_in_it(tmp_path: Path) -> None:
    """With the jar first on the path, no module of ours comes from anywhere else."""
    with zipfile.ZipFile(build_jar(tmp_path / "t.jar").path) as jar:
        jar.extractall(tmp_path / "unpacked")
    resources = tmp_path / "unpacked" / "resources"
    script = (
        "import cli.storm, sys\n"
        "from pathlib import Path\n"
        f"ours = {{*{PACKAGES!r}, 'dashboard', 'feeds', 'bench', 'tests'}}\n"
        "files = {n: m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in ours}\n"
        "stray = {n: f for n, f in files.items() if f and not f.startswith(sys.argv[1])}\n"
        "sys.exit(f'not from the jar: {stray}' if stray or not files else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(resources)],
        cwd=resources,
        env={"PYTHONPATH": ".", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
