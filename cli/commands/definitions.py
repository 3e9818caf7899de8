"""`tillstream definitions`: what RabbitMQ has to have, for a server on which our users may not declare anything."""

import json
from typing import Annotated

import typer

from broker.definitions import VHOST, definitions
from cli.maintenance import topology_of
from cli.options import takes_settings
from cli.settings import Settings


@takes_settings("work_max_bytes", "delivery_limit")
def print_definitions(
    settings: Settings,
    vhost: Annotated[str, typer.Option(help="The vhost that all of it is in.", metavar="NAME")] = VHOST,
    operator: Annotated[
        str | None, typer.Option(help="Also a user of this name who may do everything.", metavar="NAME")
    ] = None,
) -> None:
    """Print RabbitMQ's definitions: the vhost, exchanges, queues, and a user for each kind of process.

    Load them with `rabbitmqctl import_definitions`, then give the users passwords: as printed they have none and
    cannot log in. A queue that is there already stays as it is, whatever its arguments.
    """
    typer.echo(json.dumps(definitions(topology_of(settings), vhost=vhost, operator=operator), indent=2))
