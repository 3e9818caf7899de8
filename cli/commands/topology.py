"""`tillstream topology jar|submit|list|status|kill|local`: the Storm engine, from the outside.

Whatever speaks to Storm is imported when it is needed: the extra `storm` may not be installed.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
import typer

from cli.options import Invocation, takes_settings
from cli.roles import shared_broker_needed
from cli.settings import SETTINGS, Loaded, Settings
from cli.topology_text import cluster_page, status_page
from runtime import run, stop_event
from streams import ConfigurationError
from topology.errors import StormError, TopologyExistsError, TopologyMissingError
from topology.jar import build_jar

if TYPE_CHECKING:
    from topology.cluster import LocalCluster
    from topology.nimbus import Nimbus

app = typer.Typer(help="Run the Storm engine: a topology instead of workers and totals.", add_completion=False)
log = structlog.get_logger()

#: How long a killed topology may take to be gone: its own waiting time, and some rounds of Nimbus's.
_GONE_S = 180.0
#: How long a submitted topology may take to run: on a busy machine a worker JVM and its components start slowly.
_RUNNING_S = 240.0

_Name = Annotated[str, typer.Option("--name", help="Name of the topology.", metavar="NAME")]
_Json = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
_WaitS = Annotated[
    int | None,
    typer.Option(
        help="Seconds between the end of its spouts and of all the rest of it; by default as long as a frame may take.",
        min=0,
    ),
]
#: The shape of the topology.
_SHAPE = tuple(row.name for row in SETTINGS if row.name.startswith("storm_") and row.name != "storm_nimbus")


@app.command("jar")
@takes_settings()
def jar(
    _: Settings,
    output: Annotated[Path, typer.Option(help="Where to write it.", metavar="FILE")] = Path("tillstream.jar"),
) -> None:
    """Write the jar that `submit` would upload: a zip file of our Python packages, the same bytes each time."""
    try:
        built = build_jar(output)
    except OSError as exc:
        raise StormError(f"the jar cannot be written to {output}: {exc.strerror or exc}") from exc
    typer.echo(f"{built.path}: {built.files} files, {built.size:,} bytes")


@app.command("submit")
@takes_settings("storm_nimbus", *_SHAPE, uses_store=True)
def submit(
    settings: Settings,
    name: _Name = "tillstream",
    jar: Annotated[
        Path | None, typer.Option("--jar", help="A jar made by `topology jar`; by default one is made.", metavar="FILE")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Kill a topology of this name first, and wait until it is gone.")
    ] = False,
    replace_wait_s: _WaitS = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of it runs.")] = False,
    timeout_s: Annotated[float, typer.Option(help="How long --wait waits, in seconds.", min=1)] = _RUNNING_S,
) -> None:
    """Submit the topology to a Nimbus.

    How many spouts, bolts and workers it has is set here. Where its components find broker and store is set where they
    run: in the environment of each Supervisor.
    """
    nimbus = _nimbus(settings)
    with tempfile.TemporaryDirectory(prefix="tillstream-jar-") as folder:
        if replace:
            _make_room(nimbus, name, replace_wait_s)
        _submit(nimbus, settings, name, jar or build_jar(Path(folder) / "tillstream.jar").path)
    typer.echo(f"submitted {name} to {nimbus.address}")
    if wait:
        nimbus.until_running(name, timeout_s)
        typer.echo("all of it runs")


def _make_room(nimbus: "Nimbus", name: str, wait_s: int | None) -> None:
    """Kill the topology of this name if there is one, and wait until it is gone."""
    try:
        nimbus.kill(name, wait_s=wait_s)
    except TopologyMissingError:
        return
    typer.echo(f"killed {name}; waiting until it is gone")
    nimbus.until_gone(name, (wait_s or 0) + _GONE_S)


def _submit(nimbus: "Nimbus", settings: Settings, name: str, jar: Path) -> None:
    from cli.storm import topology_config
    from topology.definition import storm_topology

    topology, conf = storm_topology(topology_config(settings))
    # Components are started in the folder of the jar's files: what is in the jar wins over what is installed there.
    conf["topology.environment"] = {"PYTHONPATH": ".", **conf.get("topology.environment", {})}
    try:
        nimbus.submit(name, jar, topology, conf)
    except TopologyExistsError as exc:
        raise TopologyExistsError(f"{exc}: kill it first, or --replace it, or choose another --name") from exc
    except OSError as exc:
        raise StormError(f"the jar {jar} cannot be read: {exc.strerror or exc}") from exc


@app.command("list")
@takes_settings("storm_nimbus")
def list_topologies(settings: Settings, as_json: _Json = False) -> None:
    """List the topologies that a Nimbus knows."""
    cluster = _nimbus(settings).cluster()
    typer.echo(_json(asdict(cluster)) if as_json else cluster_page(cluster))


@app.command("status")
@takes_settings("storm_nimbus")
def status(settings: Settings, name: _Name = "tillstream", as_json: _Json = False) -> None:
    """Show how a topology fares: executors, tuples, last errors. Ends with 1 unless all of it runs.

    Storm counts tuples per executor and adds up what it heard last, some seconds ago.
    """
    found = _nimbus(settings).status(name)
    typer.echo(_json(asdict(found) | {"runs": found.runs}) if as_json else status_page(found))
    if not found.runs:
        raise typer.Exit(1)


@app.command("kill")
@takes_settings("storm_nimbus")
def kill(
    settings: Settings,
    name: _Name = "tillstream",
    wait_s: _WaitS = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is gone.")] = False,
) -> None:
    """Kill a topology. Nothing is lost: what its spouts have not acknowledged goes back to the queue."""
    nimbus = _nimbus(settings)
    nimbus.kill(name, wait_s=wait_s)
    typer.echo(f"{name} is being killed")
    if wait:
        nimbus.until_gone(name, (wait_s or 0) + _GONE_S)
        typer.echo("it is gone")


@app.command("local")
@takes_settings("data", "broker", "store", "timezone", "open", "storm_nimbus", *_SHAPE)
def local(
    settings: Settings,
    loaded: Loaded,
    invocation: Invocation,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the cluster's state and logs there; by default in a temporary folder.", metavar="PATH"),
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Start the cluster and submit nothing.")] = False,
) -> None:
    """Start ZooKeeper, Nimbus and a Supervisor on this machine, run the topology on them, and stop all with Ctrl-C.

    For a try-out. Needs Java 17 or later; Storm is fetched by Maven, once. The other topology commands find it.
    Needs --open, too: Storm itself listens on all addresses of the machine, and asks nobody for a password.
    """
    if not settings.open:
        raise ConfigurationError(
            "Storm listens on all addresses of this machine, knows no passwords, and runs what it is given: "
            "where nobody but you reaches its ports, say --open"
        )
    if not empty:
        shared_broker_needed(settings, "topology local")
    _storm()
    folder = folder and folder.absolute()
    run(_local(settings, _environ(loaded, invocation.environ), folder, empty=empty))


async def _local(settings: Settings, environ: Mapping[str, str], folder: Path | None, *, empty: bool) -> None:
    from topology.cluster import ClusterConfig, LocalCluster
    from topology.cluster_home import provide_home

    with stop_event() as stop:
        home = await asyncio.to_thread(provide_home, environ, log.info)
        cluster = LocalCluster(
            ClusterConfig(
                home=home,
                folder=folder or Path(tempfile.mkdtemp(prefix="tillstream-storm-")),
                environ=environ,
                temporary=folder is None,
                slots=max(2, settings.storm_workers),
                nimbus_port=_address(settings)[1],
            )
        )
        running = asyncio.create_task(asyncio.to_thread(_run_cluster, cluster, settings, empty=empty))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        cluster.interrupt()
        stopping.cancel()
        await running


def _run_cluster(cluster: "LocalCluster", settings: Settings, *, empty: bool) -> None:
    """The life of a cluster, until it is interrupted or breaks; nothing is left of it then but, if it broke, logs."""
    began = time.monotonic()
    log.info("starting ZooKeeper, Nimbus and a Supervisor", logs=str(cluster.logs))
    try:
        cluster.start()
        log.info("the cluster is up", seconds=round(time.monotonic() - began, 1), nimbus=str(cluster.nimbus.address))
        log.warning("Storm listens on all addresses and knows no passwords", ports=cluster.open_ports)
        if not empty:
            jar = build_jar(cluster.config.folder / "tillstream.jar").path
            _make_room(cluster.nimbus, "tillstream", 0)  # a folder that was kept may have one
            _submit(cluster.nimbus, settings, "tillstream", jar)
            cluster.nimbus.until_running("tillstream", _RUNNING_S, lambda: cluster.interrupted)
            log.info("the topology runs", seconds=round(time.monotonic() - began, 1))
        cluster.wait()
    except StormError:
        if not cluster.interrupted:
            cluster.stop(keep_logs=True)
            raise
    log.info("stopping the topology and the cluster")
    if not cluster.stop():
        log.warning("some process of the cluster could not be killed")
    log.info("stopped")


def _environ(loaded: Loaded, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Supervisor on this machine: ours, with what flags said, and with absolute paths.

    Components are started in folders of Storm's.
    """
    found = dict(environ)
    for row in SETTINGS:
        value = getattr(loaded.settings, row.name)
        if loaded.origins[row.name].startswith("--") and row.name in {"broker", "store", "timezone"}:
            found[row.variable] = str(value)
            found.pop(f"{row.variable}_FILE", None)
    found["TILLSTREAM_DATA"] = str(loaded.settings.data.absolute())
    store = found.get("TILLSTREAM_STORE", "")
    if store.startswith("sqlite:"):
        found["TILLSTREAM_STORE"] = f"sqlite:{Path(store.removeprefix('sqlite:')).absolute()}"
    return found


def _nimbus(settings: Settings) -> "Nimbus":
    _storm()
    from topology.nimbus import Nimbus, NimbusAddress

    return Nimbus(NimbusAddress(*_address(settings)))


def _address(settings: Settings) -> tuple[str, int]:
    """Host and port of Nimbus; the setting's parser has seen that they are there."""
    host, _, port = settings.storm_nimbus.rpartition(":")
    return host.strip("[]"), int(port)


def _storm() -> None:
    """Say what to install where the extra is missing."""
    try:
        import_module("streamparse")
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"the Storm engine needs the extra `storm` ({exc.name} is missing): pip install 'tillstream[storm]'"
        ) from exc


def _json(content: Mapping[str, Any]) -> str:
    return msgspec.json.encode(content).decode()
