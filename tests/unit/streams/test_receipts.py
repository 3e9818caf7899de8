import gzip
import json
import math
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import DayTally, Tally
from streams import DateWindow, InvalidEventError, ReceiptStream, UndecodableEventError
from streams.base import Event
from streams.receipt_schema import _CONTROL
from tests.unit.streams.sample import MISSING, SAMPLE, receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))
RECEIVED = 1_763_725_200.25


def event_of(value: object, stream: ReceiptStream = STREAM) -> Event:
    """The event that a receipt becomes on its way through a frame."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return stream.parse(stream.accept(raw, RECEIVED))


def refusal(value: object, stream: ReceiptStream = STREAM) -> InvalidEventError:
    """Why a receipt is not accepted."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(InvalidEventError) as caught:
        stream.accept(raw, RECEIVED)
    return caught.value


def test_the_sample_is_read_as_what_it_says() -> None:
    """Identity, day, keys and amounts of a receipt are those that the till printed."""
    event = event_of(SAMPLE)
    assert event.id == "612:3:2026-11-18 11:06:40:40213"
    assert event.day == "2026-11-18"
    assert event.received == RECEIVED
    assert event.keys == {"store": "612", "terminal": "3", "receipt": "40213", "customer": "85320"}
    assert event.facts.revenue == 26_5300
    assert event.facts.lines == (("Menu", 24_1200, 3_0000), ("Pain", 2_4100, 2_0000))
    assert event.facts.payments == (("CB", 20_0000), ("Especes", 6_5300))


@pytest.mark.parametrize(
    "changes",
    [
        {"storeID": "612", "terminalID": "3", "cashReceiptID": "40213", "customerID": "85320", "agentID": "7"},
        {"lines.0.settlementAmount": "24.12", "documentTotal.grossTotal": "26.530"},
        {"settlements.0.settlementAmount": 20.0},
        {"settlements.0.settlementAmount": 20},
        {"date": "2026-11-18T11:06:40Z"},
        {"date": "2026-11-18T12:06:40.999+01:00"},
        {"receivedTime": 5},
    ],
    ids=str,
)
def test_the_same_receipt_written_otherwise_is_the_same(changes: dict[str, object]) -> None:
    """Integer or string ids, text or number amounts, float noise, date forms: one identity, one content hash."""
    bent, plain = event_of(receipt(changes)), event_of(SAMPLE)
    assert (bent.id, bent.hash, bent.facts) == (plain.id, plain.hash, plain.facts)
    assert bent.received == RECEIVED


@pytest.mark.parametrize(
    "changes",
    [{"documentTotal.grossTotal": 26.54}, {"lines.1.productDescription": "Baguette"}, {"extra": 1}, {"agentID": 8}],
    ids=str,
)
def test_other_content_has_another_hash(changes: dict[str, object]) -> None:
    """A receipt that differs in anything but what we stamp is told apart from its first copy."""
    assert event_of(receipt(changes)).id == event_of(SAMPLE).id
    assert event_of(receipt(changes)).hash != event_of(SAMPLE).hash


def test_when_a_receipt_was_received_is_no_part_of_its_content() -> None:
    """A retried receipt has the hash of its first copy."""
    raw = json.dumps(SAMPLE).encode()
    early, late = (STREAM.parse(STREAM.accept(raw, moment)) for moment in (1.0, 2.0))
    assert early.hash == late.hash


def paths(value: object, prefix: str = "") -> list[str]:
    """Every place in a JSON value, as dotted paths."""
    if isinstance(value, dict):
        return [path for key, item in value.items() for path in [prefix + key, *paths(item, f"{prefix}{key}.")]]
    if isinstance(value, list):
        return [path for number, item in enumerate(value) for path in paths(item, f"{prefix}{number}.")]
    return []


def as_json_path(path: str) -> str:
    """A dotted path as errors write it."""
    return "$" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))


OPTIONAL = {"agentID", "customerID"}
AMOUNTS = [
    path
    for path in paths(SAMPLE)
    if path.split(".")[-1]
    in {
        "quantity",
        "unitPrice",
        "creditAmount",
        "taxPercentage",
        "settlementAmount",
        "grossTotal",
        "taxPayable",
        "netTotal",
    }
]


