"""Events from files in every form, and to files."""

import gzip
import json
from pathlib import Path

import pytest

from feeds import EventWriter, FileFormatError, read_requests

EVENTS = [{"number": number, "text": 'x}"{é' * (number % 5)} for number in range(1200)]
TEXTS = {
    "array": json.dumps(EVENTS),
    "laid out array": json.dumps(EVENTS, indent=2),
    "ndjson": "\n".join(json.dumps(event) for event in EVENTS) + "\n",
    "laid out objects": "\n".join(json.dumps(event, indent=4) for event in EVENTS),
    "one line of objects": "".join(json.dumps(event) for event in EVENTS),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", TEXTS)
def test_every_form_is_read(tmp_path: Path, form: str, compressed: bool) -> None:
    """Arrays, NDJSON and laid out objects, plain and gzip (told by its bytes, not by the name)."""
    data = TEXTS[form].encode()
    path = tmp_path / "receipts"
    path.write_bytes(gzip.compress(data) if compressed else data)
    positions: list[int] = []
    requests = list(read_requests(str(path), 100, positions.append))
    assert [json.loads(event) for request in requests for event in request] == EVENTS
    assert [len(request) for request in requests] == [100] * 12
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size


def test_a_single_object_is_one_event(tmp_path: Path) -> None:
    """As it is saved from an editor, with or without a newline at the end."""
    path = tmp_path / "receipt.json"
    for end in ("", "\n"):
        for indent in (None, 2):
            path.write_text(json.dumps(EVENTS[3], indent=indent) + end)
            assert [json.loads(event) for (event,) in read_requests(str(path), 100)] == [EVENTS[3]]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    """No events, no error."""
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert list(read_requests(str(path), 100)) == []


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    """As `cat a.gz b.gz` makes them."""
    path = tmp_path / "two.gz"
    lines = TEXTS["ndjson"].encode().splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:500])) + gzip.compress(b"".join(lines[500:])))
    assert sum(map(len, read_requests(str(path), 100))) == len(EVENTS)


@pytest.mark.parametrize("form", ["ndjson", "array"])
def test_a_truncated_gzip_gives_what_came_before(tmp_path: Path, form: str) -> None:
    """Events before the cut are given out, then the error names the file."""
    path = tmp_path / "cut.gz"
    data = gzip.compress(TEXTS[form].encode())
    path.write_bytes(data[: len(data) // 2])
    found = []
    with pytest.raises(FileFormatError, match=r"cut\.gz: the gzip data is damaged or ends early"):
        for request in read_requests(str(path), 100):
            found += request
    assert 100 < len(found) < 1200
    assert [json.loads(event) for event in found] == EVENTS[: len(found)]


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    """Garbage after the header is one error, not a traceback of zlib."""
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(TEXTS["ndjson"].encode())[:200] + b"\x00" * 500)
    with pytest.raises(FileFormatError, match=r"bad\.gz"):
        list(read_requests(str(path), 100))


def test_a_truncated_array_gives_what_came_before(tmp_path: Path) -> None:
    """The error names the file and the place."""
    path = tmp_path / "cut.json"
    path.write_text(TEXTS["array"][:5000])
    found = []
    with pytest.raises(FileFormatError, match=r"cut\.json: the object at byte \d+ has no end"):
        for request in read_requests(str(path), 10_000):
            found += request
    assert len(found) > 10


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """In the operating system's words."""
    with pytest.raises(FileFormatError, match="nothing: No such file"):
        list(read_requests(str(tmp_path / "nothing"), 10))
    with pytest.raises(FileFormatError, match="directory"):
        list(read_requests(str(tmp_path), 10))


def test_large_events_make_smaller_requests(tmp_path: Path) -> None:
    """A request stays below what the entrypoint takes, whatever number of events was asked for."""
    path = tmp_path / "large"
    event = json.dumps({"text": "x" * 1_000_000})
    path.write_text("\n".join([event] * 12))
    assert [len(request) for request in read_requests(str(path), 1000)] == [5, 5, 2]


@pytest.mark.parametrize("name", ["receipts.ndjson", "receipts.ndjson.gz"])
async def test_what_is_written_can_be_read(tmp_path: Path, name: str) -> None:
    """NDJSON, gzip by the name."""
    path = tmp_path / name
    with EventWriter(str(path)) as writer:
        assert await writer.submit([b'{"a": 1}', b'{"b": 2}'])
        assert await writer.submit([b'{"c": 3}'])
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert list(read_requests(str(path), 10)) == [[b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']]
    assert writer.written == 3


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """One line for the user."""
    with pytest.raises(FileFormatError, match="No such file"):
        EventWriter(str(tmp_path / "no" / "where"))
