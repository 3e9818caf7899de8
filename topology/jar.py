"""The jar that Storm hands to its Supervisors: our Python packages below `resources/`, and no Java at all.

A jar is a zip file, so no Java tool is needed to make one. It does not hold all that a component needs: the packages
that ours stand on are installed on each Supervisor's machine (docs/storm.md).
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: What the components import. The dashboard and the producers run elsewhere, whatever the engine.
PACKAGES = (
    "analytics",
    "broker",
    "cli",
    "engine",
    "entrypoint",
    "runtime",
    "store",
    "streams",
    "topology",
    "workers",
)
#: Storm unpacks this folder of a jar, and starts components in it.
RESOURCES = "resources/"
#: The same packages give the same bytes: no entry says when it was written. The earliest time that a zip file knows.
_WRITTEN = (1980, 1, 1, 0, 0, 0)
_MANIFEST = b"Manifest-Version: 1.0\r\nCreated-By: tillstream\r\n\r\n"
#: A regular file that everybody may read, in the upper half as Unix wants it.
_MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """A jar as it was written: where, its files, and its size in bytes."""

    path: Path
    files: int
    size: int


def build_jar(path: Path, *, root: Path | None = None, extra: Mapping[str, bytes] | None = None) -> Jar:
    """Write the jar; equal input gives equal bytes. A jar that is there is replaced in one step.

    Arguments:
        path: the file; its folder has to be there.
        root: the folder that holds our packages; by default where this one is.
        extra: further files, by path below `resources/`.
    Raises OSError if it cannot be written.
    """
    entries = {name: file.read_bytes() for name, file in _files(root or Path(__file__).parents[1])}
    entries |= extra or {}
    fresh = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as jar:
            _add(jar, "META-INF/MANIFEST.MF", _MANIFEST)  # Java wants it to come first
            for name in sorted(entries):
                _add(jar, RESOURCES + name, entries[name])
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return Jar(path=path, files=len(entries), size=path.stat().st_size)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and place of every file of our packages, but for what Python compiled and what editors left."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            name = file.relative_to(root)
            if file.is_file() and file.suffix != ".pyc" and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), file


def _add(jar: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _WRITTEN)
    entry.external_attr = _MODE
    entry.create_system = 3  # Unix, wherever it is made
    jar.writestr(entry, content, zipfile.ZIP_DEFLATED, 6)
