"""Start and stop of one entrypoint process."""

import asyncio
import ipaddress
import multiprocessing
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from broker.group_commit import GroupCommit, GroupCommitLimits
from broker.protocol import Broker
from entrypoint.app import Entrypoint
from entrypoint.browsers import Browsers
from entrypoint.config import Bound, EntrypointConfig
from entrypoint.connections import ConnectionServer
from entrypoint.intake import Intake
from entrypoint.metrics import EntrypointMetrics
from entrypoint.queries import Queries, TotalsReader
from entrypoint.tokens import Tokens
from runtime import Probes, Tasks, cannot_listen
from runtime.hosts import names_of_listener
from store.protocol import Store
from streams.base import Stream
from streams.errors import ConfigurationError

log = structlog.get_logger()

#: Connections that may wait to be accepted: a shop's tills all reconnect at once after a restart.
_BACKLOG = 1024
#: How often figures are carried over where several processes show them together.
_CARRY_SECONDS = 1.0


async def serve(
    config: EntrypointConfig,
    *,
    broker: Broker,
    store: Store,
    stream: Stream,
    stop: asyncio.Event,
    totals_reader: TotalsReader,
    registry: CollectorRegistry | None = None,
    sockets: Sequence[socket.socket] | None = None,
    checks: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
    on_ready: Callable[[Bound], None] | None = None,
    store_id: Callable[[], Awaitable[str]] | None = None,
) -> None:
    """Listen until `stop` is set, then stop in order; broker and store stay open, being their openers'.

    Arguments:
        totals_reader: gives the totals of a business day, of the current one for None.
        registry: metrics are registered there, and all that is on it is shown; a new one when None.
        sockets: bound sockets to listen on in place of the configuration's host and port; closed at the end.
        store: need not answer yet, or always: until it does, queries are answered 503.
        checks: what else of this process has to work for it to be ready, besides the broker.
        on_ready: called once, when it listens.
        store_id: gives the id of the store as soon as it is known, for frames to name it; its error ends the serving.

    Raises ConfigurationError before it listens: the port is taken, or it would be open to all without being told so.
    """
    with ExitStack() as closing:
        listening = list(sockets) if sockets is not None else bind(config)
        for each in listening:
            closing.callback(each.close)
        tokens = check_access(config, listening)
        metrics = EntrypointMetrics(registry or CollectorRegistry(), stream.name, config.metrics_folder)
        commit = GroupCommit(broker, stream.name, _limits(config), on_published=metrics.observe_publish)

        async def exposition() -> bytes:
            metrics.carry(commit, len(server.connections))
            return await asyncio.to_thread(metrics.exposition)

        app = Entrypoint(
            intake=Intake(config, stream=stream, commit=commit, tokens=tokens, metrics=metrics),
            queries=Queries(store=store, stream=stream, totals_reader=totals_reader),
            probes=Probes(
                checks={"broker": broker.ping, "store": store.ping, **(checks or {})},
                optional=frozenset({"store"}),
                abilities={"takesReceipts": frozenset({"broker"}), "answersQueries": frozenset({"store"})},
                registry=CollectorRegistry(),
                metrics=exposition,
            ),
            tokens=tokens,
            browsers=Browsers(
                names_of_listener(config.host, config.host_names) if tokens is None else None, config.cors_origins
            ),
            metrics=metrics,
        )
        server = ConnectionServer(app, config, on_refused=metrics.refuse_connection)
        runner = web.ServerRunner(server, shutdown_timeout=config.stop_timeout_seconds)
        await runner.setup()
        async with Tasks() as tasks:
            try:
                if store_id is not None:
                    tasks.start("identify the store", _name_store(commit, store_id))
                if config.supervised:
                    _stop_without_parent(stop, closing)
                if config.metrics_folder is not None:
                    tasks.start("carry metrics", _carry(metrics, commit, server))
                for each in listening:
                    await web.SockSite(runner, each, backlog=_BACKLOG).start()
                bound = _bound(listening[0])
                log.info("listening", url=bound.url, tokens=tokens is not None)
                if on_ready is not None:
                    on_ready(bound)
                await tasks.until(stop)
            finally:
                await _stop(runner, commit, config.stop_timeout_seconds)
                metrics.carry(commit, 0)


