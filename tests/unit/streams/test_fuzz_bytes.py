"""Bytes that are no receipts, or receipts with something absurd inside: refused by name, or read; never a crash."""

import contextlib
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams import InvalidEventError, ReceiptStream, UndecodableEventError
from tests.unit.streams.sample import SAMPLE, receipt

STREAM = ReceiptStream(ZoneInfo("Europe/Paris"))
RECEIVED = 1_763_725_200.25
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOOD = json.dumps(SAMPLE, ensure_ascii=False).encode()

#: JSON values as they may stand anywhere, and some that only nearly are.
WORDS = st.sampled_from(
    [
        b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"nan", b"undefined", b"'a'", b"/**/1", b"1,",
        b"0", b"-0", b"00", b"01", b"+1", b".5", b"1.", b"0x10", b"1e", b"1e3", b"1E400", b"18446744073709551616",
        b"1e999999999", b"-1e999999999", b"1e-999999999", b"9" * 400, b"0." + b"0" * 400 + b"1", b"1" + b"0" * 5000,
        b'""', b"[]", b"{}", b"[[]]", b'{"a":{"a":{}}}', b"[" * 2000, b'{"a":' * 2000, b"[" * 2000 + b"]" * 2000,
        b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\\x"', b'"\n"', b'"\xff"', b'"' + b"x" * 5000 + b'"',
        b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x80\xa8"', b'"2026-11-18 11:06:40"',
        b'"9999-12-31T23:59:59-23:59"', b'"0001-01-01 00:00:00"', b'"2026-13-01 00:00:00"', b'"2026-03-29 02:30:00"',
        b'"\xd9\xa2\xd9\xa0\xd9\xa2\xd9\xa6-11-18 11:06:40"',
    ]
)  # fmt: skip


def readable(line: bytes) -> bool:
    """Whether all values in it can be had: where not, what tells a repetition from a conflict is the text itself."""
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def refused(error: InvalidEventError) -> None:
    """An error names a field and says in a phrase what was expected, which can be sent."""
    assert error.field.startswith("$")
    assert 0 < len(error.expected) < 500
    str(error).encode()  # half a surrogate would end the answer that tells of it


def check(raw: bytes) -> None:
    """Refused with a reason for people, or a line that reads as the same receipt for ever."""
    try:
        line = STREAM.accept(raw, RECEIVED)
    except InvalidEventError as exc:
        refused(exc)
        with contextlib.suppress(InvalidEventError):  # what is nested too deeply can be shown all the same
            STREAM.paper(raw)
        return
    assert b"\n" not in line
    event = STREAM.parse(line)
    assert (event.line, event.received) == (line, RECEIVED)
    again = STREAM.parse(STREAM.accept(line, RECEIVED))
    assert (again.id, again.facts) == (event.id, event.facts)
    assert again.hash == event.hash or not readable(line)
    assert STREAM.accept(again.line, RECEIVED) == again.line
    STREAM.paper(raw)
    event.id.encode()


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused(raw: bytes) -> None:
    """Neither rubbish nor text gets through, nor does it raise anything else."""
    for each in (raw, GOOD + raw, raw + GOOD):
        check(each)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a JSON value, its own included."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in items for deeper in places(item, (*path, key)))]


def replaced(path: tuple[str | int, ...], word: bytes) -> bytes:
    """The sample with these bytes in place of a value."""
    marked = json.loads(json.dumps(SAMPLE))
    if not path:
        return word
    at = marked
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = "@@"
    return json.dumps(marked, ensure_ascii=False).encode().replace(b'"@@"', word)


@FUZZ
@given(st.sampled_from(places(SAMPLE)), WORDS)
def test_any_word_at_any_place_is_refused_or_read(path: tuple[str | int, ...], word: bytes) -> None:
    """A value of the wrong kind, size or depth, wherever it stands."""
    check(replaced(path, word))


@FUZZ
@given(st.sampled_from(places(SAMPLE)[1:]), WORDS, st.booleans())
def test_a_name_that_comes_twice_is_read_in_one_way(path: tuple[str | int, ...], word: bytes, first: bool) -> None:
    """Of two values under one name accepting and reading take the same one, whatever the other one is."""
    name = next(part for part in reversed(path) if isinstance(part, str))
    pair = b"%b: %b" % (json.dumps(name).encode(), word)
    raw = GOOD.replace(b"{", b"{%b, " % pair, 1) if first else GOOD[:-1] + b", %b}" % pair
    check(raw)


