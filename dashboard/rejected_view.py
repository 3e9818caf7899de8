"""What was rejected, in words; and bytes that nobody can vouch for, as text that is safe to show. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

import msgspec

from store.protocol import Rejected
from streams.base import Stream
from streams.errors import InvalidEventError

TITLES: Mapping[str, str] = MappingProxyType(
    {"conflict": "Conflict", "invalid": "Invalid receipt", "undecodable": "Unreadable line", "poison": "Dead letter"}
)
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "conflict": "Another receipt with the same store, terminal, date and number, and other content, was stored "
        "first. That one counts; this one does not. Mostly a till uses its numbers twice.",
        "invalid": "This can be read, and is no receipt: a field is missing or has a value that it cannot have.",
        "undecodable": "This cannot be read as JSON at all.",
        "poison": "A whole frame that came back from the workers too often.",
    }
)
#: What is done about it, as commands.
TODOS: Mapping[str, str] = MappingProxyType(
    {
        "conflict": "Look at both, put right by hand what has to be, then `tillstream rejected discard --id {id}`.",
        "invalid": "`tillstream rejected replay --id {id}` once a release or setting can read it; else discard it.",
        "undecodable": "`tillstream rejected replay --id {id}` once a release or setting can read it; else discard it.",
        "poison": "Find out why, then `tillstream rejected replay --id {id}`.",
    }
)
#: Step of an item's history → what it says.
STEPS: Mapping[str, str] = MappingProxyType(
    {"replayed": "published again", "again": "rejected again", "discarded": "discarded: nothing will be done"}
)
#: More bytes of an item than this are not shown.
MOST_BYTES = 100_000
#: Longer texts are shown without the marks of their differences: comparing takes too long.
_MOST_COMPARED = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes as text.

    Attributes:
        kind: `JSON`, `text` or `bytes, in hexadecimal`.
        lines: what to show; printable, but not escaped for HTML.
        cut: only the beginning is shown.
    """

    kind: str
    lines: tuple[str, ...]
    cut: bool


#: A line and whether it differs from what it is compared with.
Marked = tuple[tuple[str, bool], ...]


def content(body: bytes) -> Content:
    """Bytes as people can read them best."""
    cut = len(body) > MOST_BYTES
    if not cut:
        try:
            msgspec.json.decode(body)
            pretty = msgspec.json.format(body, indent=2).decode("utf-8")
            return Content(kind="JSON", lines=tuple(_printable(line) for line in pretty.split("\n")), cut=False)
        except (ValueError, RecursionError):
            pass
    body = body[:MOST_BYTES]
    try:
        text = body.decode("utf-8", "strict" if not cut else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text or not body:
        return Content(kind="text", lines=tuple(_printable(line) for line in text.split("\n")), cut=cut)
    rows = (body[at : at + 16] for at in range(0, len(body), 16))
    return Content(
        kind="bytes, in hexadecimal",
        lines=tuple(f"{place * 16:06x}  {row.hex(' '):<47}  {_ascii(row)}" for place, row in enumerate(rows)),
        cut=cut,
    )


def differences(mine: Content, theirs: Content | None) -> tuple[Marked, Marked]:
    """The lines of both, each with whether the other has no such line there."""
    if theirs is None or max(len(mine.lines), len(theirs.lines)) > _MOST_COMPARED:
        return _unmarked(mine), _unmarked(theirs)
    matcher = difflib.SequenceMatcher(
        a=[_bare(line) for line in mine.lines], b=[_bare(line) for line in theirs.lines], autojunk=False
    )
    mine_same, theirs_same = set[int](), set[int]()
    for block in matcher.get_matching_blocks():
        mine_same.update(range(block.a, block.a + block.size))
        theirs_same.update(range(block.b, block.b + block.size))
    return _mark(mine.lines, mine_same), _mark(theirs.lines, theirs_same)


def identity(stream: Stream, item: Rejected) -> str:
    """The identity of what was rejected; empty if it has none that can be read."""
    try:
        return stream.parse(item.body).id
    except InvalidEventError:
        return ""


def reason_of(item: Rejected) -> str:
    """Its reason, and what was done about it if it is not open any more."""
    return item.reason if item.status == "open" else f"{item.reason}, {item.status}"


def todo(item: Rejected) -> tuple[str, ...]:
    """What to do about an open item, as texts and commands by turns; empty when nothing is to be done."""
    if item.status != "open" or item.reason not in TODOS:
        return ()
    return tuple(TODOS[item.reason].format(id=item.id).split("`"))


def history(item: Rejected, zone: ZoneInfo) -> tuple[tuple[str, str], ...]:
    """What was done about it, oldest first: when, and what."""
    return tuple(
        (when(step.at, zone), STEPS.get(step.what, step.what) + (f" ({step.note})" if step.note else ""))
        for step in item.steps
    )


def when(epoch: float, zone: ZoneInfo) -> str:
    """A moment, to the second."""
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")


def _mark(lines: Sequence[str], same: set[int]) -> Marked:
    # When it was received differs always, and says nothing.
    return tuple(
        (line, place not in same and not line.lstrip().startswith('"receivedTime"')) for place, line in enumerate(lines)
    )


def _unmarked(some: Content | None) -> Marked:
    return tuple((line, False) for line in some.lines) if some else ()


def _bare(line: str) -> str:
    """A line of JSON without the comma that depends on its neighbours."""
    return line.rstrip(",")


def _printable(line: str) -> str:
    """A line without characters that a page may not have or that change how text runs; they are named instead."""
    return "".join(char if char.isprintable() or char == "\t" else f"\\u{ord(char):04x}" for char in line)


def _ascii(row: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