@pytest.mark.parametrize("path", sorted(set(paths(SAMPLE)) - OPTIONAL))
def test_a_missing_field_is_named(path: str) -> None:
    """Every field but customer and agent is required, and the refusal says which one is missing."""
    error = refusal(receipt({path: MISSING}))
    assert error.field == as_json_path(path)
    assert error.expected == "is required, and missing"


@pytest.mark.parametrize("path", paths(SAMPLE))
def test_a_wrong_type_is_named(path: str) -> None:
    """A field of the wrong type is refused, by its name."""
    assert refusal(receipt({path: {"of": "another type"} if "." in path else True})).field.startswith(
        as_json_path(path)
    )


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_customer_and_agent_may_be_missing_or_null(name: str) -> None:
    """Somebody who walks in has no customer id."""
    assert event_of(receipt({name: MISSING})).hash == event_of(receipt({name: None})).hash


@pytest.mark.parametrize("path", AMOUNTS)
@pytest.mark.parametrize(
    "text", ['"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', "1e400", "1000000000.01", "-1e10", '"1_0"', '"x"', '""']
)
def test_what_is_no_amount_is_refused_by_name(path: str, text: str) -> None:
    """NaN, infinities, absurd numbers and text surgery are refused in every amount."""
    raw = json.dumps(receipt({path: "@@"})).replace('"@@"', text).encode()
    assert refusal(raw).field == as_json_path(path)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_numbers_that_are_none_are_refused(text: str) -> None:
    """Python's `json` writes NaN as a bare word; that is not JSON, and the field is named all the same."""
    error = refusal(json.dumps(receipt({"lines.1.quantity": float(text), "note": "NaN"})).encode())
    assert (error.field, error.expected) == ("$.lines[1].quantity", f"expected a number, got {text}")
    assert isinstance(refusal(b'{"a": NaN'), UndecodableEventError)
    assert event_of(receipt({"note": "NaN or Infinity"})).document is not None


@pytest.mark.parametrize(
    "date",
    ["2026-02-30 10:00:00", "2026-13-01 10:00:00", "2026-11-18 24:00:00", "2026-11-18 10:00:60", "2026-11-18", "",
     "yesterday", "20261118T100000", "2026-W01-1 10:00:00", "٢٠٢٦-11-18 10:00:00", "0001-01-01T00:00:00+14:00"],
)  # fmt: skip
def test_a_date_that_does_not_exist_is_refused(date: str) -> None:
    """Dates are checked against the calendar, not just for their form."""
    assert refusal(receipt({"date": date})).field == "$.date"


def test_a_time_in_the_gap_is_refused_and_a_doubled_one_is_the_first() -> None:
    """Local time jumps in spring and repeats in autumn; identity and day stay well defined."""
    paris = ReceiptStream(ZoneInfo("Europe/Paris"))
    assert "does not exist" in refusal(receipt({"date": "2026-03-29 02:30:00"}), paris).expected
    doubled = event_of(receipt({"date": "2026-10-25 02:30:00"}), paris)
    assert doubled.time == event_of(receipt({"date": "2026-10-25T00:30:00Z"}), paris).time
    second = event_of(receipt({"date": "2026-10-25T01:30:00Z"}), paris)
    assert (second.id, second.day) == (doubled.id, "2026-10-25")


def test_the_business_day_is_the_local_one() -> None:
    """Near midnight the zone decides the day."""
    tokyo = ReceiptStream(ZoneInfo("Asia/Tokyo"))
    assert event_of(receipt({"date": "2026-11-18T23:30:00Z"}), tokyo).day == "2026-11-19"


def test_more_than_a_thousand_lines_are_refused() -> None:
    """A thousand lines are a receipt, one more is not."""
    line = SAMPLE["lines"][0]
    assert len(event_of(receipt({"lines": [line] * 1000})).facts.lines) == 1000
    assert refusal(receipt({"lines": [line] * 1001})).field == "$.lines"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b'{"storeID": "\xff"}', b"nothing", json.dumps(SAMPLE).encode() + b"x"],
)
def test_what_is_not_json_is_undecodable(raw: bytes) -> None:
    """Bytes that cannot be named field by field are told apart from wrong fields."""
    assert isinstance(refusal(raw), UndecodableEventError)


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"[1]"])
def test_what_is_no_object_is_invalid(raw: bytes) -> None:
    """JSON of another kind says so."""
    assert refusal(raw).field == "$"


