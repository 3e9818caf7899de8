"""msgspec's errors in the words of our problem documents: which field, what was expected there."""

import re

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
_TYPES = re.compile(r"`([^`]+)`")


def invalid_event(error: msgspec.DecodeError | msgspec.ValidationError) -> InvalidEventError:
    """Translate an error of decoding one event."""
    if not isinstance(error, msgspec.ValidationError):
        return UndecodableEventError(f"expected JSON: {_lower(str(error))}")
    match = _MESSAGE.fullmatch(str(error))
    text, path = (match["text"], match["path"] or "$") if match else (str(error), "$")
    missing = _MISSING.fullmatch(text)
    if missing:
        return InvalidEventError(f"{path}.{missing[1]}", "is required, and missing")
    return InvalidEventError(path, _lower(_TYPES.sub(_in_words, text)))


def _in_words(match: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(word, word) for word in match[1].split(" | "))


def _lower(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
