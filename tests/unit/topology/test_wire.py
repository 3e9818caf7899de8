import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.tuple_source import TupleDelivery
from topology.wire import PLAIN_BYTES, FrameTuple, TupleError, frame_values, packed, read_frame, unpacked


@given(st.binary(max_size=3 * PLAIN_BYTES))
def test_any_bytes_travel_as_ascii_text(body: bytes) -> None:
    """Bytes that are no UTF-8 come out as they went in, short and long ones."""
    text = packed(body)
    assert text.isascii()
    assert unpacked(text) == body


def test_long_bodies_are_deflated() -> None:
    """Similar receipts take less room than they do at home."""
    body = b'{"cashReceiptID": 1, "storeID": 612}\n' * 1000
    assert len(packed(body)) < len(body) / 10
    noise = os.urandom(PLAIN_BYTES * 2)
    assert len(packed(noise)) < len(noise) * 1.4


def test_a_frame_survives_as_a_tuple() -> None:
    """Id, headers and body are those that were delivered."""
    frame = FrameTuple(id="f" * 32, headers={"stream": "receipts", "schema": 1, "events": 2}, body=b"\xff\xfe\n{}")
    values = frame_values(TupleDelivery("1", frame, lambda *_: None, 0.0))
    assert all(isinstance(value, str) for value in values)
    assert read_frame(values) == frame


@pytest.mark.parametrize(
    "values",
    [[], ["id", "{}"], ["id", "{}", "b!"], ["id", "[]", "b"], ["id", "{", "b"], ["i", "{}", "q"], ["i", "{}", "zAA=="]],
)
def test_what_is_no_frame_is_refused(values: list[str]) -> None:
    """The error says what is wrong; it is one that the bolt expects."""
    with pytest.raises(TupleError):
        read_frame(values)