@pytest.mark.parametrize("value", ["", "x" * 129, 2**63, "a\nb", "a\0b", 1.5, None, []])
def test_ids_are_short_printable_strings_or_64_bit_integers(value: object) -> None:
    """An id that no till has is refused by name."""
    for name in ("storeID", "terminalID", "cashReceiptID"):
        assert refusal(receipt({name: value})).field == f"$.{name}"


#: First and last of each range of control characters, and noncharacters of several planes.
CONTROLS = [0, 0x1F, 0x7F, 0x80, 0x9F, 0x2028, 0x2029, 0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF]
#: No-break and ideographic space, joiners, marks of direction, a byte order mark, private use, an emoji of Unicode
#: 15.0, characters of 16.0 and 17.0, and code points that no version has given a meaning yet.
TEXT = [0xA0, 0xAD, 0x3000, 0x200C, 0x200D, 0x200E, 0xFEFF, 0xE000, 0x1FAE8, 0x1FAE9, 0x1FAEA, 0x378, 0xE0FFF, 0x10FFFD]


def test_control_characters_are_the_same_on_every_python() -> None:
    """Fixed ranges are refused in ids, all other code points taken, whether this Python knows them or not."""
    for code in CONTROLS:
        for name in ("storeID", "terminalID", "cashReceiptID"):
            refused = refusal(receipt({name: f"a{chr(code)}"}))
            assert (refused.field, "control" in refused.expected) == (f"$.{name}", True), hex(code)
    for code in TEXT:
        assert event_of(receipt({"storeID": f"a{chr(code)}"})).keys["store"] == f"a{chr(code)}", hex(code)
    # 65 controls, 2 separators, 2,048 surrogates, 66 noncharacters: of all code points, by no table of Python's.
    assert sum(_CONTROL.search(chr(code)) is not None for code in range(0x110000)) == 65 + 2 + 2048 + 66


@pytest.mark.parametrize("store", ["612 ", " 612", "0612", "\u00a0612", "CAFÉ", "cafe\u0301", "Straße"])
def test_ids_are_compared_exactly(store: str) -> None:
    """Nothing is trimmed, folded or normalised: another spelling is another store."""
    other = {"612 ": "612", " 612": "612", "0612": "612", "\u00a0612": "612", "CAFÉ": "café", "cafe\u0301": "café"}
    left, right = event_of(receipt({"storeID": store})), event_of(receipt({"storeID": other.get(store, "Strasse")}))
    assert left.keys["store"] == store
    assert (left.id, left.hash) != (right.id, right.hash)


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        (json.dumps(receipt({"storeID": "a\ud83d"})).encode(), "$.storeID", "half a surrogate pair"),
        (json.dumps(receipt({"storeID": "\udc00b"})).encode(), "$.storeID", "half a surrogate pair"),
        (json.dumps(receipt({"x": [{"y": "\ud800"}]})).encode(), "$.x[0].y", "half a surrogate pair"),
        (json.dumps(receipt({"x": {"\ud800": "y"}, "z": "\ud83d"})).encode(), "$.x", "half a surrogate pair"),
        (gzip.compress(json.dumps(SAMPLE).encode()), "$", "gzip data: add the header Content-Encoding: gzip"),
        (json.dumps(SAMPLE).encode("utf-16"), "$", "UTF-16"),
        (b"PK\x03\x04\x14\x00", "$", "a zip file"),
        (json.dumps(SAMPLE).encode()[:-1], "$", "expected JSON: input data was truncated"),
    ],
    ids=range(8),
)
def test_what_a_decoder_says_misleads_nobody(raw: bytes, field: str, words: str) -> None:
    """Half a surrogate pair is named with its place, another format by its name; cut-off data is called that."""
    refused = refusal(raw)
    assert refused.field == field
    assert words in refused.expected


def test_identities_of_different_ids_never_meet() -> None:
    """Separators within ids are escaped, so that no two different identities share their canonical string."""
    left = event_of(receipt({"storeID": "1:2", "terminalID": "3"}))
    right = event_of(receipt({"storeID": "1", "terminalID": "2:3"}))
    assert left.id != right.id
    assert event_of(receipt({"storeID": "é/ü ~"})).id.startswith("~C3~A9~2F~C3~BC~20~7E:3:")


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_escaped_identities_are_injective(left: str, right: str) -> None:
    """Whatever two ids look like, equal identities mean equal ids; and they are fit for a URL path."""
    from streams.receipts import _escape

    assert (_escape(left) == _escape(right)) == (left == right)
    assert not set(_escape(left)) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~")


