"""Every setting there is: one frozen, typed class that is its own table, and how it is read.

The environment is read here, once, at the start of the process (`read_settings`); command-line flags override it.
Components never see this class's sources, only values. How text becomes a value is in `cli.values`; how a command
gets its flags is in `cli.options`.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cli import values
from streams.errors import ConfigurationError

PREFIX = "TILLSTREAM_"
#: Variables of the test suite; the program itself ignores them, without a warning.
TEST_PREFIX = "TILLSTREAM_TEST_"
#: Behind a secret's variable: the value is in the file of that name.
FILE_SUFFIX = "_FILE"
STORE_NOT_SET = (
    "TILLSTREAM_STORE is not set: with a broker that processes share, the store has to be shared, too: "
    "mongodb://HOST:PORT/DATABASE (or --store sqlite:PATH if all of them run on this machine)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table.

    Attributes:
        name: the field of `Settings`; the flag is `--` and this with dashes.
        variable: environment variable.
        parse: text → value; raises ValueError with what was expected.
        kind: what the value is, in a word, for tables and help.
        default: as text, parsed like any other; `{data}` stands for the data folder. Empty: none.
        doc: one line.
        secret: shown masked, and readable from the file that `<variable>_FILE` names.
    """

    name: str
    variable: str
    parse: Callable[[str], Any]
    kind: str
    default: str
    doc: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    def read(self, text: str, origin: str) -> Any:
        """Text as a value. Raises ConfigurationError naming the origin, the text (hidden if secret) and what it should
        have been."""
        try:
            return self.parse(text)
        except ValueError as exc:
            raise ConfigurationError(
                f"{origin}: expected {exc}, not {'(hidden)' if self.secret else repr(text)}"
            ) from None

    def shown(self, value: Any) -> str:
        """A parsed value as a person may see it: secrets masked, sizes with their unit, nothing as `-`."""
        if value is None or value == "":
            return "-"
        if self.secret:
            return values.masked(str(value))
        if self.kind == "size":
            return values.shown_size(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return ",".join(value) or "-"
        return f"{value:g}" if isinstance(value, float) else str(value)


def _row(kind: str, parse: Callable[[str], Any], default: str, doc: str, *, secret: bool = False) -> Any:
    return field(metadata={"kind": kind, "parse": parse, "default": default, "doc": doc, "secret": secret})


_PORT = values.integer(0, 65535)
#: All days that a date can have.
_MOST_DAYS = 3_652_059
_SECONDS = values.number(0.05, 3600)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What the process was told, read and checked. Times are in the unit of the name's suffix, sizes in bytes."""

    data: Path = _row("path", values.path, "./tillstream-data", "Folder of the embedded broker and store.")
    broker: str = _row(
        "address",
        values.broker_address,
        "sqlite:{data}/broker.db",
        "The broker: amqp://user:password@host:port/vhost (or host1:port,host2:port), or sqlite:PATH: embedded.",
        secret=True,
    )
    store: str = _row(
        "address",
        values.store_address,
        "sqlite:{data}/store.db",
        "The store: mongodb://user:password@host:port/database, or sqlite:PATH for the embedded one. "
        "With an AMQP broker it has no default.",
        secret=True,
    )
    timezone: ZoneInfo = _row(
        "time zone", values.timezone, "UTC", "Time zone of the tills' local times and of the business day."
    )
    future_days: float = _row(
        "days", values.number(0, _MOST_DAYS), "2", "A receipt dated further ahead of its reception is refused (400)."
    )
    past_days: float = _row(
        "days", values.number(0, _MOST_DAYS), "3650", "A receipt dated further back than this is refused (400)."
    )
    currency: str = _row("code", values.currency, "EUR", "Currency shown beside amounts; nothing is converted.")
    locale: str = _row("locale", values.locale, "en", "How the dashboard writes numbers: en, de, fr_CH and so on.")
    host: str = _row(
        "host", values.text, "127.0.0.1", "Where the entrypoint listens; beyond loopback it wants tokens, or --open."
    )
    port: int = _row("port", _PORT, "3000", "Port of the entrypoint; 0 takes any free one.")
    processes: int = _row("number", values.integer(1, 64), "1", "Entrypoint processes that share the port.")
    open: bool = _row("yes or no", values.boolean, "false", "Listen beyond loopback without tokens or users, too.")
    tokens_file: Path | None = _row(
        "path", values.optional_path, "", "File of the tokens that requests may carry, one a line."
    )
    host_names: tuple[str, ...] = _row(
        "hosts",
        values.origins,
        "",
        "Names by which an entrypoint without tokens, and probes, may be asked, beside addresses and localhost: "
        "host:port or host, comma-separated.",
    )
    cors_origins: tuple[str, ...] = _row(
        "origins",
        values.web_origins,
        "",
        "Web pages whose tills send from a browser (CORS): origins such as https://till.example, comma-separated.",
    )
    dashboard_host: str = _row(
        "host", values.text, "127.0.0.1", "Where the dashboard listens; beyond loopback it wants users, or --open."
    )
    dashboard_port: int = _row("port", _PORT, "8050", "Port of the dashboard; 0 takes any free one.")
    dashboard_prefix: str = _row("path", values.prefix, "", "Path below which the dashboard's pages are, as /shop.")
    dashboard_origins: tuple[str, ...] = _row(
        "hosts", values.origins, "", "Other names by which browsers reach the dashboard: host:port, comma-separated."
    )
    dashboard_proxy: bool = _row(
        "yes or no",
        values.boolean,
        "false",
        "Believe X-Forwarded-For, -Proto and -Host: only behind a reverse proxy that sets all three.",
    )
    dashboard_users_file: Path | None = _row(
        "path", values.optional_path, "", "File of those who may log in to the dashboard; without one nobody has to."
    )
    dashboard_login_hours: float = _row(
        "hours", values.number(0.1, 8760), "12", "How long a login lasts after the last page that was opened."
    )
    dashboard_secret: str | None = _row(
        "text",
        values.optional_secret,
        "",
        "Signs logins, so that they survive a restart; without it people log in again.",
        secret=True,
    )
    dashboard_csv: str = _row(
        "word",
        values.choice("locale", "comma", "semicolon"),
        "locale",
        "CSV files: comma and decimal point, semicolon and decimal comma, or as spreadsheets of the locale read them.",
    )
    dashboard_sessions: int = _row(
        "number", values.integer(1, 10_000), "200", "Live pages open at once; further ones are asked to come back."
    )
    probes_host: str = _row(
        "host",
        values.text,
        "127.0.0.1",
        "Where worker, totals and a dashboard alone answer /healthz, /readyz and /metrics.",
    )
    worker_probes_port: int = _row("port", _PORT, "3001", "Port of a worker's probes; 0 takes any free one.")
    totals_probes_port: int = _row("port", _PORT, "3002", "Port of the totals' probes; 0 takes any free one.")
    dashboard_probes_port: int = _row(
        "port", _PORT, "3003", "Port of the probes of `tillstream dashboard`; 0 takes any."
    )
    worker_memory: int = _row(
        "size",
        values.size(512 << 20, 1 << 40),
        "768 MiB",
        "Memory that a worker's process may take; the bytes that it holds at once follow from it.",
    )
    prefetch: int = _row("number", values.integer(1, 10_000), "64", "Frames that a worker holds unacknowledged.")
    flush_events: int = _row("number", values.integer(1, 100_000), "2000", "Events at which a worker stops gathering.")
    flush_wait_ms: float = _row(
        "milliseconds", values.number(0, 1000), "3", "How long a worker gathers frames before it stores them."
    )
    frames_in_flight: int = _row(
        "number", values.integer(1, 1000), "1", "Frames being published before requests begin to share the next one."
    )
    frame_bytes: int = _row(
        "size", values.size(1024, 15 << 20), "1 MiB", "Size at which a shared frame is full; one request may exceed it."
    )
    events_in_flight: int = _row(
        "number", values.integer(1, 10_000_000), "50000", "Events waiting for the broker's confirm before 503."
    )
    connections: int = _row(
        "number",
        values.integer(1, 1_000_000),
        "10000",
        "Open connections of an entrypoint process; further ones get 503. The limit of open files may allow fewer.",
    )
    body_limit: int = _row("size", values.size(1024, 15 << 20), "10 MiB", "Largest body of a request, decompressed.")
    publish_timeout_s: float = _row("seconds", _SECONDS, "10", "How long a publish may take before 503.")
    checkpoint_s: float = _row("seconds", _SECONDS, "5", "Time between two checkpoints of the totals.")
    sync_s: float = _row("seconds", _SECONDS, "3", "Time between two readings of the ledger by the totals.")
    keep_tallies_days: float = _row(
        "days", values.number(0, 36_500), "7", "How long tallies below the checkpoint are kept for the audit."
    )
    work_max_bytes: int = _row(
        "size", values.size(1 << 20, 1 << 50), "2 GiB", "Bytes waiting in receipts.work before requests get 503."
    )
    delivery_limit: int = _row(
        "number", values.integer(1, 1_000_000), "1000", "How often a frame may come back before it is a dead letter."
    )
    storm_spouts: int = _row(
        "number", values.integer(1, 1000), "1", "Processes of a Storm topology that take frames from the broker."
    )
    storm_bolts: int = _row(
        "number", values.integer(1, 1000), "2", "Processes of a Storm topology that store receipts and count them."
    )
    storm_workers: int = _row(
        "number", values.integer(1, 1000), "1", "Worker processes (JVMs) that Storm spreads the topology over."
    )
    storm_pending: int = _row(
        "number", values.integer(1, 10_000), "64", "Frames that each spout has in Storm, unacknowledged, at most."
    )
    storm_message_timeout_s: int = _row(
        "seconds",
        values.integer(12, 1200),
        "60",
        "A frame that Storm has not seen counted within is emitted again by its spout, at the latest.",
    )
    storm_nimbus: str = _row(
        "host:port", values.address, "127.0.0.1:6627", "Where `tillstream topology` finds a Storm cluster: its Nimbus."
    )
    log_level: str = _row(
        "word", values.choice("debug", "info", "warning", "error"), "info", "What is logged: this and what is worse."
    )
    log_format: str = _row(
        "word", values.choice("auto", "json", "text"), "auto", "Log lines: json, text, or text on a terminal only."
    )

    def __repr__(self) -> str:
        """All fields, secrets masked: it ends up in logs and failed assertions."""
        shown = ", ".join(f"{row.name}={row.shown(getattr(self, row.name))}" for row in SETTINGS)
        return f"Settings({shown})"


#: The table, in the order of the class.
SETTINGS: tuple[Setting, ...] = tuple(
    Setting(name=row.name, variable=PREFIX + row.name.upper(), **row.metadata) for row in fields(Settings)
)


def setting(name: str) -> Setting:
    """The row of a field of `Settings`. Raises KeyError."""
    return {row.name: row for row in SETTINGS}[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings with where each comes from.

    Attributes:
        origins: field name → `default`, the variable's name, `file PATH`, or the flag.
        warnings: one line each, about variables that name no setting.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def check_store(self) -> None:
        """Refuse the default store beside a broker that processes share: each process would have a store of its own.

        Receipts that a process takes from the shared queue into a file of its own are missing in the totals.
        Raises ConfigurationError.
        """
        if self.origins["store"] == "default" and not self.settings.broker.startswith("sqlite:"):
            raise ConfigurationError(STORE_NOT_SET)


def read_settings(environ: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> Loaded:
    """Read every setting: flag over environment over file over default.

    Arguments:
        environ: the process's environment; only TILLSTREAM_* is looked at. An empty variable counts as not set.
        flags: field name → text as given on the command line, None where it was not given.
    Raises ConfigurationError naming the source, the value (masked if secret) and what was expected.
    """
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in SETTINGS:  # `data` is the first: the defaults of others are inside it
        text, origins[row.name] = _source(row, environ, (flags or {}).get(row.name))
        if origins[row.name] == "default":
            text = text.replace("{data}", str(found.get("data", "")))
        found[row.name] = row.read(text, origins[row.name])
    return Loaded(settings=Settings(**found), origins=origins, warnings=tuple(_unknown(environ)))


def _source(row: Setting, environ: Mapping[str, str], flag: str | None) -> tuple[str, str]:
    """The text of a setting, and its origin."""
    if flag is not None:
        return flag.strip(), row.flag
    direct = environ.get(row.variable, "").strip()
    file_variable = row.variable + FILE_SUFFIX
    file = environ.get(file_variable, "").strip() if row.secret else ""
    if direct and file:
        raise ConfigurationError(f"{row.variable} and {file_variable} are both set: set one of them")
    if direct:
        return direct, row.variable
    if file:
        try:
            return values.file_value(file), f"{file_variable} ({file})"
        except ConfigurationError as exc:
            raise ConfigurationError(f"{file_variable}: cannot read {file!r}: {exc}") from None
    return row.default, "default"


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """A warning for each TILLSTREAM_* variable that names no setting: a typing error must not pass silently."""
    known = {row.variable for row in SETTINGS} | {row.variable + FILE_SUFFIX for row in SETTINGS if row.secret}
    lines = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known:
            # Without what they all begin with, which would make any two of them alike.
            bare = {each.removeprefix(PREFIX) for each in known}
            near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1)
            lines.append(f"{name} is not a setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else ""))
    return lines


def settings_table() -> str:
    """The settings as a Markdown table: what docs/settings.md holds."""
    lines = ["| variable | flag | what | default |", "|---|---|---|---|"]
    for row in SETTINGS:
        secret = f" May come from the file that `{row.variable}{FILE_SUFFIX}` names." if row.secret else ""
        default = f"`{row.default.replace('{data}', '<data>')}`" if row.default else "none"
        lines.append(f"| `{row.variable}` | `{row.flag}` | {row.doc} ({row.kind}){secret} | {default} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # Writes the table to the documentation.
    document = Path(__file__).parents[1] / "docs" / "settings.md"
    written_by_hand = document.read_text("utf-8").split("| variable |", maxsplit=1)[0]
    document.write_text(written_by_hand + settings_table(), "utf-8")
