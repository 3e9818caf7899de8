"""`tillstream store show|renew|adopt`: which store this is, and what has to be told to one that was restored."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
import typer

from cli.maintenance import opened_store
from cli.options import takes_settings
from cli.roles import stream_of
from cli.settings import Settings
from runtime import run
from store.protocol import Store, StoreIdentity
from streams import TillstreamError

app = typer.Typer(help="See which store this is, and deal with a restored one.", add_completion=False)

_SETTINGS = ("data", "store", "timezone")


@app.command()
@takes_settings(*_SETTINGS)
def show(settings: Settings) -> None:
    """Print the store's id, epoch and time zone, as JSON.

    Frames that were accepted for one store are not counted in another; workers with the wrong store say so.
    """
    typer.echo(msgspec.json.encode(run(_with_store(settings, _nothing))).decode())


@app.command()
@takes_settings(*_SETTINGS)
def renew(settings: Settings) -> None:
    """Give a store that was restored a new epoch.

    Do this after every restore, before anything is started: totals then recognise and ignore what was announced before,
    and pages take the restored figures although they are older.
    """
    run(_with_store(settings, lambda store: store.renew()))
    typer.echo("renewed: processes that start now know that this store was restored", err=True)


@app.command()
@takes_settings(*_SETTINGS)
def adopt(
    settings: Settings, id: Annotated[str, typer.Argument(help="The id of the other store.", show_default=False)]
) -> None:
    """Take the frames for another store, too.

    For a store that replaces another one while receipts for that wait in the queue. Restart the workers afterwards.
    """
    run(_with_store(settings, lambda store: store.adopt(id)))
    typer.echo(f"frames for the store {id} are taken, too; restart the workers", err=True)


async def _nothing(store: Store) -> None:
    """Only look."""


async def _with_store(settings: Settings, work: Callable[[Store], Awaitable[object]]) -> StoreIdentity:
    """Do something with the store; its identity afterwards. Raises TillstreamError for a store without one."""
    stream = stream_of(settings)
    async with opened_store(settings) as store:
        if await store.identity(stream.name) is None:
            raise TillstreamError("nothing was ever stored here: it gets an id when a worker starts with it")
        await work(store)
        found = await store.identity(stream.name)
        assert found is not None
        return found