UNKNOWN = [
    {"extra": {"nested": [1, 2.5, None, "é"]}},
    {"lines.0.extra": "kept"},
    {"extra": {"a.b": 1}},
    {"extra": {"$set": {"x": 1}}},
    {"extra": {"": 1, "nul\0": 2}},
    {"extra": 2**70},
    {"extra": {"deep": json.loads("[" * 150 + "]" * 150)}},
    {"documentTotal.extra": 0.1, "settlements.1.tip": "0.50"},
]


@pytest.mark.parametrize("changes", UNKNOWN, ids=lambda changes: str(changes)[:30])
def test_unknown_fields_are_kept(changes: dict[str, object]) -> None:
    """Whatever else a till sends is in the stored event, as it came."""
    value = receipt(changes)
    event = event_of(value)
    stored = json.loads(event.line if event.document is None else msgspec.json.encode(event.document))
    assert stored.pop("receivedTime") == RECEIVED
    assert stored == value


@pytest.mark.parametrize(
    "raw",
    [b'"extra": 1e999', b'"extra": 123456789012345678901234567890.5', b'"extra": {"x": 0.12345678901234567890}'],
)
def test_numbers_that_a_float_would_change_are_kept_as_text(raw: bytes) -> None:
    """Where plain values would not be faithful, the line itself is stored."""
    event = event_of(b"{" + raw + b"," + json.dumps(SAMPLE).encode()[1:])
    assert event.document is None
    assert raw in event.line


HUGE = "9" * 20


@pytest.mark.parametrize(
    "extra",
    [
        {"lines.0.productDescription": f"1234567890123456e{HUGE}", "note": "x"},
        {"lines.0.productDescription": f"1234567890123456.1e{HUGE}", "documentTotal.grossTotal": 1.1234567},
        {"u": f"@1234567890123456e-{HUGE}@"},
        {"u_": f"@1e{HUGE}@"},
        {"u_": f"@1e-{HUGE}@"},
        {"u": f"@1e{HUGE}@", "receivedTime": 1},
        {"u": "@-0.0@", "documentTotal.x": "@-0.0@"},
    ],
    ids=lambda extra: str(extra)[:40],
)
def test_absurd_exponents_are_no_danger(extra: dict[str, object]) -> None:
    """Numbers that even Decimal cannot hold, in texts and unknown fields: accepted, and readable."""
    raw = json.dumps(receipt(extra)).replace('"@', "").replace('@"', "").encode()
    line = STREAM.accept(raw, RECEIVED)
    event = STREAM.parse(line)
    stored = line if event.document is None else msgspec.json.encode(event.document)
    assert STREAM.parse(stored).hash == event.hash


@pytest.mark.parametrize("text", [f"1e-{HUGE}", f"0e{HUGE}", f"0.0E-{HUGE}", f'"1e-{HUGE}"'])
def test_an_amount_with_an_absurd_exponent_is_refused_by_name(text: str) -> None:
    """What would be 0 as a float and nothing as a decimal is accepted by neither check."""
    raw = json.dumps(receipt({"documentTotal.grossTotal": "@@"})).replace('"@@"', text).encode()
    assert refusal(raw).field == "$.documentTotal.grossTotal"


@pytest.mark.parametrize(
    "text", ["1\\u005f0", "5.9\\n", "\\t5.9", "\\u00a05.9", "5 .9", "- 5", "  ", "\\uff15.9", "0x10", "5,9", "+-5"]
)
def test_amounts_as_text_are_what_json_would_take(text: str) -> None:
    """No underscores, other white space or other scripts' digits, however they are written."""
    raw = json.dumps(receipt({"lines.1.unitPrice": "@@"})).replace("@@", text).encode()
    assert refusal(raw).field == "$.lines[1].unitPrice"


@pytest.mark.parametrize("text", [" 2.41", "2.41 ", "  +2.410  ", "\\u00202.41", " 241e-2 "])
def test_spaces_around_an_amount_do_not_matter(text: str) -> None:
    """An amount as text is the same one, exactly, whatever spaces are around it."""
    raw = json.dumps(receipt({"lines.1.settlementAmount": "@@"})).replace("@@", text).encode()
    assert event_of(raw).hash == event_of(SAMPLE).hash
    assert event_of(raw).facts == event_of(SAMPLE).facts


