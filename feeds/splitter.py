"""Finding the events in a stream of JSON text: objects one after another, or in arrays, however they are laid out.

Two ways, one interface (`feed` bytes, get events; `finish` at the end): `LineSplitter` for NDJSON, which a broken
line does not confuse, and `ObjectSplitter` for everything else. Whether an event is valid is not decided here. Memory
is bounded by the largest event.
"""

import re
from collections.abc import Iterator
from typing import Protocol

from streams.errors import TillstreamError

#: Longer than any event that the entrypoint takes: what gets as long without an end is no file of events.
MOST_EVENT_BYTES = 10 * 1024**2
#: What decides where an object ends: strings (the group is empty if the end is missing), and braces.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}]', re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*")
_BOM = b"\xef\xbb\xbf"
#: Line breaks can only be layout: JSON has none inside strings.
_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class FileFormatError(TillstreamError):
    """A file holds no receipts in a form that we read, or ends too early. Events before that place were given out."""


class Splitter(Protocol):
    """Takes bytes, gives events, each without line breaks."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more bytes and give the events that they complete. Raises FileFormatError."""

    def finish(self) -> Iterator[bytes]:
        """Give what the end of the bytes completes. Raises FileFormatError if an event or array is unfinished."""


class LineSplitter:
    """One event a line, blank lines between them allowed. A broken line is an event, to be refused by the server."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MOST_EVENT_BYTES:
            raise FileFormatError(f"a line is longer than {MOST_EVENT_BYTES} bytes")
        for line in lines:
            if event := line.strip():
                yield event

    def finish(self) -> Iterator[bytes]:
        if event := self._rest.strip():
            yield event


class ObjectSplitter:
    """Objects separated by white space, and objects in arrays."""

    def __init__(self) -> None:
        self._rest = b""
        self._offset = 0
        self._in_array = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        start = 0
        try:
            while True:
                start = _next(self._rest, start)
                first = self._rest[start : start + 1]
                if not first:
                    break
                if first == b"{":
                    end = _object_end(self._rest, start)
                    if end is None:
                        break
                    yield self._rest[start:end].translate(_NO_LINE_BREAKS)
                    start = end
                elif first == b"[" and not self._in_array:
                    self._in_array = True
                    start += 1
                elif first == b"]" and self._in_array:
                    self._in_array = False
                    start += 1
                else:
                    found = self._rest[start : start + 20].decode(errors="replace")
                    raise FileFormatError(f"expected a JSON object at byte {self._offset + start}, found {found!r}")
        finally:
            self._offset += start
            self._rest = self._rest[start:]
        if len(self._rest) > MOST_EVENT_BYTES:
            raise FileFormatError(f"the object at byte {self._offset} is longer than {MOST_EVENT_BYTES} bytes")

    def finish(self) -> Iterator[bytes]:
        if self._rest.strip():
            raise FileFormatError(f"the object at byte {self._offset} has no end")
        if self._in_array:
            raise FileFormatError("the array has no end")
        return iter(())


def choose_splitter(beginning: bytes, *, ended: bool) -> Splitter | None:
    """Choose by how the bytes begin; None wants more of them. Raises FileFormatError for what is no JSON at all.

    Arguments:
        beginning: all bytes so far, the same that are fed to the splitter then.
        ended: whether there are no more.
    """
    text = beginning.removeprefix(_BOM).lstrip()
    if text[:1] not in {b"", b"[", b"{"}:
        shown = text[:20].decode(errors="replace")
        raise FileFormatError(f"expected JSON objects, one array of them, or one a line; found {shown!r}")
    if text[:1] == b"[":
        return ObjectSplitter()
    line, newline, _ = text.partition(b"\n")
    if not newline and not ended and len(text) <= MOST_EVENT_BYTES:
        return None
    return LineSplitter() if _object_end(line, 0) == len(line.rstrip()) else ObjectSplitter()


def without_mark(beginning: bytes) -> bytes:
    """The bytes without the byte order mark that some programs put first."""
    return beginning.removeprefix(_BOM)


def _next(data: bytes, start: int) -> int:
    """Where the next value, or the end of an array, begins."""
    match = _BETWEEN.match(data, start)
    return match.end() if match else start


def _object_end(data: bytes, start: int) -> int | None:
    """One past the closing brace of the object that begins at `start`; None if the bytes end before."""
    depth = 0
    for token in _TOKEN.finditer(data, start):
        text = token[0]
        if text == b"{":
            depth += 1
        elif text == b"}":
            depth -= 1
            if depth == 0:
                return token.end()
        elif not token[1]:
            return None
    return None
