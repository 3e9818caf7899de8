"""Files that people edit: tokens, users, secrets. One way to read them all.

An editor may put a byte order mark at the beginning, and `cat` of two such files another one into the middle.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

from streams.errors import ConfigurationError

_MARK = "\ufeff"


def read_edited(path: Path) -> str:
    """The text of a file. Raises ConfigurationError with the reason alone: the caller knows what the file is for."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(exc.strerror or str(exc)) from exc
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigurationError("it is UTF-16 text: save it as UTF-8")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise ConfigurationError("not UTF-8 text") from exc


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """The lines that count, each with its number: no blank ones, and none that begins with `#`."""
    for number, line in enumerate(text.splitlines(), start=1):
        row = line.strip().removeprefix(_MARK).strip()
        if row and not row.startswith("#"):
            yield number, row


def read_value(path: Path) -> str:
    """The one line that counts. Raises ConfigurationError as `read_edited`, and for no line or several."""
    rows = [row for _, row in lines_of(read_edited(path))]
    if len(rows) != 1:
        raise ConfigurationError(f"it holds {len(rows)} lines that count, not one" if rows else "nothing is in it")
    return rows[0]
