"""Logging of a component: our lines in JSON, as Storm's `log` commands, so that they end up in the worker's log.

Not on stderr: Storm reads a component's stderr only when the component has died, and one that fills that pipe hangs.
The worker's log is rotated by Storm's own set-up, which bounds it.
"""

import logging
import sys

from structlog.stdlib import ProcessorFormatter

from runtime import configure_logging


def log_to_storm(level: str) -> None:
    """Have all log lines of this process sent to Storm, from now on.

    Arguments:
        level: `debug`, `info`, `warning` or `error`.
    To be called after the handshake, which is when pystorm sets its own handler up.
    """
    sys.stdout = sys.stderr  # stdout belongs to the protocol: what a library prints must not get between
    configure_logging(level, "json")
    root = logging.getLogger()
    ours = next(handler for handler in root.handlers if isinstance(handler.formatter, ProcessorFormatter))
    root.removeHandler(ours)
    for handler in root.handlers:  # pystorm's: to Storm, or to a file where the topology's configuration names one
        handler.setFormatter(ours.formatter)
        handler.setLevel(logging.NOTSET)
