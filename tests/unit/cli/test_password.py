"""`tillstream password`: asked on a terminal, or read from a pipe."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from dashboard.passwords import parse

ROOT = Path(__file__).parents[3]


def piped(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a line on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "password", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def typed(*answers: str) -> tuple[int, str]:
    """Run the command on a terminal and answer each question; its exit code and all that was on the screen."""
    pid, terminal = pty.fork()
    if pid == 0:  # the child
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "cli.main", "password", "anna"])
    screen = b""
    waiting = [*answers]
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the child has closed it
            break
        if not read:
            break
        screen += read
        if waiting and screen.rstrip(b" ").endswith((b"Password:", b"again:")):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), screen.decode()


def test_a_line_of_a_pipe_becomes_a_line_of_the_file() -> None:
    """Nothing but the line is printed, and the password fits it."""
    done = piped("correct horse\n", "anna")
    assert (done.returncode, done.stderr) == (0, "")
    assert parse(done.stdout)["anna"].matches("correct horse")


def test_what_cannot_be_is_said_in_one_line() -> None:
    """A short password, and a name that would break the file."""
    for text, name, says in (("short\n", "anna", "at least 8"), ("correct horse\n", "an:na", "a name is")):
        done = piped(text, name)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_on_a_terminal_it_is_asked_for_twice_and_never_shown() -> None:
    """The two have to be the same."""
    code, screen = typed("correct horse", "correct horse")
    assert code == 0
    assert "correct horse" not in screen
    assert parse(screen.splitlines()[-1])["anna"].matches("correct horse")
    code, screen = typed("correct horse", "correct house")
    assert code == 2
    assert "differ" in screen
    assert "scrypt" not in screen