async def _name_store(commit: GroupCommit, store_id: Callable[[], Awaitable[str]]) -> None:
    commit.store = await store_id()


def bind(config: EntrypointConfig) -> list[socket.socket]:
    """Sockets bound to the configuration's host and port, not listening yet.

    Raises ConfigurationError where that cannot be.
    """
    bound: list[socket.socket] = []
    port = config.port
    try:
        found = socket.getaddrinfo(
            config.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                each = socket.socket(family, kind, protocol)
            except OSError:  # the machine knows the name of a family that it does not speak
                continue
            bound.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if config.supervised:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((address[0], port, *address[2:]))
            port = each.getsockname()[1]  # the same one for all families where it was 0
    except OSError as exc:
        for each in bound:
            each.close()
        raise ConfigurationError(cannot_listen(config.host, config.port, exc, "TILLSTREAM_PORT")) from exc
    return bound


def check(config: EntrypointConfig) -> None:
    """Raises ConfigurationError for what would only show once the process listens: a port that is taken, a tokens file
    that cannot be read, a listener beyond loopback that lets everybody in."""
    bound = bind(config)
    try:
        check_access(config, bound)
    finally:
        for each in bound:
            each.close()


def check_access(config: EntrypointConfig, listening: Sequence[socket.socket]) -> Tokens | None:
    """The tokens that clients have to send; None where none are needed.

    Raises ConfigurationError for listening beyond loopback with neither tokens nor `open`.
    """
    if config.tokens_file is not None:
        return Tokens(config.tokens_file)
    exposed = [each for each in listening if not _is_loopback(each)]
    if exposed and not config.open:
        raise ConfigurationError(
            f"listening on {_bound(exposed[0]).host} lets anyone in who can reach it: "
            "give it a tokens file (TILLSTREAM_TOKENS_FILE), or say that it is meant to be open (--open)"
        )
    return None


async def _stop(runner: web.ServerRunner, commit: GroupCommit, within_seconds: float) -> None:
    """Stop in order, each step bounded."""
    # No new connections, and no further request on those that are idle; then requests under way get their answers,
    # for which they may need frames that have yet to leave: so the group commit still takes what they bring.
    finishing = asyncio.create_task(runner.cleanup(), name="finish requests")
    await asyncio.wait({finishing}, timeout=within_seconds)
    # What is pending after that has lost its client; it was taken from it, so it still goes out. Where requests still
    # wait for the broker, they have waited for as long as they may: they are told so while they can be.
    if not await commit.drain(within_seconds if finishing.done() else 0):
        log.warning("stopped before the broker confirmed everything; nothing of that was answered 202")
    await finishing
    log.info("stopped", events=commit.events, frames=commit.frames)


async def _carry(metrics: EntrypointMetrics, commit: GroupCommit, server: web.Server) -> None:
    while True:
        metrics.carry(commit, len(server.connections))
        await asyncio.sleep(_CARRY_SECONDS)


def _stop_without_parent(stop: asyncio.Event, closing: ExitStack) -> None:
    """A process of several stops when the one that started it is gone: nobody would restart it, or stop it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()
    sentinel = parent.sentinel

    def orphaned() -> None:
        loop.remove_reader(sentinel)
        log.warning("the parent process is gone, stopping")
        stop.set()

    loop.add_reader(sentinel, orphaned)
    closing.callback(loop.remove_reader, sentinel)


def _limits(config: EntrypointConfig) -> GroupCommitLimits:
    return GroupCommitLimits(
        frames_in_flight=config.frames_in_flight,
        frame_max_bytes=config.frame_max_bytes,
        pending_max_events=config.pending_max_events,
        pending_max_bytes=config.pending_max_bytes,
    )


def _bound(listening: socket.socket) -> Bound:
    host, port = listening.getsockname()[:2]
    return Bound(host, port)


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback
