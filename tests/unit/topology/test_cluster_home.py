import hashlib
import os
from pathlib import Path

import pytest

from topology import cluster_home
from topology.cluster_home import cache_folder, find_java, provide_home
from topology.errors import ClusterError


def _program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def _java(folder: Path, version: str) -> Path:
    return _program(folder, "java", f"echo 'openjdk version \"{version}\"' >&2")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment of nothing but a new Java and the system's own commands."""
    _java(tmp_path / "bin", "21.0.1")
    return {"PATH": f"{tmp_path / 'bin'}:{os.defpath}", "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of jars that has one, whose content is `jar`."""
    folder = tmp_path / "files"
    folder.mkdir()
    digest = hashlib.sha256(b"jar").hexdigest()
    (folder / "jars.sha256").write_text(f"{digest}  a.jar\n")
    monkeypatch.setattr(cluster_home, "FILES", folder)
    return folder


def _maven(folder: Path, script: str) -> None:
    """A Maven that knows where it is to put the jars: the last argument says it."""
    _program(
        folder / "bin",
        "mvn",
        f'for last; do :; done; out=${{last#-DoutputDirectory=}}; echo >> "{folder}/calls"; {script}',
    )


@pytest.mark.parametrize("version", ["17.0.15", "21", "25.0.1"])
def test_a_java_that_is_new_enough_is_found_on_path(tmp_path: Path, version: str) -> None:
    """17 is what Storm is compiled for; later ones do, too."""
    java = _java(tmp_path / "bin", version)
    assert find_java({"PATH": str(java.parent)}) == java


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    """As everywhere."""
    _java(tmp_path / "bin", "17")
    java = _java(tmp_path / "home" / "bin", "17")
    assert find_java({"PATH": str(tmp_path / "bin"), "JAVA_HOME": str(tmp_path / "home")}) == java


@pytest.mark.parametrize("version", ["1.8.0_412", "11.0.2"])
def test_an_old_java_is_refused_with_its_version(tmp_path: Path, version: str) -> None:
    """Storm would fail with a class file version, which tells few people anything."""
    java = _java(tmp_path / "bin", version)
    with pytest.raises(
        ClusterError, match=f"needs Java 17 or later, and .*/java is {'8' if version[0:2] == '1.' else 11}"
    ):
        find_java({"PATH": str(java.parent)})


def test_no_java_is_told_with_a_package(tmp_path: Path) -> None:
    """On PATH, or at JAVA_HOME, there has to be one."""
    with pytest.raises(ClusterError, match=r"no java is on PATH .*openjdk"):
        find_java({"PATH": str(tmp_path)})
    with pytest.raises(ClusterError, match="does not run"):
        find_java({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)})


def test_jars_are_fetched_once(tmp_path: Path, environ: dict[str, str], files: Path) -> None:
    """The second time they come from the cache, and no Maven is needed."""
    _maven(tmp_path, 'printf jar > "$out/a.jar"')
    said: list[str] = []
    home = provide_home(environ, said.append)
    assert (home.lib / "a.jar").read_bytes() == b"jar"
    assert home.lib == cache_folder(environ)
    assert len(said) == 1
    (tmp_path / "bin" / "mvn").unlink()
    assert provide_home(environ, said.append) == home
    assert len(said) == 1


def test_half_a_cache_is_fetched_again(tmp_path: Path, environ: dict[str, str], files: Path) -> None:
    """A jar that somebody deleted comes back."""
    _maven(tmp_path, 'printf jar > "$out/a.jar"')
    home = provide_home(environ)
    (home.lib / "a.jar").unlink()
    assert (provide_home(environ).lib / "a.jar").is_file()


def test_no_maven_is_told_with_what_is_missing(environ: dict[str, str], files: Path, tmp_path: Path) -> None:
    """In one line, with the package that has it."""
    environ["PATH"] = str(tmp_path / "bin")
    with pytest.raises(ClusterError, match="no mvn is on PATH to fetch them"):
        provide_home(environ)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '[ERROR] no route to host'; exit 1", "Maven could not fetch Storm's jars: no route to host"),
        ("true", "Maven did not fetch a.jar"),
        ('printf bad > "$out/a.jar"', "a.jar is not the file that was expected"),
    ],
    ids=["fails", "nothing", "other bytes"],
)
def test_what_maven_did_not_do_is_told_and_not_kept(
    script: str, said: str, tmp_path: Path, environ: dict[str, str], files: Path
) -> None:
    """A jar of other bytes is none; the cache holds nothing afterwards."""
    _maven(tmp_path, script)
    with pytest.raises(ClusterError, match=said):
        provide_home(environ)
    assert list((tmp_path / "cache" / "tillstream").iterdir()) == []