@pytest.mark.parametrize("received", [-1, 1e18, 1e300])
def test_a_foreign_frame_cannot_stamp_an_absurd_time(received: float) -> None:
    """`receivedTime` is epoch seconds of a year that a clock can show."""
    line = json.dumps(receipt({"receivedTime": received})).encode()
    with pytest.raises(InvalidEventError, match="receivedTime"):
        STREAM.parse(line)


def test_content_with_an_unreadable_unknown_field_is_still_compared_by_meaning() -> None:
    """White space and the type of an id do not make a conflict of a repetition."""
    raw = json.dumps(receipt({"u": "@@"})).replace('"@@"', "1e999")
    other = json.dumps(receipt({"u": "@@", "storeID": "612"}), indent=1).replace('"@@"', "1e999")
    assert event_of(raw.encode()).hash == event_of(other.encode()).hash
    assert event_of(raw.replace("1e999", "1e998").encode()).hash != event_of(raw.encode()).hash


def test_a_client_that_stamps_received_time_is_overruled() -> None:
    """`receivedTime` is ours; its neighbours keep their digits."""
    raw = json.dumps(receipt({"receivedTime": "x"})).encode().replace(b"24.12", b"24.120")
    line = STREAM.accept(json.dumps(receipt({"receivedTime": 7})).encode().replace(b"24.12", b"24.120"), RECEIVED)
    assert line.count(b"receivedTime") == 1
    assert b"24.120" in line
    assert refusal(raw).field == "$.receivedTime"


def test_pretty_printed_json_becomes_one_line() -> None:
    """A frame holds an event a line, however it was sent."""
    line = STREAM.accept(("\n  " + json.dumps(SAMPLE, indent=2)).encode(), RECEIVED)
    assert b"\n" not in line
    assert STREAM.parse(line).hash == event_of(SAMPLE).hash


def nested(depth: int) -> bytes:
    """The sample with an unknown field of brackets in brackets."""
    return (json.dumps(SAMPLE)[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}").encode()


def test_nesting_without_bound_is_refused() -> None:
    """A bracket bomb is an error, not a crash."""
    assert isinstance(refusal(nested(100_000)), UndecodableEventError)
    assert event_of(receipt({"text": "[" * 5000})).document is not None


def test_what_was_accepted_can_be_read_deeper_in_the_stack() -> None:
    """No nesting is accepted by one process and unreadable for another, however deep in calls that one stands."""

    def deeper(calls: int, line: bytes) -> Event:
        return deeper(calls - 1, line) if calls else STREAM.parse(line)

    accepted = 0
    for depth in range(100, 1000, 100):
        try:
            line = STREAM.accept(nested(depth), RECEIVED)
        except UndecodableEventError:
            continue
        accepted += 1
        for calls in (0, 200, 500):
            assert deeper(calls, line).hash == STREAM.parse(line).hash
    assert accepted


@given(
    st.sampled_from(AMOUNTS),
    st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**9) - 2, 10**9 + 2, places=9),
)
def test_the_quick_check_accepts_what_the_full_one_does(path: str, amount: float | Decimal) -> None:
    """Two ways of checking amounts, one answer."""
    raw = json.dumps(receipt({path: "@@"})).replace('"@@"', f"{amount}").encode()
    if abs(Decimal(str(amount))) > 10**9:
        assert refusal(raw).field == as_json_path(path)
    else:
        assert event_of(raw).received == RECEIVED


def test_receipts_that_do_not_add_up_count_and_are_flagged() -> None:
    """The till's own total is the truth; more than a cent a line off is a metric, not a refusal."""
    for gross, mismatch in ((26.53, False), (26.55, False), (26.56, True), (20.0, True)):
        event = event_of(receipt({"documentTotal.grossTotal": gross}))
        assert event.facts.mismatch is mismatch
        assert event.facts.revenue == round(Decimal(str(gross)) * 10_000)


@pytest.mark.parametrize(
    ("names", "categories"),
    [(["Pain", "Menu", "Pain"], ("Pain", "Menu")), (["", "a\0b", "", "A"], ("", "a\0b", "A")), ([], ())],
)
def test_an_event_knows_what_people_look_for(names: list[str], categories: tuple[str, ...]) -> None:
    """Its amount is the revenue; its categories are there once each, as they first appeared."""
    lines = [{**SAMPLE["lines"][0], "productCategoryName": name} for name in names]
    event = event_of(receipt({"lines": lines, "documentTotal.grossTotal": -99.00005}))
    assert (event.amount, event.categories) == (-99_0000, categories)
    assert event.time == 1_795_000_000.0


