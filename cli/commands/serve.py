"""`up`, `entrypoint`, `worker`, `totals`: the commands that run until they are told to stop."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import structlog
import typer

from cli.options import DASHBOARD, takes_settings
from cli.roles import (
    Parts,
    StoppedError,
    entrypoint_config,
    opened,
    run_entrypoint,
    shared_broker_needed,
    totals_of,
    worker_of,
)
from cli.settings import Loaded, Settings
from engine import TotalsKeeper, Worker
from entrypoint import Bound, EntrypointConfig, check, supervise
from runtime import Probes, Tasks, run, stop_event

log = structlog.get_logger()


def _serve(role: Coroutine[Any, Any, None]) -> None:
    """Run a role to its end, which may come before its beginning."""
    try:
        run(role)
    except StoppedError as exc:
        log.info(str(exc))


_SHARED = ("broker", "store", "timezone")
#: A role alone works with a broker that processes share, and refuses the embedded default.
_REQUIRED = ("broker", "store")
_INTAKE = ("host", "port", "tokens_file", "host_names", "cors_origins", "future_days", "past_days")


@takes_settings("data", *_INTAKE, "broker", "store", *DASHBOARD)
def up(
    settings: Settings,
    loaded: Loaded,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make receipts up and post them, to see something move.")
    ] = False,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard, too.")] = True,
    rate: Annotated[float, typer.Option(help="Receipts a second that --demo posts.", min=0.1, max=10_000)] = 20.0,
) -> None:
    """Run entrypoint, worker, totals and dashboard in one process.

    Broker and store are files in the data folder, so nothing but Python packages is needed. Stop with Ctrl-C and start
    again: nothing that was answered 202 is lost. With TILLSTREAM_BROKER and TILLSTREAM_STORE, the same on real servers.
    """
    check(entrypoint_config(settings))
    if dashboard:
        from cli.pages import dashboard_config
        from dashboard.config import check as check_dashboard

        check_dashboard(dashboard_config(loaded, ""))
    _serve(_up(settings, loaded, demo=demo, dashboard=dashboard, rate=rate))


async def _up(settings: Settings, loaded: Loaded, *, demo: bool, dashboard: bool, rate: float) -> None:
    with stop_event() as stop:
        async with opened(settings, stop) as parts, Tasks() as tasks:
            # Each role has a stop of its own: intake ends first, then counting, then the totals with a last checkpoint.
            stops = {role: asyncio.Event() for role in ("demo", "dashboard", "entrypoint", "worker", "totals")}
            listening: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()
            totals, worker = totals_of(parts), worker_of(parts)
            running = {
                "totals": tasks.start("totals", totals.run(stops["totals"])),
                "worker": tasks.start("worker", worker.run(stops["worker"])),
                "entrypoint": tasks.start(
                    "entrypoint",
                    run_entrypoint(
                        parts,
                        entrypoint_config(settings),
                        stops["entrypoint"],
                        on_ready=listening.set_result,
                        registry=parts.registry,
                        checks={"totals": totals.check, "worker": worker.check},
                    ),
                ),
            }
            bound = await _listening(listening, running["entrypoint"])
            log.info("receipts go to", url=f"{bound.url}/receipt", data=str(settings.data))
            if dashboard:
                from cli.pages import dashboard_config
                from dashboard import serve_dashboard, sources_of

                sources = sources_of(parts.store, parts.stream, parts.registry)
                tasks.start("dashboard feed", sources.feed.follow(parts.broker))
                tasks.start("dashboard history", sources.history.keep())
                running["dashboard"] = tasks.start(
                    "dashboard",
                    serve_dashboard(
                        dashboard_config(loaded, f"{bound.url}/receipt"),
                        sources,
                        stops["dashboard"],
                        on_ready=lambda url: log.info("the day, live", url=url),
                    ),
                )
            if demo:
                from feeds import GeneratorOptions, run_generator

                receipts = GeneratorOptions(timezone=settings.timezone)
                running["demo"] = tasks.start(
                    "demo", run_generator(bound.url, stops["demo"], rate=rate, generator=receipts)
                )
            await tasks.until(stop)
            for role, asked in stops.items():
                asked.set()
                if role in running:
                    await running[role]
    log.info("stopped; everything accepted is in the data folder", data=str(settings.data))


async def _listening(listening: "asyncio.Future[Bound]", entrypoint: "asyncio.Task[None]") -> Bound:
    """Wait until the entrypoint listens; raise its error if it ends before."""
    await asyncio.wait((listening, entrypoint), return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        listening.cancel()
        await entrypoint
        raise AssertionError("the entrypoint ended before it listened")
    return listening.result()


@takes_settings(*_SHARED, *_INTAKE, "processes", "open", "frames_in_flight", "frame_bytes", required=_REQUIRED)
def entrypoint(settings: Settings) -> None:
    """Run the HTTP entrypoint on a broker and a store that others share."""
    shared_broker_needed(settings, "entrypoint")
    _serve(_entrypoint(settings))


async def _entrypoint(settings: Settings) -> None:
    config = entrypoint_config(settings)
    with stop_event() as stop:
        if config.processes == 1:
            check(config)
            await _serve_entrypoint(settings, config, stop, _say_where)
        else:
            child = functools.partial(_entrypoint_process, settings)
            await supervise(config, child, stop=stop, on_ready=_say_where, broker_url=settings.broker)


def _entrypoint_process(settings: Settings, config: EntrypointConfig, on_ready: Callable[[Bound], None]) -> None:
    """One of several processes that share the port: the body of a spawned child."""
    from runtime import configure_logging

    configure_logging(settings.log_level, settings.log_format)

    async def main() -> None:
        with stop_event() as stop:
            await _serve_entrypoint(settings, config, stop, on_ready)

    _serve(main())


async def _serve_entrypoint(
    settings: Settings, config: EntrypointConfig, stop: asyncio.Event, on_ready: Callable[[Bound], None]
) -> None:
    # Receipts need no store, and whoever stores them prepares it: it may come up later than this process.
    async with opened(settings, stop, "entrypoint", prepare=False) as parts:
        await run_entrypoint(parts, config, stop, on_ready=on_ready)


def _say_where(bound: Bound) -> None:
    log.info("receipts go to", url=f"{bound.url}/receipt")


@takes_settings(
    *_SHARED,
    "probes_host",
    "worker_probes_port",
    "worker_memory",
    "prefetch",
    "flush_events",
    "flush_wait_ms",
    required=_REQUIRED,
)
def worker(settings: Settings) -> None:
    """Run one worker: it stores receipts and counts them. Run as many as you like, anywhere."""
    shared_broker_needed(settings, "worker")
    _serve(_with_probes(settings, "worker", settings.worker_probes_port, worker_of))


@takes_settings(
    *_SHARED, "probes_host", "totals_probes_port", "sync_s", "checkpoint_s", "keep_tallies_days", required=_REQUIRED
)
def totals(settings: Settings) -> None:
    """Run the totals: one process is active, further ones stand by."""
    shared_broker_needed(settings, "totals")
    _serve(_with_probes(settings, "totals", settings.totals_probes_port, totals_of))


async def _with_probes(
    settings: Settings, name: str, port: int, make: Callable[[Parts], Worker | TotalsKeeper]
) -> None:
    """Run a role that answers /healthz, /readyz and /metrics on a port of its own, until it is told to stop."""
    with stop_event() as stop:
        async with opened(settings, stop, name) as parts:
            role = make(parts)
            checks = {"broker": parts.broker.ping, "store": parts.store.ping, name: role.check}
            probes = Probes(checks=checks, registry=parts.registry, host_names=settings.host_names)
            async with probes.serve(settings.probes_host, port, f"TILLSTREAM_{name.upper()}_PROBES_PORT") as bound:
                log.info("started", role=name, probes_port=bound)
                await role.run(stop)
    log.info("stopped; what was not finished is safe", role=name)
