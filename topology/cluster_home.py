"""What a Storm cluster on this machine runs on: a Java, and Storm's jars, fetched once by Maven and kept.

ZooKeeper needs no package of its own: it is shaded into Storm's jars, its server included.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from topology.errors import ClusterError

VERSION = "2.8.2"
#: Storm 2.8 is compiled for it.
JAVA = 17
#: pom.xml, jars.sha256 and log4j2/.
FILES = Path(__file__).with_name("storm")
#: Longer than 60 MB take on a slow line.
_FETCH_TIMEOUT_S = 900.0
_JAVA_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class StormHome:
    """What to run Storm with: the `java` command, and the folder of the jars."""

    java: Path
    lib: Path


def provide_home(environ: Mapping[str, str], say: Callable[[str], object] = str) -> StormHome:
    """Find Java, and the jars in the cache; fetch them first where they are not there.

    Arguments:
        environ: PATH, JAVA_HOME, HOME, XDG_CACHE_HOME.
        say: told in one line what takes long; by default nobody is.
    Raises ClusterError saying what is missing, and how to get it.
    """
    return StormHome(java=find_java(environ), lib=_provide_jars(environ, say))


def find_java(environ: Mapping[str, str]) -> Path:
    """The `java` of JAVA_HOME, or of PATH. Raises ClusterError when there is none, or it is too old."""
    home = environ.get("JAVA_HOME", "")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    if found is None:
        raise ClusterError(f"Storm needs Java {JAVA} or later: no java is on PATH (on Debian: openjdk-17-jre-headless)")
    try:
        said = subprocess.run(  # noqa: S603  # the user's own Java
            [found, "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.SubprocessError) as exc:
        raise ClusterError(f"{found} does not run: {exc}") from exc
    match = _JAVA_VERSION.search(said)
    if match is None or int(match[1]) < JAVA:
        raise ClusterError(f"Storm needs Java {JAVA} or later, and {found} is {match[1] if match else 'unknown'}")
    return Path(found)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where the jars are kept; its name changes with what has to be in it."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "tillstream" / f"storm-{VERSION}-{_digest(FILES / 'jars.sha256')[:12]}"


def _provide_jars(environ: Mapping[str, str], say: Callable[[str], object]) -> Path:
    lines = (FILES / "jars.sha256").read_text("ascii").splitlines()
    wanted = {name: digest for digest, name in map(str.split, lines)}
    folder = cache_folder(environ)
    if folder.is_dir() and wanted.keys() <= {file.name for file in folder.iterdir()}:
        return folder
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None:
        raise ClusterError(
            f"Storm's jars are not in {folder} yet, and no mvn is on PATH to fetch them (on Debian: maven)"
        )
    say(f"fetching Storm {VERSION} with Maven, once: about 70 MB")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Into a folder of our own first: nobody may see half of it.
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        _fetch(maven, fresh, environ)
        _check(fresh, wanted)
        fresh.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as exc:
        if not folder.is_dir():  # or another process was quicker
            raise ClusterError(f"Storm's jars cannot be kept in {folder}: {exc.strerror or exc}") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _fetch(maven: str, folder: Path, environ: Mapping[str, str]) -> None:
    command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(FILES / "pom.xml")]
    try:
        done = subprocess.run(  # noqa: S603  # the user's own Maven
            [*command, "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ClusterError(f"Maven did not fetch Storm's jars within {_FETCH_TIMEOUT_S:g} s") from exc
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        reason = errors[0].removeprefix("[ERROR]").strip() if errors else done.stderr.strip()[-500:]
        raise ClusterError(f"Maven could not fetch Storm's jars: {reason}")


def _check(folder: Path, wanted: Mapping[str, str]) -> None:
    """Refuse what is not byte for byte what it was when this was written."""
    for name, digest in wanted.items():
        file = folder / name
        if not file.is_file():
            raise ClusterError(f"Maven did not fetch {name}")
        if _digest(file) != digest:
            raise ClusterError(f"{name} is not the file that was expected: its SHA-256 differs")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
