"""Events from files and to files: plain or gzip, JSON or NDJSON, standard input and output as `-`."""

import asyncio
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from feeds.splitter import FileFormatError, choose_splitter, without_mark

#: Read at once.
_CHUNK_BYTES = 256 * 1024
#: A request is sent when it holds as much, however few events that is: well below what the entrypoint takes.
MOST_REQUEST_BYTES = 4 * 1024**2
#: Of gzip's two magic bytes the first is enough (and a pipe may hold no more yet): no JSON begins with it.
_GZIP_BEGINNING = b"\x1f"
STANDARD = "-"


def read_requests(source: str, size: int, progress: Callable[[int], None] | None = None) -> Iterator[list[bytes]]:
    """Read events in requests of at most `size`; memory is bounded by a request and the largest event.

    From a pipe events go on as they come in, so that a request may hold fewer.

    Arguments:
        source: path of a file, or `-`; gzip is recognised by its first bytes.
        progress: told the bytes of the file that were read so far, compressed ones if it is.
    Raises FileFormatError, after giving out what came before the damage.
    """
    request: list[bytes] = []
    weight = 0
    try:
        with ExitStack() as stack:
            raw = _standard_input() if source == STANDARD else stack.enter_context(Path(source).open("rb"))
            for events in _pieces(raw, progress):
                for event in events:
                    request.append(event)
                    weight += len(event)
                    if len(request) >= size or weight >= MOST_REQUEST_BYTES:
                        yield request
                        request, weight = [], 0
                if request and not raw.seekable():
                    yield request
                    request, weight = [], 0
    except FileFormatError as exc:
        if request:
            yield request
        raise FileFormatError(f"{_name(source)}: {exc}") from exc
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        if request:
            yield request
        raise FileFormatError(f"{_name(source)}: the gzip data is damaged or ends early") from exc
    except OSError as exc:
        raise FileFormatError(f"{_name(source)}: {exc.strerror or exc}") from exc
    if request:
        yield request


def _name(source: str) -> str:
    return "standard input" if source == STANDARD else source


def _standard_input() -> io.BufferedReader:
    # Not sys.stdin: a thread that is still reading it when the process ends would make the interpreter abort.
    return io.BufferedReader(io.FileIO(0, closefd=False))


def _pieces(raw: io.BufferedReader, progress: Callable[[int], None] | None) -> Iterator[Iterator[bytes]]:
    """The events of each chunk that is read."""
    compressed = raw.peek(1)[:1] == _GZIP_BEGINNING
    data = gzip.GzipFile(fileobj=raw) if compressed else raw
    splitter = None
    beginning = b""
    while chunk := data.read1(_CHUNK_BYTES):
        if progress and raw.seekable():
            progress(raw.tell())
        if splitter is not None:
            yield splitter.feed(chunk)
            continue
        beginning += chunk
        splitter = choose_splitter(beginning, ended=False)
        if splitter is not None:
            yield splitter.feed(without_mark(beginning))
    if splitter is None:
        splitter = choose_splitter(beginning, ended=True)
        assert splitter is not None, "the end of the bytes decides"
        yield splitter.feed(without_mark(beginning))
    yield splitter.finish()


class EventWriter:
    """Writes events as NDJSON to a file (gzip if its name ends in `.gz`) or to standard output.

    A context manager. Raises FileFormatError if the file cannot be written.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.written = 0
        self._stack = ExitStack()
        try:
            self._file: BinaryIO | gzip.GzipFile = sys.stdout.buffer
            if target != STANDARD:
                self._file = self._stack.enter_context(Path(target).open("wb"))  # noqa: SIM115 - the stack closes it
            if target.endswith(".gz"):
                self._file = self._stack.enter_context(gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6))
        except OSError as exc:
            raise FileFormatError(f"{target}: {exc.strerror or exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.target == STANDARD:
                self._file.flush()
            self._stack.close()
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise FileFormatError(f"{self.target}: {exc.strerror or exc}") from exc

    async def submit(self, events: list[bytes]) -> bool:
        """Append events; True. Standard output gets them at once.

        Raises FileFormatError, or BrokenPipeError as it comes.
        """
        await asyncio.sleep(0)  # a burst must not keep an interrupt waiting
        self._write(events)
        return True

    async def rest(self, seconds: float) -> bool:
        """Wait; False: nobody asks a writer to stop."""
        await asyncio.sleep(seconds)
        return False

    def _write(self, events: list[bytes]) -> None:
        try:
            self._file.write(b"\n".join(events) + b"\n")
            if self.target == STANDARD:
                self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise FileFormatError(f"{self.target}: {exc.strerror or exc}") from exc
        self.written += len(events)
