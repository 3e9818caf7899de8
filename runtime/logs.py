"""Logging: our own lines and those of libraries in one form, on stderr.

structlog makes the lines, the standard library's `logging` carries them: so a library's line passes through the
same processors. Nothing is logged to standard output, which belongs to the commands' results.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

#: Libraries that say at `info` (or repeat, while they reconnect) what we log better ourselves.
QUIETENED = (
    "aiohttp.access",
    "asyncio",
    "bokeh",
    "motor",
    "panel",
    "pymongo",
    "tornado",
)
#: Libraries that log every failed attempt to connect as an error, with a traceback, while we say it in a line.
SILENCED = ("aio_pika", "aiormq")

_root = logging.getLogger()


def configure_logging(
    level: str = "info", form: str = "auto", *, stream: TextIO | None = None, colours: bool | None = None
) -> None:
    """Set up logging for the whole process; calling it again replaces the set-up.

    Arguments:
        level: `debug`, `info`, `warning` or `error`.
        form: `json` (one object a line), `text`, or `auto`: text on a terminal, JSON elsewhere.
        stream: standard error if None.
        colours: colour text lines; None does so on a terminal.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    threshold = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "text" or (form == "auto" and terminal):
        rendering: list[Processor] = [_text_renderer(terminal if colours is None else colours)]
    else:
        rendering = [
            structlog.processors.format_exc_info,
            _event_first,
            structlog.processors.JSONRenderer(default=str),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    for old in _root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):  # ours, not a test runner's
            _root.removeHandler(old)
    _root.addHandler(handler)
    _root.setLevel(threshold)
    for name in QUIETENED:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else max(threshold, logging.WARNING))
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,  # loggers of modules imported before this call have to follow it
    )


def _event_first(_: object, __: str, line: EventDict) -> EventDict:
    """What a person reads first comes first; what else there is may be long."""
    first: EventDict = {name: line.pop(name) for name in ("timestamp", "level", "event") if name in line}
    return {**first, **line}


def debugging() -> bool:
    """Whether `debug` is logged. To ask before a line about each frame: a line that is not wanted costs some 10
    microseconds until structlog knows that, asking costs a tenth of one."""
    return _root.isEnabledFor(logging.DEBUG)


def _text_renderer(colours: bool) -> structlog.dev.ConsoleRenderer:
    # The default traceback shows local variables, and with them whatever secret they hold.
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