@pytest.mark.parametrize("cut", range(0, len(GOOD), 7))
def test_a_receipt_that_is_cut_off_is_undecodable(cut: int) -> None:
    """Wherever it ends too early."""
    with pytest.raises(InvalidEventError):
        STREAM.accept(GOOD[:cut], RECEIVED)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xef\xbb\xbf" + GOOD, id="byte-order-mark"),
        pytest.param(GOOD.decode().encode("utf-16"), id="utf-16"),
        pytest.param(GOOD + b"\0", id="nul-behind"),
        pytest.param(b"\0" + GOOD, id="nul-before"),
        pytest.param(GOOD.replace(b"Menu", b"Me\0nu"), id="raw-nul"),
        pytest.param(GOOD.replace(b"Menu", b"Me\xffnu"), id="no-utf-8"),
        pytest.param(GOOD[:-1] + b', "x": "\xed\xa0\x80"}', id="surrogate-bytes"),
        pytest.param(GOOD + GOOD, id="two"),
        pytest.param(b"[" + GOOD + b"]", id="array"),
    ],
)
def test_what_is_not_one_json_object_in_utf8_is_undecodable(raw: bytes) -> None:
    """Or, as an array is, invalid."""
    with pytest.raises(InvalidEventError) as caught:
        STREAM.accept(raw, RECEIVED)
    if raw[:1] != b"[":
        assert isinstance(caught.value, UndecodableEventError)


def heavy() -> dict[str, Callable[[], bytes]]:
    """Bodies within the largest size that may be sent, made to be slow or large to read."""
    size = 10_000_000
    line = json.dumps(SAMPLE["lines"][0])
    more = GOOD[:-1] + b', "more": '
    total = ("documentTotal", "grossTotal")
    return {
        "brackets": lambda: more + b"[" * (size // 2),
        "objects": lambda: more + b'{"a":' * (size // 5),
        "balanced": lambda: more + b"[" * (size // 3) + b"]" * (size // 3) + b"}",
        "many arrays": lambda: more + b"[" + b"[]," * (size // 4) + b"[]]}",
        "a number in an amount": lambda: replaced(total, b"9" * size),
        "a fraction in an amount": lambda: replaced(total, b"1." + b"9" * size),
        "a text for an amount": lambda: replaced(total, b'"' + b"9" * size + b'"'),
        "an integer for an id": lambda: replaced(("storeID",), b"9" * size),
        "a number elsewhere": lambda: more + b"9" * size + b"}",
        "a fraction elsewhere": lambda: more + b"0." + b"9" * size + b"}",
        "many numbers": lambda: more + b"[" + b"0.1234567890123456," * (size // 20) + b"1]}",
        "many integers": lambda: more + b"[" + b"1," * (size // 3) + b"1]}",
        "many names": lambda: more + b"{" + b",".join(b'"%d":1' % number for number in range(size // 12)) + b"}}",
        "one name, many times": lambda: more + b"{" + b'"a":1,' * (size // 7) + b'"a":2}}',
        "escapes": lambda: more + b'"' + b"\\u00e9" * (size // 7) + b'"}',
        "escaped quotes": lambda: more + b'["' + b"[" * 900 + b'\\"' * (size // 3) + b'"]}',
        "spaces": lambda: GOOD[:-1] + b" " * size + b"}",
        "line ends": lambda: GOOD[:-1] + b"\n" * size + b"}",
        "lines": lambda: json.dumps(receipt({"lines": ["@@"]})).replace('"@@"', ",".join([line] * 20_000)).encode(),
        "half a surrogate": lambda: more + b'"' + b"\\ud800" * (size // 7) + b'"}',
        "NaN": lambda: more + b"[" + b"NaN," * (size // 5) + b"1]}",
    }


@pytest.mark.parametrize("name", heavy())
def test_heavy_bodies_cost_little_time_and_memory(name: str) -> None:
    """Ten megabytes of whatever is slow are accepted or refused within a second or two, and within bounded memory."""
    raw = heavy()[name]()
    if name in {"a fraction in an amount", "many integers", "many arrays", "escaped quotes"}:  # tracing is slow
        tracemalloc.start()
    began = time.process_time()
    try:
        line = STREAM.accept(raw, RECEIVED)
    except InvalidEventError as exc:
        refused(exc)
        line = b""
    else:
        assert len(line) < len(raw) + 100
    took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracing = tracemalloc.is_tracing()
    tracemalloc.stop()
    print(f"{name}: {'accepted' if line else 'refused'} in {took:.2f} s, {peak / 1e6:.0f} MB traced")
    assert took < (15 if tracing else 5)  # on a busy machine
    assert peak < 1_000_000_000
    if line and not tracing:
        began = time.process_time()
        assert STREAM.parse(line).line == line
        took = time.process_time() - began
        print(f"read in {took:.2f} s")
        assert took < 10


def test_damage_anywhere_is_refused_or_read() -> None:
    """Two thousand seeded ways of overwriting, cutting and doubling parts of a receipt."""
    chance = random.Random(4)
    for _ in range(2000):
        raw = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            at, length = chance.randrange(len(raw)), chance.choice([0, 1, 1, 2, 8, 40])
            new = chance.choice(
                [b"", chance.randbytes(1), bytes(raw[at : at + 30]), b'"', b"\\", b"{", b"]", b",", b"e9", b"-"]
            )
            raw[at : at + length] = new
        check(bytes(raw))
