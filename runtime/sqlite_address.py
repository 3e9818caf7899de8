"""What may stand behind `sqlite:` in an address: a path, and nothing that other programs read in another way."""

from pathlib import Path


def check_path(path: str) -> None:
    """Raises ValueError saying what was expected unless this is a path as it is meant."""
    if path.startswith("//"):
        raise ValueError(
            "sqlite:PATH with one slash before a path from the root (sqlite:/srv/till/x.db) and none before another: "
            "other programs differ in how they read two, three or four"
        )
    if path == ":memory:" or path.startswith("file:"):
        raise ValueError("sqlite:PATH, the path of a file")
    if "?" in path:
        raise ValueError("sqlite:PATH without options behind a question mark")
    if not path:
        raise ValueError("sqlite:PATH")
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError("sqlite:PATH with a home directory that there is") from None
