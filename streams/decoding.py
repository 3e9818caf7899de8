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
_SURROGATE = re.compile("[\ud800-\udfff]")
#: First bytes of what is sent as JSON by mistake; its errors would speak of bytes that the sender never wrote.
_OTHER_FORMATS = {
    b"\x1f\x8b": "gzip data: add the header Content-Encoding: gzip",
    b"PK\x03\x04": "a zip file",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_TYPES = re.compile(r"`([^`]+)`")


def invalid_event(error: msgspec.DecodeError | msgspec.ValidationError, raw: bytes) -> InvalidEventError:
    """Translate an error of decoding one event from `raw`."""
    if not isinstance(error, msgspec.ValidationError):
        if found := find_unreadable(raw):
            return InvalidEventError(json_path(found[0]), found[1])
        return undecodable(raw, f"expected JSON: {_lower(str(error))}")
    match = _MESSAGE.fullmatch(str(error))
    text, path = (match["text"], match["path"] or "$") if match else (str(error), "$")
    missing = _MISSING.fullmatch(text)
    if missing:
        return InvalidEventError(f"{path}.{missing[1]}", "is required, and missing")
    return InvalidEventError(path, _lower(_TYPES.sub(_in_words, text)))


def undecodable(raw: bytes, otherwise: str) -> UndecodableEventError:
    """The error of bytes that are no JSON: another format by its first bytes, or what the decoder says of them."""
    for magic, found in _OTHER_FORMATS.items():
        if raw.startswith(magic):
            return UndecodableEventError(f"expected JSON in UTF-8, got {found}")
    return UndecodableEventError(otherwise)


def find_unreadable(raw: bytes) -> tuple[tuple[str | int, ...], str] | None:
    """The place of the first value that JSON cannot hold though all around it is JSON, and what was expected there.

    None where there is none, where the rest is not JSON either, or in a large body.
    """
    if found := _find_non_number(raw):
        return found[0], f"expected a number, got {found[1]}"
    if (path := _find_half_pair(raw)) is not None:
        return path, "expected text, got half a surrogate pair, such as \\ud83d alone"
    return None


def _find_non_number(raw: bytes) -> tuple[tuple[str | int, ...], str] | None:
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


def _find_half_pair(raw: bytes) -> tuple[str | int, ...] | None:
    """The place of the first text with half a surrogate pair, which JSON can write and UTF-8 cannot.

    msgspec takes what follows for the other half, and may then say that the data ends too early.
    """
    if len(raw) > _LOOKED_AT_BYTES or b"\\u" not in raw:
        return None
    try:
        return _first_half_pair(json.loads(raw), ())
    except (ValueError, RecursionError):
        return None


def _first_half_pair(value: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...] | None:
    if isinstance(value, str):
        return path if _SURROGATE.search(value) else None
    for key, item in _items(value):
        if isinstance(key, str) and _SURROGATE.search(key):
            return path
        if (found := _first_half_pair(item, (*path, key))) is not None:
            return found
    return None


def _items(value: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


class _NonNumber(str):
    """A word that stands where a number should."""

    __slots__ = ()


def _first_non_number(value: Any, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], str] | None:
    if isinstance(value, _NonNumber):
        return path, str(value)
    for key, item in _items(value):
        if found := _first_non_number(item, (*path, key)):
            return found
    return None


def _in_words(match: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(word, word) for word in match[1].split(" | "))


def _lower(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
