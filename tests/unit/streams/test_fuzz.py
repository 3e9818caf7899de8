"""Receipts written in every odd way: what `accept` takes, `parse` reads, and the same from what a store keeps."""

import json
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams import InvalidEventError, ReceiptStream
from streams.base import Event

STREAM = ReceiptStream(ZoneInfo("Europe/Paris"))
RECEIVED = 1_763_725_200.25

SPACES = st.sampled_from(["", " ", "\t", "\r", "\n", "\r\n  "])
NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "-0.0",
        "1",
        "5.9",
        "1e5",
        "1E+5",
        "1e-5",
        "0.1234567890123456789",
        "1e-320",
        "2.5e-324",
        "1e308",
        "1e309",
        "1e-400",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "1e22",
        "123456789012345680000",
        "0.30000000000000004",
        "12345678901234567e-3",
        "1.10000000000000000000000000001",
    ]
) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
AMOUNTS = st.sampled_from(
    [
        "0",
        "-0.0",
        "5.9",
        '"5.90"',
        "3.4000000000000004",
        "-2.5",
        "1e2",
        "0.00005",
        "0.00015",
        '"0.00015"',
        "1e9",
        "-1000000000",
        "123456.789012345678",
        '"1E2"',
        "-0.00005",
        "12345678e-4",
        "1e-320",
        "0.00004999999999999999999999",
        "99999999.12345678",
        "999999999.9999999999",
    ]
) | st.decimals(-(10**9), 10**9, places=4).map(str)
TEXTS = st.builds(
    lambda text, plain: json.dumps(text, ensure_ascii=not plain),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["", "$set", "a.b", "nul\0", "_id", "receivedTime", "0.1234567", "12345678901234567.5", "e-7"]),
    st.booleans(),
)
IDS = st.integers(-(2**63), 2**63 - 1).map(str) | st.sampled_from(['"7"', '"é:~/"', '" "', '"\\u00e9"', '"%2F"'])
DATES = st.sampled_from(
    ["2026-11-18 11:06:40", "2026-11-18T11:06:40.5Z", "2026-10-25T02:30:00+01:00", "1970-01-01 00:00:00"]
).map(json.dumps)


def written(space: str, pairs: list[tuple[str, str]]) -> str:
    """A JSON object of names and values that are JSON already, with white space everywhere."""
    return f"{{{space}{f'{space},{space}'.join(f'{name}{space}:{space}{value}' for name, value in pairs)}{space}}}"


def listed(space: str, items: list[str]) -> str:
    """A JSON array, likewise."""
    return f"[{space}{f'{space},{space}'.join(items)}{space}]"


VALUES = st.recursive(
    NUMBERS | TEXTS | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.builds(listed, SPACES, st.lists(inner, max_size=3))
        | st.builds(written, SPACES, st.lists(st.tuples(TEXTS, inner), max_size=3))
    ),
    max_leaves=6,
)


@st.composite
def objects(draw: st.DrawFn, known: dict[str, st.SearchStrategy[str]], optional: str = "") -> str:
    """An object of known fields in any order, some of them repeated, with unknown ones in between."""
    pairs = [
        (json.dumps(name), draw(value))
        for name, value in known.items()
        if name not in optional.split() or draw(st.booleans())
    ]
    pairs += draw(st.lists(st.tuples(TEXTS, VALUES), max_size=2).filter(lambda more: not names(more) & known.keys()))
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=1))
    return written(draw(SPACES), draw(st.permutations(pairs)))


def names(pairs: list[tuple[str, str]]) -> set[str]:
    """The names of pairs, unescaped."""
    return {json.loads(name) for name, _ in pairs}


LINES = objects(
    {
        "lineNumber": st.integers(0, 1000).map(str),
        "productCode": IDS,
        "productDescription": TEXTS,
        "productCategoryCode": IDS,
        "productCategoryName": TEXTS,
        "quantity": AMOUNTS,
        "unitOfMeasure": TEXTS,
        "unitPrice": AMOUNTS,
        "creditAmount": AMOUNTS,
        "taxPercentage": AMOUNTS,
        "settlementAmount": AMOUNTS,
    }
)
SETTLEMENTS = objects({"paymentMechanism": TEXTS, "settlementAmount": AMOUNTS})
RECEIPTS = objects(
    {
        "storeID": IDS,
        "terminalID": IDS,
        "cashReceiptID": IDS,
        "agentID": IDS | st.just("null"),
        "customerID": IDS | st.just("null") | TEXTS.filter(lambda text: text != '""'),
        "date": DATES,
        "lines": st.builds(listed, SPACES, st.lists(LINES, max_size=2)),
        "documentTotal": objects({"grossTotal": AMOUNTS, "taxPayable": AMOUNTS, "netTotal": AMOUNTS}),
        "settlements": st.builds(listed, SPACES, st.lists(SETTLEMENTS, max_size=2)),
        "receivedTime": st.sampled_from(["1", "0.5", "-1", "null", "1e300"]),
    },
    optional="agentID customerID receivedTime",
)
BODIES = st.builds(lambda before, body, after: (before + body + after).encode(), SPACES, RECEIPTS, SPACES)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def said(event: Event) -> tuple[object, ...]:
    """All that an event says, but for how it is written."""
    return (event.id, event.hash, event.day, event.time, event.received, dict(event.keys), event.facts)


@FUZZ
@given(BODIES)
def test_what_is_accepted_is_read_and_reads_the_same_from_a_store(raw: bytes) -> None:
    """However a receipt is written: one line, stamped by us, one hash for the same bytes, kept without a change."""
    line = STREAM.accept(raw, RECEIVED)
    assert b"\n" not in line
    event = STREAM.parse(line)
    assert event.received == RECEIVED
    assert STREAM.parse(STREAM.accept(raw, RECEIVED + 9.5)).hash == event.hash
    if event.document is not None:
        assert said(STREAM.parse(msgspec.json.encode(event.document))) == said(event)


@FUZZ
@given(BODIES, st.data())
def test_damaged_bytes_are_refused_or_read(raw: bytes, data: st.DataObject) -> None:
    """Whatever happens to bytes on their way, the answer is an error that names it, or a receipt that is read."""
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 1))] = data.draw(
            st.binary(max_size=1) | st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"e", b"-", b"."])
        )
    try:
        line = STREAM.accept(bytes(damaged), RECEIVED)
    except InvalidEventError:
        return
    assert b"\n" not in line
    assert STREAM.parse(line).hash == STREAM.parse(STREAM.accept(bytes(damaged), RECEIVED)).hash
