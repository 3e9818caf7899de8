"""What was rejected, in words; and bytes that nobody can vouch for, as text that is safe to show. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

import msgspec

from store.protocol import Rejected, RejectedSummary
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
#: What differs and is longer is shown without marks: at worst, comparing takes as long as the cube of this, and that
#: worst is easily sent by whoever wants all pages to stand still (400: 0.4 s, 2,000: 40 s).
_MOST_COMPARED = 400


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
    if theirs is None:
        return _unmarked(mine), ()
    ours, others = ([_bare(line) for line in each.lines] for each in (mine, theirs))
    # What begins and ends alike is soon found: of long receipts that differ in a line, only that is compared.
    head = _alike(ours, others)
    tail = _alike(ours[head:][::-1], others[head:][::-1])
    ours, others = ours[head : len(ours) - tail], others[head : len(others) - tail]
    if max(len(ours), len(others)) > _MOST_COMPARED:
        return _unmarked(mine), _unmarked(theirs)
    matcher = difflib.SequenceMatcher(a=ours, b=others, autojunk=False)
    ours_differ, others_differ = (set(range(head, head + len(each))) for each in (ours, others))
    for block in matcher.get_matching_blocks():
        ours_differ.difference_update(range(head + block.a, head + block.a + block.size))
        others_differ.difference_update(range(head + block.b, head + block.b + block.size))
    return _mark(mine.lines, ours_differ), _mark(theirs.lines, others_differ)


def identity(stream: Stream, item: Rejected) -> str:
    """The identity of what was rejected; empty if it has none that can be read."""
    try:
        return stream.parse(item.body).id
    except InvalidEventError:
        return ""


def reason_of(item: RejectedSummary) -> str:
    """Its reason, and what was done about it if it is not open any more."""
    return item.reason if item.status == "open" else f"{item.reason}, {item.status}"


def todo(item: RejectedSummary) -> tuple[str, ...]:
    """What to do about an open item, as texts and commands by turns; empty when nothing is to be done."""
    if item.status != "open" or item.reason not in TODOS:
        return ()
    return tuple(TODOS[item.reason].format(id=item.id).split("`"))


def history(item: RejectedSummary, zone: ZoneInfo) -> tuple[tuple[str, str], ...]:
    """What was done about it, oldest first: when, and what."""
    return tuple(
        (when(step.at, zone), STEPS.get(step.what, step.what) + (f" ({step.note})" if step.note else ""))
        for step in item.steps
    )


def when(epoch: float, zone: ZoneInfo) -> str:
    """A moment, to the second."""
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")


def _alike(some: Sequence[str], others: Sequence[str]) -> int:
    """How many lines at the beginning are the same."""
    pairs = zip(some, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(some), len(others)))


def _mark(lines: Sequence[str], differ: set[int]) -> Marked:
    # When it was received differs always, and says nothing.
    return tuple(
        (line, place in differ and not line.lstrip().startswith('"receivedTime"')) for place, line in enumerate(lines)
    )


def _unmarked(some: Content) -> Marked:
    return tuple((line, False) for line in some.lines)


def _bare(line: str) -> str:
    """A line of JSON without the comma that depends on its neighbours."""
    return line.rstrip(",")


def _printable(line: str) -> str:
    """A line without characters that a page may not have or that change how text runs; they are named instead."""
    return "".join(char if char.isprintable() or char == "\t" else f"\\u{ord(char):04x}" for char in line)


def _ascii(row: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
