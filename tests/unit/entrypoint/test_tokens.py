"""Tokens files: what counts as a token, and when the file is looked at again."""

from pathlib import Path

import pytest

from entrypoint.problems import ProblemError
from entrypoint.tokens import CHECK_SECONDS, Tokens


def let_in(tokens: Tokens, authorization: str | None) -> bool:
    """Whether a header opens the door."""
    try:
        tokens.check(authorization)
    except ProblemError:
        return False
    return True


def test_a_token_with_its_name_is_told_to_be_sent_without(tmp_path: Path) -> None:
    """A line of the file is easily taken for the token."""
    path = tmp_path / "tokens"
    path.write_text("till-1:named\n")
    with pytest.raises(ProblemError, match="send only what is behind the colon"):
        Tokens(path).check("Bearer till-1:named")


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer bare", True),
        ("bearer  bare ", True),
        ("Bearer named", True),
        ("Bearer with:colon", True),
        ("Bearer # no", False),
        ("Bearer till-1", False),
        ("Bearer till-1:named", False),
        ("Bearer ", False),
        ("bare", False),
        ("Bearer \udcff", False),
        ("", False),
        (None, False),
    ],
)
def test_what_opens_the_door(tmp_path: Path, authorization: str | None, expected: bool) -> None:
    """A token, named or bare; never a name, a comment or nothing."""
    path = tmp_path / "tokens"
    path.write_text("# no\n\n  bare  \ntill-1: named\ntill-2:with:colon\nempty:\n")
    assert let_in(Tokens(path), authorization) is expected


def test_the_file_is_looked_at_again_after_a_second_and_not_before(tmp_path: Path) -> None:
    """Revoking a token takes at most that long; a request between costs no look at the disk."""
    path = tmp_path / "tokens"
    path.write_text("first\n")
    now = 100.0
    tokens = Tokens(path, clock=lambda: now)
    path.write_text("second\n")
    now += CHECK_SECONDS / 2
    assert let_in(tokens, "Bearer first")
    now += CHECK_SECONDS
    assert not let_in(tokens, "Bearer first")
    assert let_in(tokens, "Bearer second")


def test_a_file_that_was_emptied_lets_nobody_in(tmp_path: Path) -> None:
    """Taking all tokens out is meant; a file that is gone is a mistake, and keeps those that it had."""
    path = tmp_path / "tokens"
    path.write_text("first\n")
    now = 0.0
    tokens = Tokens(path, clock=lambda: now)
    path.unlink()
    now += 2 * CHECK_SECONDS
    assert let_in(tokens, "Bearer first")
    path.write_text("")
    now += 2 * CHECK_SECONDS
    assert not let_in(tokens, "Bearer first")
    assert len(tokens) == 0


@pytest.mark.parametrize(
    ("content", "inside", "outside"),
    [
        ("\ufeff# old: revoked\nshop: live\n", ["live"], ["revoked"]),
        ("\ufefffirst\nshop: live\n", ["first", "live"], ["\ufefffirst"]),
        ("one\n\ufeff# old: revoked\n\ufeff two\r\n", ["one", "two"], ["revoked"]),
    ],
    ids=["comment", "token", "in the middle"],
)
def test_a_byte_order_mark_is_no_part_of_a_token_or_comment(
    tmp_path: Path, content: str, inside: list[str], outside: list[str]
) -> None:
    """Editors put one at the beginning of a file; `cat` of two files puts one into the middle."""
    path = tmp_path / "tokens"
    path.write_text(content, "utf-8")
    tokens = Tokens(path)
    assert [let_in(tokens, f"Bearer {token}") for token in inside] == [True] * len(inside)
    assert [let_in(tokens, f"Bearer {token}") for token in outside] == [False] * len(outside)
