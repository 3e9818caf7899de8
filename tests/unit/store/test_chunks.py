"""Lists of ids cut for queries."""

import pytest

from store.chunks import MAX_BYTES, chunks


def test_a_query_holds_no_more_ids_than_its_number_and_its_bytes_allow() -> None:
    """Ids stay in order, none is lost, and every piece is as long as both bounds allow."""
    ids = [str(n) for n in range(10)]
    assert list(chunks(ids, 4)) == [ids[:4], ids[4:8], ids[8:]]
    assert list(chunks([], 4)) == []
    long = ["\N{CROISSANT}" * 128 + str(n) for n in range(6_000)]
    pieces = list(chunks(long, 10_000))
    assert [id for piece in pieces for id in piece] == long
    sizes = [sum(len(id.encode()) for id in piece) for piece in pieces]
    assert all(MAX_BYTES * 0.9 < size <= MAX_BYTES for size in sizes[:-1])


@pytest.mark.parametrize("id", ["x" * (MAX_BYTES + 1), "\ud800"])
def test_an_id_that_is_larger_than_a_query_stands_alone(id: str) -> None:
    """It is for the store to refuse it, and so is one that is no text."""
    assert list(chunks(["a", id], 1)) == [["a"], [id]]