def test_a_fold_counts_everything_once() -> None:
    """Every table of a day has its share of a receipt."""
    tally = Tally()
    event = event_of(receipt({"documentTotal.grossTotal": 99}))
    STREAM.fold(tally, event, RECEIVED + 0.5)
    day = tally.days["2026-11-18"]
    assert day.tables == {
        "total": {"": [99_0000, 1]},
        "categories": {"Menu": [24_1200, 3_0000, 1], "Pain": [2_4100, 2_0000, 1]},
        "stores": {"612": [99_0000, 1]},
        "payments": {"CB": [20_0000, 1], "Especes": [6_5300, 1]},
        "minutes": {"11:06": [1, 99_0000]},
        "received": {"late": [1, 99_0000]},
        "flags": {"totals": [1]},
    }
    assert (day.delays["system"].count, day.delays["system"].total) == (1, 500_000)
    assert tally.seconds[int(RECEIVED)][:2] == [1, 500_000]


def test_only_receipts_of_about_now_have_a_minute_of_reception() -> None:
    """Those that come more than a day before or after their date share one row, which pages do not show."""
    tally = Tally()
    date = 1_795_000_000
    for received in (date - 86_401, date - 86_400, date + 60, date + 86_400, date + 86_401, date + 10**8):
        event = STREAM.parse(STREAM.accept(json.dumps(SAMPLE).encode(), float(received)))
        STREAM.fold(tally, event, received + 0.5)
    rows = tally.days["2026-11-18"].tables["received"]
    assert {key: row[0] for key, row in rows.items()} == {
        "late": 3,
        **{str((date + apart) // 60): 1 for apart in (-86_400, 60, 86_400)},
    }
    shown = STREAM.received("2026-11-18", tally.days["2026-11-18"])
    assert [row[0] for row in shown.values()] == [1]


def test_a_day_with_too_many_names_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted together under a name of their own, and the day names the table."""
    monkeypatch.setattr("analytics.tally.MOST_KEYS", 3)
    tally = Tally()
    lines = [{**SAMPLE["lines"][0], "productCategoryName": f"c{n}", "settlementAmount": 1} for n in range(8)]
    STREAM.fold(tally, event_of(receipt({"lines": lines})), RECEIVED)
    day = tally.days["2026-11-18"]
    day.bound()
    said = STREAM.summary("2026-11-18", day)
    assert said["overflow"] == ["categories"]
    assert list(said["categories"])[-1] == "(others)"
    assert len(said["categories"]) == 4
    assert sum(row["lines"] for row in said["categories"].values()) == 8


def test_returns_are_counted_as_they_are() -> None:
    """Negative amounts and quantities take away."""
    tally = Tally()
    STREAM.fold(tally, event_of(SAMPLE), RECEIVED)
    back = {
        "cashReceiptID": 2,
        "documentTotal.grossTotal": -26.53,
        "lines.0.settlementAmount": -24.12,
        "lines.0.quantity": -3,
    }
    STREAM.fold(tally, event_of(receipt(back)), RECEIVED)
    day = tally.days["2026-11-18"]
    assert day.tables["total"][""] == [0, 2]
    assert day.tables["categories"]["Menu"] == [0, 0, 2]


def test_arrivals_are_told_by_the_local_minute_of_that_day() -> None:
    """What arrives on another day is left out; of the hour that comes twice in autumn both minutes count."""
    stream = ReceiptStream(ZoneInfo("Europe/Paris"))
    first, second = 1792888200, 1792891800  # 02:30 in summer time, and an hour later 02:30 again
    day = DayTally()
    for moment, count, amount in ((first, 2, 5_0000), (second, 1, 1_0000), (second + 86_400, 9, 9_0000)):
        day.add("received", str(moment // 60), count, amount)
    assert stream.received("2026-10-25", day) == {"02:30": [3, 6_0000]}
    assert json.loads(msgspec.json.encode(stream.summary("2026-10-25", day)))["received"] == {
        "02:30": {"count": 3, "sum": 6.0}
    }


def test_a_summary_speaks_in_decimals() -> None:
    """Amounts are JSON numbers with two digits, quantities as long as they need be."""
    tally = Tally()
    STREAM.fold(tally, event_of(receipt({"lines.0.quantity": 1.25})), RECEIVED)
    text = msgspec.json.encode(STREAM.summary("2026-11-18", tally.days["2026-11-18"]))
    assert b'"sum":26.53,"count":1' in text
    assert b'"Menu":{"sum":24.12,"quantity":1.25,"lines":1}' in text
    assert b'"CB":{"sum":20.00,"count":1}' in text
    assert json.loads(msgspec.json.encode(STREAM.summary("2026-11-19", DayTally())))["sum"] == 0


@given(st.floats(min_value=-1e9, max_value=1e9, allow_nan=False))
def test_amounts_survive_storing_as_documents(amount: float) -> None:
    """Whatever double a till sends, the stored document reads back to an equal event."""
    event = event_of(receipt({"documentTotal.grossTotal": amount, "lines.0.quantity": amount}))
    if event.document is not None:
        again = STREAM.parse(msgspec.json.encode(event.document))
        assert (again.hash, again.facts) == (event.hash, event.facts)
    assert math.isclose(event.facts.revenue, amount * 10_000, abs_tol=0.51)


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=None))
def test_decimal_literals_survive_storing_as_documents(amount: Decimal) -> None:
    """Literals longer than a double are stored in a form that keeps them."""
    raw = json.dumps(receipt({"documentTotal.grossTotal": "@@"})).replace('"@@"', f"{amount}").encode()
    event = event_of(raw)
    if event.document is not None:
        again = STREAM.parse(msgspec.json.encode(event.document))
        assert (again.hash, again.facts) == (event.hash, event.facts)


NARROW = ReceiptStream(ZoneInfo("Europe/Paris"), DateWindow(past_days=3650, future_days=2))
NOON = 1_763_722_800.0  # 2025-11-21 12:00:00 in Paris


@pytest.mark.parametrize(
    ("date", "setting"),
    [
        ("2025-11-23 12:00:00", ""),
        ("2025-11-23 12:00:01", "at most 2 days ahead (TILLSTREAM_FUTURE_DAYS), got 2025-11-23"),
        ("2025-11-23T11:00:01Z", "at most 2 days ahead (TILLSTREAM_FUTURE_DAYS), got 2025-11-23"),
        ("9999-12-31 23:59:59", "at most 2 days ahead (TILLSTREAM_FUTURE_DAYS), got 9999-12-31"),
        ("2015-11-24 12:00:00", ""),
        ("2015-11-24 11:59:59", "at most 3,650 days ago (TILLSTREAM_PAST_DAYS), got 2015-11-24"),
        ("2001-01-01 00:00:00", "at most 3,650 days ago (TILLSTREAM_PAST_DAYS), got 2001-01-01"),
        ("1000-01-01 00:00:00", "at most 3,650 days ago (TILLSTREAM_PAST_DAYS), got 1000-01-01"),
    ],
)
def test_a_date_too_far_from_its_reception_is_refused_and_says_which_setting_allows_it(date: str, setting: str) -> None:
    """The limits themselves are taken; a second further is not."""
    raw = json.dumps(receipt({"date": date})).encode()
    if not setting:
        assert NARROW.accept(raw, NOON)
        return
    with pytest.raises(InvalidEventError) as caught:
        NARROW.accept(raw, NOON)
    assert (caught.value.field, caught.value.expected) == ("$.date", f"expected a date {setting}")


def test_what_was_accepted_is_read_however_long_its_frame_waited() -> None:
    """A worker with narrower limits, or years later, reads every line that an entrypoint accepted."""
    line = event_of(receipt({"date": "2001-01-01 00:00:00"})).line
    assert NARROW.parse(line).day == "2001-01-01"


@pytest.mark.parametrize("offset", ["+0100", "+01:00"])
def test_the_colon_of_an_offset_may_be_left_out(offset: str) -> None:
    """`+0100` is `+01:00`; hours alone are refused, as are offsets that do not exist."""
    assert event_of(receipt({"date": f"2026-11-18T12:06:40{offset}"})).hash == event_of(SAMPLE).hash
    for other in ("+01", "+1", "+010", "+01:0", "+99:99", "+9999"):
        assert refusal(receipt({"date": f"2026-11-18T12:06:40{other}"})).field == "$.date"
