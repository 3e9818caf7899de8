"""`tillstream watch`: what is published on `count`, `categories` and `metrics`, as it comes."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from broker.protocol import Consumer, Delivery
from cli.listening import listening
from cli.options import takes_settings
from cli.settings import Settings
from dashboard import DashboardConfig, Feed, Snapshot, bindings
from dashboard.messages import Delays, WorkerShare
from dashboard.moments import Moments
from dashboard.view import common, today
from runtime import run

#: Our queue at the broker; a pipe that is read slowly loses the oldest, not the newest.
QUEUE_LENGTH = 200
#: A message with more numbers than this is told by how many it has: a thousand stores are no line to read.
LEAVES_A_LINE = 16
#: Workers named in the table.
BUSIEST_SHOWN = 3
#: How often the table is drawn anew, so that silence shows, too.
DRAWINGS_A_SECOND = 2
_WORD = re.compile(r"[\w.:/+-]+")


@takes_settings("data", "broker", "timezone", "currency")
def watch(
    settings: Settings,
    stream: Annotated[str, typer.Option(help="Name of the stream.")] = "receipts",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every message: exchange, key and body, one JSON object a line.")
    ] = False,
) -> None:
    """Show what the totals publish every second: a live table on a terminal, lines into a pipe.

    A line is printed when a message says something else than the one before it. On the embedded broker this attaches
    to the `tillstream up` that uses the same data folder. End it with Ctrl-C.
    """
    run(_watch(settings, stream, as_json=as_json))


async def _watch(settings: Settings, stream: str, *, as_json: bool) -> None:
    console = Console(highlight=False)
    # Somebody looks at it and is told at once: unlike a service it is not started together with its broker.
    async with listening(settings, "watch", wait=0) as broker:
        consumer = await broker.subscribe("watch", bindings(stream), max_length=QUEUE_LENGTH)
        try:
            if as_json:
                await _print_lines(consumer, JsonLines())
            elif console.is_terminal and not console.is_dumb_terminal:
                await _draw(consumer, console, settings, stream)
            else:
                await _print_lines(consumer, PlainLines())
        finally:
            await consumer.close()


class JsonLines:
    """Every message as one JSON object on one line; numbers keep their digits."""

    def line(self, delivery: Delivery) -> str | None:
        """The line."""
        try:
            body: Any = msgspec.Raw(msgspec.json.format(delivery.body, indent=-1))
        except msgspec.DecodeError:
            body = delivery.body.decode("utf-8", "backslashreplace")
        content = {"exchange": delivery.exchange, "key": delivery.routing_key, "body": body}
        return msgspec.json.encode(content).decode()


class PlainLines:
    """Each message that says something new, as `exchange key name=value …`."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[str, Any]] = {}

    def line(self, delivery: Delivery) -> str | None:
        """The line; None if nothing changed but the time and the revision. A new epoch is news: the store was
        restored."""
        where = (delivery.exchange, delivery.routing_key)
        try:
            body = json.loads(delivery.body, parse_float=Decimal)
        except ValueError:
            body = delivery.body.decode("utf-8", "backslashreplace")
        if not isinstance(body, dict):
            body = {"body": body}
        moment, revision = body.pop("asOf", None), body.pop("revision", None)
        epoch = body.pop("epoch", "")
        text = _flat(body)
        if self._last.get(where) == (text, epoch):
            return None
        self._last[where] = (text, epoch)
        store = f" epoch={_word(str(epoch))}" if epoch else ""
        return f"{' '.join(where)} {text} revision={revision} asOf={moment}{store}"


async def _print_lines(consumer: Consumer, lines: JsonLines | PlainLines) -> None:
    async for delivery in consumer:
        if (line := lines.line(delivery)) is not None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()  # a reader at the other end of a pipe is waiting for it


