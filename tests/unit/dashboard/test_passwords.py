"""Who may log in: the file of users, its lines, and how passwords are compared."""

import os
from pathlib import Path

import pytest

from dashboard.passwords import Hashed, Users, line, parse
from streams.errors import ConfigurationError

CHEAP = "scrypt$2$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "="


def test_a_line_matches_its_password_and_no_other() -> None:
    """What is printed for a password is read back; the password itself is nowhere in it."""
    written = line("anna", "correct horse")
    assert "correct horse" not in written
    hashed = parse(written)["anna"]
    assert str(hashed) == written.partition(":")[2]
    assert hashed.matches("correct horse")
    assert not hashed.matches("correct horsf")
    assert not hashed.matches("x" * 2000)


def test_a_password_of_an_earlier_release_still_counts() -> None:
    """Its line names its own parameters; new ones take three times as long to try."""
    earlier = parse("anna:scrypt$32768$8$1$c2l4dGVlbiBieXRlcyBvaw==$+bhtD6ySZLGRazBZuJIg0K9pLCZGxxy7Cyo7FK27JEo=")[
        "anna"
    ]
    assert earlier.matches("correct horse")
    assert not earlier.matches("correct horsf")
    assert Hashed.of("correct horse").parallel == 3 * earlier.parallel


def test_two_users_with_one_password_have_different_lines() -> None:
    """Each has a salt of its own."""
    assert line("a", "correct horse") != line("a", "correct horse")


def test_a_password_is_the_same_on_another_keyboard() -> None:
    """Unicode can write one letter in two ways."""
    assert Hashed.of("caf\u00e9 au lait").matches("cafe\u0301 au lait")


@pytest.mark.parametrize("name", ["", "an na", "an:na", "#anna", "a" * 65, "an\nna"])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    """Neither colons nor spaces nor comments."""
    with pytest.raises(ConfigurationError, match="a name is"):
        line(name, "correct horse")


def test_a_short_password_is_refused() -> None:
    """Seven characters are guessed."""
    with pytest.raises(ConfigurationError, match="at least 8"):
        line("anna", "1234567")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("anna", "line 1: expected name:scrypt"),
        ("\n# x\nanna:secret", "line 3: expected name:scrypt"),
        ("anna:" + CHEAP.replace("scrypt", "bcrypt"), "line 1: expected a hash by scrypt"),
        ("anna:" + CHEAP.replace("$2$", "$3$"), "line 1: scrypt's parameters"),
        ("anna:" + CHEAP.replace("$2$8$", "$1073741824$8$"), "line 1: scrypt's parameters"),
        ("anna:" + CHEAP.replace("$8$1$", "$8$0$"), "line 1: scrypt's parameters"),
        (f"anna:{CHEAP}\nanna:{CHEAP}", "line 2: anna is there twice"),
        (f":{CHEAP}", "line 1: that is no name"),
        ("# nobody yet\n", "nobody is in it"),
    ],
)
def test_a_line_that_is_wrong_is_named(text: str, says: str) -> None:
    """Its number and what is expected, never what it holds; no line makes a try take all memory."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse(text)
    assert "secret" not in str(caught.value)


def test_who_is_not_there_costs_the_same_and_never_matches(tmp_path: Path) -> None:
    """The challenge of a stranger has the parameters of the others'."""
    (tmp_path / "users").write_text(f"anna:{CHEAP}\n")
    users = Users(tmp_path / "users")
    stranger = users.challenge("berta")
    assert (stranger.cost, stranger.blocks, stranger.parallel) == (2, 8, 1)
    assert not stranger.matches("correct horse")
    assert users.hashed("berta") is None


def test_strangers_cost_what_users_cost(tmp_path: Path) -> None:
    """Among hashes of several costs, a stranger has one of these, and the same each time."""
    (tmp_path / "users").write_text(f"anna:{CHEAP}\nberta:{CHEAP.replace('$8$1$', '$8$3$')}\n")
    users = Users(tmp_path / "users")
    names = [f"stranger{number}" for number in range(64)]
    costs = [users.challenge(name).parallel for name in names]
    assert set(costs) == {1, 3}
    assert [users.challenge(name).parallel for name in names] == costs


def test_a_change_of_the_file_counts_at_once(tmp_path: Path) -> None:
    """New users come in, those taken out do not."""
    file = tmp_path / "users"
    file.write_text(f"anna:{CHEAP}\n")
    users = Users(file)
    assert users.hashed("anna") is not None
    replace(file, f"berta:{CHEAP}\n")
    assert users.hashed("anna") is None
    assert users.hashed("berta") is not None


def test_a_file_that_is_broken_later_leaves_those_who_were_known(tmp_path: Path) -> None:
    """An editor's half-written file, or one that is gone for a moment, locks nobody out."""
    file = tmp_path / "users"
    file.write_text(f"anna:{CHEAP}\n")
    users = Users(file)
    replace(file, "anna:nonsense\n")
    assert users.hashed("anna") is not None
    file.unlink()
    assert users.hashed("anna") is not None
    replace(file, f"berta:{CHEAP}\n")
    assert users.hashed("anna") is None


def replace(file: Path, text: str) -> None:
    """Write a file as editors do: another one, put in its place."""
    other = file.with_suffix(".new")
    other.write_text(text)
    os.replace(other, file)


def test_a_byte_order_mark_is_no_part_of_a_name_or_comment(tmp_path: Path) -> None:
    """Editors put one at the beginning of the file."""
    path = tmp_path / "users"
    path.write_text(f"\ufeff{line('anna', 'a long password')}\n", "utf-8")
    assert Users(path).hashed("anna") is not None
    path.write_text(f"\ufeff# {line('bert', 'a long password')}\n{line('carla', 'a long password')}\n", "utf-8")
    users = Users(path)
    assert users.hashed("carla") is not None
    assert users.hashed("# bert") is None
