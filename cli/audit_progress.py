"""Progress of an audit on a terminal: what is read, how many, and how many a second. Nothing where nobody looks."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from engine.audit_report import Progress as Told


@contextmanager
def audit_progress(console: Console | None = None) -> Iterator[Told]:
    """A function to be told of progress; its lines go to standard error, and only if that is a terminal.

    How many there are is not known before they are read, so the bars only show that something moves.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), _Count(), _Rate(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:

        def told(what: str, done: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=None)
            shown.update(tasks[what], completed=done)

        yield told


class _Count(ProgressColumn):
    """How many were read."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}")


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")
