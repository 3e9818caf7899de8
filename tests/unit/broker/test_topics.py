"""Topic matching: a table of AMQP's edge cases, and a slow reference without any cleverness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.topics import matches, words


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("receipts", "receipts", True),
        ("receipts", "receipt", False),
        ("receipts", "receipts.rate", False),
        ("receipts.rate", "receipts", False),
        ("*", "receipts", True),
        ("*", "receipts.rate", False),
        ("*", "", False),
        ("#", "", True),
        ("#", "receipts", True),
        ("#", "receipts.rate.fast", True),
        ("", "", True),
        ("", "receipts", False),
        ("receipts", "", False),
        ("a.#", "a", True),
        ("a.#", "a.b", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b", False),
        ("#.a", "a", True),
        ("#.a", "b.c.a", True),
        ("#.a", "a.b", False),
        ("a.*", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("*.*", "a.b", True),
        ("*.*", "a", False),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.b.z", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.z.b", False),
        ("#.#", "", True),
        ("#.*", "", False),
        ("#.*", "a", True),
        ("*.#", "a", True),
        ("#.a.#", "x.a.y", True),
        ("#.a.#", "x.y", False),
        ("#.a.#.b", "a.a.b", True),
        ("#.a.b", "a.a.b", True),
        ("#.*.b.#.c", "a.b.b.d.c", True),
        ("*", ".", False),
        ("*.*", ".", True),
        ("a.*.b", "a..b", True),
        ("a.*", "a.", True),
        ("a.#", "a.", True),
        ("a", "a.", False),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("a#", "a.b", False),
        ("A", "a", False),
    ],
)
def test_table(pattern: str, key: str, expected: bool) -> None:
    """A pattern matches exactly the keys that AMQP says it does."""
    assert matches(pattern, key) is expected


def reference(pattern: list[str], key: list[str]) -> bool:
    """The definition, word by word: slow, and nothing to get wrong."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return any(reference(pattern[1:], key[taken:]) for taken in range(len(key) + 1))
    return bool(key) and pattern[0] in ("*", key[0]) and reference(pattern[1:], key[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=7),
    st.lists(st.sampled_from(["a", "b", ""]), max_size=7),
)
def test_agrees_with_the_definition(pattern: list[str], key: list[str]) -> None:
    """Matching agrees with the definition on any pattern and key."""
    joined_pattern, joined_key = ".".join(pattern), ".".join(key)
    assert matches(joined_pattern, joined_key) is reference(words(joined_pattern), words(joined_key))
