"""Settings as command-line flags: what makes a plain function with a `settings` parameter a command.

Flags are made from the table in `cli.settings`, so that a setting is described once and parsed in one way, wherever
it comes from.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from cli.settings import SETTINGS, Loaded, Setting, Settings, read_settings

#: Flags that every command has.
COMMON = ("log_level", "log_format")
#: Flags of whatever serves the dashboard.
DASHBOARD = (
    "timezone",
    "currency",
    "locale",
    "open",
    "dashboard_host",
    "dashboard_port",
    "dashboard_prefix",
    "dashboard_origins",
    "dashboard_proxy",
    "dashboard_users_file",
    "dashboard_login_hours",
    "dashboard_secret",
    "dashboard_csv",
    "dashboard_sessions",
)


@dataclass(slots=True)
class Invocation:
    """What the process was started with: the context object of every command.

    Attributes:
        environ: the environment as it was at process entry.
        loaded: the settings, once a command's flags are merged in.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    loaded: Loaded | None = None


def takes_settings(
    *names: str, uses_store: bool | None = None, required: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function with a first parameter `settings: Settings` a command that has flags for these settings.

    The function is called with all settings, those without a flag included, after logging is set up. A parameter
    `loaded: Loaded` gets where they come from, too; `invocation: Invocation` what the process was started with.

    Arguments:
        uses_store: whether the store is opened, so that it has to be set beside a shared broker; None if it has a flag.
        required: settings whose defaults the command refuses: its help does not name them.

    Raises (when called) ConfigurationError for a bad value; (when applied) KeyError for a name that is no setting.
    """
    table = {row.name: row for row in SETTINGS}
    rows = [table[name] for name in dict.fromkeys((*names, *COMMON))]
    checks_store = "store" in names if uses_store is None else uses_store

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function, eval_str=True)
        wants_loaded, wants_invocation = "loaded" in own.parameters, "invocation" in own.parameters

        @functools.wraps(function)
        def command(ctx: typer.Context, **arguments: Any) -> Any:
            flags = {row.name: _text(arguments.pop(_parameter(row))) for row in rows}
            loaded = load(ctx, flags)
            if checks_store:
                loaded.check_store()
            if wants_loaded:
                arguments["loaded"] = loaded
            if wants_invocation:
                arguments["invocation"] = ctx.obj
            return function(loaded.settings, **arguments)

        parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own.parameters.values()
            if parameter.annotation not in (Settings, Loaded, Invocation)
        ]
        parameters += [
            inspect.Parameter(
                _parameter(row),
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_annotation(row, required=row.name in required),
            )
            for row in rows
        ]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del command.__wrapped__  # or inspect and typer would look through to the original
        return command

    return decorate


def load(ctx: typer.Context, flags: Mapping[str, str | None]) -> Loaded:
    """Merge a command's flags over the environment, set up logging, and say which variables name no setting."""
    import structlog  # noqa: PLC0415  # slow to import, and `tillstream --help` needs neither

    from runtime import configure_logging  # noqa: PLC0415

    invocation: Invocation = ctx.obj
    loaded = invocation.loaded = read_settings(invocation.environ, flags)
    configure_logging(
        loaded.settings.log_level,
        loaded.settings.log_format,
        colours=False if invocation.environ.get("NO_COLOR") else None,
    )
    for warning in loaded.warnings:
        structlog.get_logger("tillstream").warning(warning)
    return loaded


def _parameter(row: Setting) -> str:
    """A name that no parameter of a command's own can have."""
    return f"setting_{row.name}"


def _annotation(row: Setting, *, required: bool) -> Any:
    default = row.default.replace("{data}", "<data>") or "none"
    about = f"{row.doc} ({row.variable}; {'required' if required else f'default {default}'})"
    if row.kind == "yes or no":
        return Annotated[bool | None, typer.Option(f"{row.flag}/--no-{row.flag[2:]}", help=about, show_default=False)]
    return Annotated[
        str | None, typer.Option(row.flag, help=about, metavar=row.kind.upper().replace(" ", "_"), show_default=False)
    ]


def _text(value: str | bool | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value
