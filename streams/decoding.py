"""msgspec's errors in the words of our problem documents: which field, what was expected there."""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from streams.errors import InvalidEventError, UndecodableEventError

_MESSAGE = re.compile(r"(?P<text>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_WORDS = {
    "decimal": "a decimal number",
    "int": "an integer",
    "str": "a string",
    "float": "a number",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "bool": "true or false",
}
#: Beyond this a bare NaN is not looked for: the standard library reads slowly, and into large objects.
_LOOKED_AT_BYTES = 1024 * 1024
_TYPES = re.compile(r"`([^`]+)`")


def invalid_event(error: msgspec.DecodeError | msgspec.ValidationError, raw: bytes) -> InvalidEventError:
    """Translate an error of decoding one event from `raw`."""
    if not isinstance(error, msgspec.ValidationError):
        if found := find_non_number(raw):
            return InvalidEventError(json_path(found[0]), f"expected a number, got {found[1]}")
        return UndecodableEventError(f"expected JSON: {_lower(str(error))}")
    match = _MESSAGE.fullmatch(str(error))
    text, path = (match["text"], match["path"] or "$") if match else (str(error), "$")
    missing = _MISSING.fullmatch(text)
    if missing:
        return InvalidEventError(f"{path}.{missing[1]}", "is required, and missing")
    return InvalidEventError(path, _lower(_TYPES.sub(_in_words, text)))


def find_non_number(raw: bytes) -> tuple[tuple[str | int, ...], str] | None:
    """The place of the first bare NaN, Infinity or -Infinity: some languages write them, JSON does not know them.

    Returns its path and the word; None where there is none, where the rest is not JSON either, or in a large body.
    """
    if len(raw) > _LOOKED_AT_BYTES or (b"NaN" not in raw and b"Infinity" not in raw):
        return None
    try:
        return _first_non_number(json.loads(raw, parse_constant=_NonNumber), ())
    except (ValueError, RecursionError):
        return None


def json_path(path: tuple[str | int, ...]) -> str:
    """A path as errors write it: `$.lines[0].quantity`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


class _NonNumber(str):
    """A word that stands where a number should."""

    __slots__ = ()


def _first_non_number(value: Any, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], str] | None:
    if isinstance(value, _NonNumber):
        return path, str(value)
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        if found := _first_non_number(item, (*path, key)):
            return found
    return None


def _in_words(match: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(word, word) for word in match[1].split(" | "))


def _lower(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