async def _draw(consumer: Consumer, console: Console, settings: Settings, stream: str) -> None:
    feed = Feed(stream)

    async def listen() -> None:
        async for delivery in consumer:
            feed.take(delivery.exchange, delivery.routing_key, delivery.body)

    listener = asyncio.create_task(listen(), name="watch")
    try:
        with Live(table(feed, settings), console=console, auto_refresh=False) as live:
            while not listener.done():
                await asyncio.wait({listener}, timeout=1 / DRAWINGS_A_SECOND)
                live.update(table(feed, settings), refresh=True)
        await listener
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def table(feed: Feed, settings: Settings) -> RenderableType:
    """What is known now, for a terminal."""
    snapshot = feed.latest
    config = DashboardConfig(timezone=settings.timezone, currency=settings.currency)
    moment = Moments(config, feed).current
    page, head = today(moment), common(moment)
    top = Text(f"{feed.stream}  {head.day}  {settings.timezone}  updated {head.updated}", style="bold")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(justify="right")
    rows.add_column(style="dim")
    rows.add_row("revenue", Text(page.revenue, style="bold"), "")
    rows.add_row("receipts", page.receipts, f"{page.basket} on average")
    rows.add_row("last minute", page.pace, page.speed)
    for name, first, rest in _delay_rows(snapshot):
        rows.add_row(name, first, rest)
    if engine := snapshot.engine:
        waiting, dead = _number(engine.queue_depth), _number(engine.dead_letters)
        rows.add_row("writers", str(engine.writers), f"lag {engine.lag:,}, waiting frames {waiting}, dead {dead}")
        rows.add_row("workers", _number(engine.consumers), _busiest(engine.workers))
    rows.add_row("revision", f"{snapshot.count.revision:,}" if snapshot.count else "–", "")  # noqa: RUF001 - a dash
    categories = Table.grid(padding=(0, 2))
    categories.add_column()
    categories.add_column(justify="right")
    categories.add_column(justify="right", style="dim")
    for bar in page.bars:
        categories.add_row(Text(_printable(bar.name)), bar.amount, bar.share)
    parts: list[RenderableType] = [top]
    if head.notice:
        parts.append(Text(head.notice.text, style="bold red" if head.notice.alarm else "yellow"))
    return Group(*parts, "", rows, "", categories)


def _busiest(workers: Sequence[WorkerShare]) -> Text:
    shown = [f"{_printable(one.worker)} {one.share:.0%}" for one in workers[:BUSIEST_SHOWN]]
    more = [f"{len(workers) - BUSIEST_SHOWN} more"] if len(workers) > BUSIEST_SHOWN else []
    return Text(", ".join(shown + more))


def _delay_rows(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    if snapshot.delay is None:
        return
    for name, delays in (
        ("till to store", snapshot.delay.connection_delay),
        ("entrypoint to store", snapshot.delay.network_delay),
    ):
        yield name, _seconds(delays.mean), _spread(delays)
    if (recent := snapshot.delay.recent) is not None and recent.network_delay.mean is not None:
        for name, delays in (("till", recent.connection_delay), ("entrypoint", recent.network_delay)):
            yield f"{name}, last {recent.seconds} s", _seconds(delays.mean), _spread(delays)


def _spread(delays: Delays) -> str:
    return f"p50 {_seconds(delays.p50)}, p99 {_seconds(delays.p99)}, max {_seconds(delays.max)}"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{value * 1000:,.0f} ms" if abs(value) < 10 else f"{value:,.0f} s"


def _flat(body: dict[str, Any]) -> str:
    """`name=value` of every number and text inside, or how many there are."""
    words = []
    for name, value in body.items():
        leaves = list(_leaves(name, value))
        if len(leaves) > LEAVES_A_LINE and isinstance(value, dict | list):
            words.append(f"{_word(name)}={len(value)} entries")
        else:
            words += [f"{path}={text}" for path, text in leaves]
    return " ".join(words)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, start=1):
            yield from _leaves(f"{path}.{number}", inner)
    else:
        yield _word(path), _word(value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else json.dumps(value)


def _word(text: str) -> str:
    """A name as one word that no terminal takes for a command."""
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)
