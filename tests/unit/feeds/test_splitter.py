"""Finding events in JSON text, in pieces of any size."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.splitter import MOST_EVENT_BYTES, FileFormatError, LineSplitter, ObjectSplitter, Splitter, choose_splitter

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(['"', "\\", "}", "{[", '\\"', "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), max_size=5)


def split(splitter: Splitter, data: bytes, piece: int = 7) -> list[bytes]:
    """All events, fed in small pieces."""

    def events() -> Iterator[bytes]:
        for start in range(0, len(data), piece):
            yield from splitter.feed(data[start : start + piece])
        yield from splitter.finish()

    return list(events())


@given(EVENTS, st.integers(1, 40), st.sampled_from([None, 2]), st.booleans())
def test_objects_are_found_whatever_the_pieces(
    events: list[dict[str, object]], piece: int, indent: int | None, ascii_only: bool
) -> None:
    """Arrays and sequences, compact or laid out, cut anywhere, give back what was written, on one line each."""
    texts = [json.dumps(event, indent=indent, ensure_ascii=ascii_only) for event in events]
    for text in ("[" + ",\n".join(texts) + "]\n", "\n\n".join(texts)):
        found = split(ObjectSplitter(), text.encode("utf-8", "surrogatepass"), piece)
        assert [json.loads(event.decode("utf-8", "surrogatepass")) for event in found] == events
        assert not any(b"\n" in event for event in found)


@given(EVENTS, st.integers(1, 40))
def test_lines_are_found_whatever_the_pieces(events: list[dict[str, object]], piece: int) -> None:
    """NDJSON with blank lines, CRLF and no newline at the end."""
    text = "\r\n\n".join(json.dumps(event) for event in events)
    assert [json.loads(event) for event in split(LineSplitter(), text.encode(), piece)] == events


def test_a_broken_line_is_an_event_of_its_own() -> None:
    """It will be refused; the lines around it are not lost."""
    assert split(LineSplitter(), b'{"a": 1}\n{"b": \n{"c": 3}') == [b'{"a": 1}', b'{"b":', b'{"c": 3}']


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b'[{"a": 1}, {"b"', 1),
        (b'[{"a": 1}', 1),
        (b'{"a": 1} {"b": "}', 1),
        (b'[{"a": 1}, 5]', 1),
        (b'{"a": 1} true', 1),
        (b"[[{}]]", 0),
        (b'{"a": 1}]', 1),
    ],
)
def test_damage_is_named_after_what_was_complete(data: bytes, complete: int) -> None:
    """Events before the damage are given out, then the error says where it is."""
    splitter = ObjectSplitter()
    found = []
    with pytest.raises(FileFormatError, match=r"byte|no end"):
        for event in splitter.feed(data):
            found.append(event)  # noqa: PERF402
        list(splitter.finish())
    assert len(found) == complete


def test_an_endless_event_is_refused() -> None:
    """Memory stays bounded by the largest event that there may be."""
    endless = b'{"a": "' + b"x" * MOST_EVENT_BYTES
    for splitter in (ObjectSplitter(), LineSplitter()):
        with pytest.raises(FileFormatError, match="longer than"):
            list(splitter.feed(endless))


@pytest.mark.parametrize(
    ("beginning", "ended", "kind"),
    [
        (b'{"a": 1}\n{"b', False, LineSplitter),
        (b'\xef\xbb\xbf{"a": 1}\r\n', False, LineSplitter),
        (b'{"a": 1}', True, LineSplitter),
        (b'{"a": 1}', False, None),
        (b'{\n  "a": 1', False, ObjectSplitter),
        (b'{"a": {}\n}', False, ObjectSplitter),
        (b'{"a": 1} {"b": 2}\n', False, ObjectSplitter),
        (b"  \n[", False, ObjectSplitter),
        (b"", False, None),
        (b"  ", True, ObjectSplitter),
    ],
)
def test_the_form_is_told_from_the_beginning(beginning: bytes, ended: bool, kind: type | None) -> None:
    """NDJSON if the first line is an object; anything else is read by its brackets; too little waits for more."""
    chosen = choose_splitter(beginning, ended=ended)
    assert (chosen if chosen is None else type(chosen)) is kind


@pytest.mark.parametrize("beginning", [b"store;amount\n", b"<xml>", b"\x00\x01", b"5"])
def test_what_is_no_json_is_refused_at_once(beginning: bytes) -> None:
    """A CSV file or a picture is a mistake of the user's, named in one line."""
    with pytest.raises(FileFormatError, match="expected JSON objects"):
        choose_splitter(beginning, ended=False)
