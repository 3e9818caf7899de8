"""`tillstream rejected list|show|replay|discard`: what could not be counted, and what is done about it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import typer

from broker.errors import BrokerError
from cli.maintenance import BrokerInUseError, has_broker, opened_broker, opened_store, topology_of
from cli.options import takes_settings
from cli.rejected_choice import Chosen, chosen_by, some_needed
from cli.rejected_text import line, page, plain
from cli.roles import stream_of
from cli.settings import Settings
from engine import (
    DeadLetter,
    NotReplayedError,
    dead_letters,
    describe,
    discard_dead_letter,
    replay_dead_letter,
)
from engine import discard as discard_item
from engine import replay as replay_item
from engine.quarantine import REASONS, items
from runtime import run
from store.protocol import REJECTED_STATUSES, Rejected, RejectedSummary, Store
from streams import ConfigurationError, ReceiptStream, TillstreamError

app = typer.Typer(help="See what was rejected, and deal with it.", add_completion=False)

_Ids = Annotated[
    list[str] | None, typer.Option("--id", help="Only the item of this id; may be given several times.", metavar="ID")
]
_Reason = Annotated[str | None, typer.Option(help=f"Only these: {', '.join(REASONS)}.", metavar="REASON")]
_Since = Annotated[
    str | None,
    typer.Option(help="Only what was rejected since then: 2026-11-21, 2026-11-21T08:30, 3d.", metavar="TIME"),
]
_Before = Annotated[str | None, typer.Option(help="Only what was rejected before then.", metavar="TIME")]
_All = Annotated[bool, typer.Option("--all", help="All that are open, where no other condition is given.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
_SETTINGS = ("data", "broker", "store", "timezone")


@app.command("list")
@takes_settings(*_SETTINGS)
def list_rejected(
    settings: Settings,
    reason: _Reason = None,
    since: _Since = None,
    before: _Before = None,
    ids: _Ids = None,
    status: Annotated[
        str, typer.Option(help=f"Only these: {', '.join(REJECTED_STATUSES)}, or all.", metavar="STATUS")
    ] = "open",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    as_json: _Json = False,
) -> None:
    """List what was rejected, newest first; dead letters come before the others.

    One line each: id, when it was rejected first (of a dead letter: received), reason, status, and what is wrong.
    """
    if status not in (*REJECTED_STATUSES, "all"):
        raise ConfigurationError(f"--status: expected one of {', '.join(REJECTED_STATUSES)} or all, not {status!r}")
    chosen = chosen_by(
        settings, reason=reason, since=since, before=before, ids=ids, status=None if status == "all" else status
    )
    run(_list(settings, chosen, limit, as_json=as_json))


async def _list(settings: Settings, chosen: Chosen, limit: int, *, as_json: bool) -> None:
    shown, more = 0, False
    async with opened_store(settings) as store:
        async for item in _all(settings, store, chosen):
            if shown == limit:
                more = True
                break
            shown += 1
            typer.echo(msgspec.json.encode(describe(item)).decode() if as_json else line(item, settings.timezone))
    if more:
        typer.echo(f"there are more than these {shown}: --limit, --reason, --since, --before", err=True)
    elif not as_json:
        typer.echo(f"{shown} items" if shown != 1 else "1 item", err=True)


async def _all(settings: Settings, store: Store, chosen: Chosen) -> AsyncIterator[RejectedSummary]:
    """Dead letters as far as they can be seen, then what is in the store."""
    dead: dict[str, RejectedSummary] = {}
    in_use = False
    if chosen.dead_letters and has_broker(settings):
        try:
            queue = topology_of(settings).dead
            async with (
                opened_broker(settings, "rejected") as broker,
                dead_letters(broker, queue, stream_of(settings)) as letters,
            ):
                async for letter in letters:
                    dead[letter.item.id] = letter.item.summary()
                if (await broker.state(queue)).ready:
                    typer.echo(f"there are more dead letters than these {len(dead)}", err=True)
        except BrokerError as exc:
            if chosen.query.reason == "poison":
                raise
            in_use = isinstance(exc, BrokerInUseError)
            if not in_use:
                typer.echo(f"dead letters are not listed: {exc}", err=True)
    for item in sorted(dead.values(), key=lambda one: (one.first_seen, one.id), reverse=True):
        if chosen.has(item):
            yield item
    async for item in items(store, stream_of(settings), chosen.query, chosen.ids):
        if item.id not in dead:
            yield item
    if in_use:
        typer.echo("(dead letters are not listed while `tillstream up` runs; there are rarely any)", err=True)


@asynccontextmanager
async def _peeked(settings: Settings) -> AsyncIterator[AsyncIterator[DeadLetter]]:
    """The dead letters, to be looked at and given back."""
    async with (
        opened_broker(settings, "rejected") as broker,
        dead_letters(broker, topology_of(settings).dead, stream_of(settings)) as letters,
    ):
        yield letters


@app.command("show")
@takes_settings(*_SETTINGS)
def show_rejected(
    settings: Settings,
    id: Annotated[str, typer.Argument(help="Id of the item, as listed.")],
    raw: Annotated[bool, typer.Option("--raw", help="Print its bytes as they came, and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object.")] = False,
) -> None:
    """Show one item with its bytes and all that was done about it. Ends with 2 if there is none of that id."""
    item = run(_find(settings, id))
    if raw:
        typer.echo(item.body, nl=False)
    elif as_json:
        typer.echo(msgspec.json.encode(describe(item)).decode())
    else:
        typer.echo(page(item, settings.timezone))


async def _find(settings: Settings, id: str) -> Rejected:
    async with opened_store(settings) as store:
        kept = await store.rejected_item(stream_of(settings).name, id)
        if kept is not None and kept.reason != "poison":
            return kept
        if has_broker(settings):
            try:
                async with _peeked(settings) as letters:
                    async for letter in letters:
                        if letter.item.id == id:
                            return letter.item
            except BrokerError as exc:
                typer.echo(f"dead letters are not looked at: {exc}", err=True)
        if kept is not None:
            return kept
    raise TillstreamError(f"nothing of the id {plain(id)[:100]} was rejected")


@dataclass(slots=True)
class _Done:
    """What was done, and said as it was done."""

    done: int = 0
    left: int = 0
    seen: set[str] = field(default_factory=set)

    def did(self, item: RejectedSummary, text: str) -> None:
        self.done += 1
        self.seen.add(item.id)
        typer.echo(f"{item.id}  {text}")

    def leave(self, item: RejectedSummary, why: object) -> None:
        self.left += 1
        self.seen.add(item.id)
        typer.echo(f"{item.id}  left as it is: {plain(str(why))}")

    def finish(self, chosen: Chosen, did: str) -> None:
        """Say what came of it; ends with 1 if anything that was asked for was not done."""
        missing = [id for id in chosen.ids if id not in self.seen]
        for id in missing:
            typer.echo(f"{plain(id)[:100]}  nothing open of this id and these conditions")
        typer.echo(f"{self.done} {did}" + (f", {self.left} left as they are" if self.left else ""), err=True)
        if self.left or missing:
            raise typer.Exit(1)


@app.command("replay")
@takes_settings(*_SETTINGS)
def replay_rejected(
    settings: Settings,
    reason: _Reason = None,
    since: _Since = None,
    before: _Before = None,
    ids: _Ids = None,
    everything: _All = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish also what is going to be rejected again; only with --id.")
    ] = False,
) -> None:
    """Publish open items once more, each in a frame of its own; the workers count what they can read now.

    Something that would be rejected again is left as it is, and said: a receipt that contradicts a stored one (the
    first one wins), or one that can still not be read. Dead letters are put back whole. Doing it twice counts nothing
    twice. Ends with 1 if anything was left.
    """
    chosen = chosen_by(settings, reason=reason, since=since, before=before, ids=ids)
    some_needed(chosen, everything=everything)
    if force and not chosen.ids:
        raise ConfigurationError("--force needs the items to be named: --id")
    run(_replay(settings, chosen, force=force))


async def _replay(settings: Settings, chosen: Chosen, *, force: bool) -> None:
    done = _Done()
    stream = stream_of(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings))
        broker = await stack.enter_async_context(opened_broker(settings, "rejected replay"))
        if chosen.dead_letters:
            letters = await stack.enter_async_context(dead_letters(broker, topology_of(settings).dead, stream))
            async for letter in _unseen(letters, chosen, done):
                await replay_dead_letter(store, broker, letter)
                done.did(letter.item, f"replayed whole, frame {letter.item.source}")
        async for item in items(store, stream, chosen.query, chosen.ids):
            if item.id in done.seen:
                continue
            try:
                step = await replay_item(store, broker, stream, item, force=force)
            except NotReplayedError as exc:
                done.leave(item, exc)
            else:
                done.did(item, f"replayed in frame {step.frame}")
    done.finish(chosen, "replayed")


async def _unseen(letters: AsyncIterator[DeadLetter], chosen: Chosen, done: _Done) -> AsyncIterator[DeadLetter]:
    """Those that are chosen, each once: one that comes back at once has not been dealt with by doing it again."""
    async for letter in letters:
        if chosen.has(letter.item) and letter.item.id not in done.seen:
            yield letter
            if chosen.ids and done.seen >= set(chosen.ids):
                return


@app.command("discard")
@takes_settings(*_SETTINGS)
def discard_rejected(
    settings: Settings,
    reason: _Reason = None,
    since: _Since = None,
    before: _Before = None,
    ids: _Ids = None,
    everything: _All = False,
    note: Annotated[str, typer.Option(help="Why: kept with the item.", metavar="TEXT")] = "",
) -> None:
    """Say that nothing will be done about open items. They stay, as a record, and are no longer open.

    A dead letter is taken out of the queue and kept in the store.
    """
    chosen = chosen_by(settings, reason=reason, since=since, before=before, ids=ids)
    some_needed(chosen, everything=everything)
    run(_discard(settings, chosen, note))


async def _discard(settings: Settings, chosen: Chosen, note: str) -> None:
    done = _Done()
    stream = stream_of(settings)
    async with opened_store(settings) as store:
        async for item in items(store, stream, chosen.query, chosen.ids):
            if item.reason != "poison":
                await discard_item(store, item, note)
                done.did(item, "discarded")
        if chosen.dead_letters and has_broker(settings) and not (chosen.ids and done.seen >= set(chosen.ids)):
            await _discard_dead_letters(settings, store, stream, chosen, note, done)
    done.finish(chosen, "discarded")


async def _discard_dead_letters(
    settings: Settings, store: Store, stream: ReceiptStream, chosen: Chosen, note: str, done: _Done
) -> None:
    async with AsyncExitStack() as stack:
        try:
            broker = await stack.enter_async_context(opened_broker(settings, "rejected discard"))
        except BrokerError as exc:
            if chosen.query.reason == "poison" or chosen.ids:
                raise
            typer.echo(f"dead letters are left as they are: {exc}", err=True)
            return
        letters = await stack.enter_async_context(dead_letters(broker, topology_of(settings).dead, stream))
        async for letter in _unseen(letters, chosen, done):
            await discard_dead_letter(store, letter, note)
            done.did(letter.item, "discarded; its events that are stored are counted by `tillstream audit --repair`")
