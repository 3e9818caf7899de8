"""`tillstream generate` and `tillstream post`: receipts made up or read from files, to a server or into a file."""

import re
import stat
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

import store as stores
from cli.feed_progress import Reached, shown
from cli.options import takes_settings
from cli.settings import Settings, setting
from feeds import (
    STANDARD,
    Copies,
    Counts,
    EventWriter,
    FileFormatError,
    Generator,
    GeneratorOptions,
    Sender,
    SenderOptions,
    run_feed,
    send_files,
    send_requests,
    send_stored,
)
from runtime import lines_of, masked, read_edited, run, stop_event
from streams.errors import ConfigurationError

T = TypeVar("T")

#: Receipts a second where neither a rate nor a burst is asked for: a chain of 1,000 stores at its busiest.
DEFAULT_RATE = 200.0
EXIT_INTERRUPTED = 130
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(text: str) -> float:
    """Seconds from `90`, `60s`, `5m`, `1.5h`. Raises typer.BadParameter."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise typer.BadParameter(f"expected a duration such as 60s, 5m or 1h, got {text!r}")
    return float(match[1]) * _UNIT_SECONDS[match[2] or "s"]


To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="TARGET", help="Server, such as http://127.0.0.1:3000 (default: --port of this machine)."
    ),
]
_SERVER = "Server; its /receipts unless a path is given. Default: http://127.0.0.1:<port setting>."
_TARGET = f"{_SERVER} Or a file (gzip if it ends in .gz), or - for standard output."
Token = Annotated[
    str | None, typer.Option("--token", help="Token to send (default: the first one in the tokens file, if set).")
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, max=1000, help="Requests under way at once.")]


@takes_settings("timezone", "tokens_file")
def generate(
    settings: Settings,
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="TARGET", help=_TARGET),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Receipts a second; 200 if there is no --burst either.", show_default=False),
    ] = None,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for", parser=duration, metavar="DURATION", help="How long, such as 60s or 5m; default: until Ctrl-C."
        ),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, help="Make so many receipts (copies come on top), as fast as they are taken.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed makes the same receipts; default: different ones.")
    ] = None,
    stores: Annotated[int, typer.Option(min=1, max=1_000_000, help="Stores, with four terminals each.")] = 1000,
    duplicates: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of receipts that are sent twice.")] = 0.0,
    conflicts: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share that is contradicted by another of its identity.")
    ] = 0.0,
    returns: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of returns: negative amounts.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Receipts in a request; 1 posts each by itself.")] = 1,
    concurrency: Concurrency = 32,
    token: Token = None,
) -> None:
    """Make receipts like those of a chain of bakeries and send them to a server, or write them as NDJSON.

    Examples: `tillstream generate --rate 200 --for 60s`, `tillstream generate --burst 10000 --batch 100 --to
    http://127.0.0.1:3000`, `tillstream generate --burst 100000 --seed 1 --to receipts.ndjson.gz`.
    """
    options = GeneratorOptions(
        seed=seed,
        stores=stores,
        timezone=settings.timezone,
        returns=returns,
        copies=Copies(duplicates=duplicates, conflicts=conflicts),
    )
    if rate is None and burst is None:
        rate = DEFAULT_RATE
    requests = Generator(options).requests(burst, batch)
    if to is not None and "://" not in to:
        run(_write(to, lambda writer: send_requests(writer, requests, rate=rate, for_s=for_s)))
        return
    total = min((n for n in (burst, rate * for_s if rate and for_s else None) if n is not None), default=None)
    sender = _sender(settings, to, token, concurrency)
    run(
        _send(
            sender,
            lambda: send_requests(sender, requests, rate=rate, for_s=for_s),
            lambda: Reached(sender.counts.settled, total),
            to_its_end=burst is not None and rate is None,
        )
    )
    _exit(sender)


@takes_settings("timezone", "tokens_file")
def post(
    settings: Settings,
    *,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="JSON or NDJSON, plain or gzip; - is standard input.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="URL", help=_SERVER)] = None,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Receipts in a request.")] = 500,
    concurrency: Concurrency = 4,
    token: Token = None,
    from_store: Annotated[
        str | None,
        typer.Option(
            "--from-store", metavar="URL", help="Send the receipts of this store instead: sqlite:PATH or mongodb://…"
        ),
    ] = None,
) -> None:
    """Send files of receipts: an object, an array of any size, or NDJSON, each also as gzip.

    Ends with what became of every receipt, also where the server takes none of them; the exit code is 1 if any was
    refused. Sending a file again is safe: what was taken before does not count twice. Receipts older than the server's
    TILLSTREAM_PAST_DAYS are refused: raise it there to send an old file.

    --from-store brings the receipts of a store home into which a worker wrote by mistake. Stop that worker first. The
    store is only read.
    """
    if bool(files) == (from_store is not None):
        raise ConfigurationError("post sends files, or the receipts of a store: name FILE… or --from-store URL")
    if from_store is not None:
        url = setting("store").read(from_store, "--from-store")
        _post_stored(settings, url, _sender(settings, to, token, concurrency), batch)
        return
    assert files is not None
    sizes = {name: _size(name) for name in files}
    total = None if None in sizes.values() else sum(size for size in sizes.values() if size)
    read: dict[str, int] = {}
    sender = _sender(settings, to, token, concurrency)
    problems = run(
        _send(
            sender,
            lambda: send_files(sender, files, batch=batch, progress=read.__setitem__),
            lambda: Reached(sum(read.values()), total),
            to_its_end=total is not None,  # files end; a pipe may not
        )
    )
    if problems:
        raise FileFormatError("; ".join(map(str, problems)))
    _exit(sender)


def _post_stored(settings: Settings, url: str, sender: Sender, batch: int) -> None:
    """Send the receipts of a store."""
    sent = run(_send_stored(settings, url, sender, batch))
    if sent == 0:
        typer.echo(f"{masked(url)} is empty")
    _exit(sender)


async def _send_stored(settings: Settings, url: str, sender: Sender, batch: int) -> int | None:
    from cli.roles import stream_of

    stream = stream_of(settings)
    store = await stores.connect(url, [stream], create=False)
    try:
        return await _send(
            sender,
            lambda: send_stored(sender, store, stream.name, batch=batch),
            lambda: Reached(sender.counts.settled, None),
            to_its_end=True,
        )
    finally:
        await store.close()


async def _send(
    sender: Sender,
    feed: Callable[[], Coroutine[Any, Any, T]],
    reached: Callable[[], Reached],
    *,
    to_its_end: bool = False,
) -> T | None:
    """Run a feed with its progress shown until it ends, fails or is interrupted; then say what became of it."""
    start = time.monotonic()
    try:
        with stop_event() as stop:
            async with sender, shown(sender.counts, reached):
                return await run_feed(sender, feed(), stop, to_its_end=to_its_end)
    finally:
        _report(sender.counts, time.monotonic() - start)


def _report(counts: Counts, seconds: float) -> None:
    """The counts, and the reasons of refusals."""
    rate = f", {counts.accepted / seconds:,.0f} a second" if counts.accepted and seconds > 1 else ""
    typer.echo(f"{counts.summary()} in {seconds:.1f} s{rate}")
    for line in counts.reason_lines():
        typer.echo(f"  {line}")


def _exit(sender: Sender) -> None:
    """Exit as an interrupted command does, or with 1 if not everything was accepted."""
    if sender.stopping:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not sender.counts.complete:
        raise typer.Exit(1)


async def _write(target: str, feed: Callable[[EventWriter], Coroutine[Any, Any, None]]) -> None:
    """Run a feed into a file or standard output; an interrupt ends it with a readable file."""
    writer = EventWriter(target)
    try:
        with writer:
            await feed(writer)
    except (FileFormatError, BrokenPipeError):  # how many of them are in it, nobody knows
        raise
    except BaseException:
        _report_written(writer)
        raise
    _report_written(writer)


def _report_written(writer: EventWriter) -> None:
    name = "standard output" if writer.target == STANDARD else writer.target
    typer.echo(f"{writer.written:,} written to {name}", err=True)


def _sender(settings: Settings, to: str | None, token: str | None, concurrency: int) -> Sender:
    """A sender to the address that was asked for, or to this machine's entrypoint."""
    if to is None:
        to = f"http://127.0.0.1:{settings.port}"
    if token is None and settings.tokens_file is not None:
        token = _first_token(settings.tokens_file)
    return Sender(SenderOptions(url=to, token=token, concurrency=concurrency))


def _first_token(path: Path) -> str:
    """The first token of a tokens file: `name:token` or the token alone, one a line."""
    try:
        lines = lines_of(read_edited(path))
    except ConfigurationError as exc:
        raise ConfigurationError(f"the tokens file {path} cannot be read: {exc}") from exc
    for _, line in lines:
        name, colon, token = line.partition(":")
        return token.strip() if colon else name
    raise ConfigurationError(f"the tokens file {path} holds no token")


def _size(name: str) -> int | None:
    """Bytes of a file, None for what has no size. Raises FileFormatError if there is none, before anything is sent."""
    if name == STANDARD:
        return None
    try:
        status = Path(name).stat()
    except OSError as exc:
        raise FileFormatError(f"{name}: {exc.strerror}") from exc
    if stat.S_ISDIR(status.st_mode):
        raise FileFormatError(f"{name}: is a folder")
    return status.st_size if stat.S_ISREG(status.st_mode) else None
