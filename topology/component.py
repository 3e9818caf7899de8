"""What all our components share: how they begin, the thread in which they work, and how they end."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
from pystorm.exceptions import StormWentAwayError

from topology.hosting import LoopThread, persistently
from topology.storm_log import log_to_storm

log = structlog.get_logger()

#: A component that is told to end gets so long to settle what it holds, seconds; Storm kills what takes longer.
END_WITHIN_S = 5.0
#: See `StormConf`.
PENDING = 64
MESSAGE_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StormConf:
    """What a component needs to know of the topology's configuration.

    Attributes:
        pending: `topology.max.spout.pending`: frames of one spout in Storm at most.
        message_timeout_s: `topology.message.timeout.secs`: a frame not acknowledged within fails.
    """

    pending: int = PENDING
    message_timeout_s: float = MESSAGE_TIMEOUT_S

    @classmethod
    def of(cls, conf: Mapping[str, Any]) -> "StormConf":
        """Read it from what Storm sends in its handshake; what it does not say has its default."""
        return cls(
            pending=int(conf.get("topology.max.spout.pending") or PENDING),
            message_timeout_s=float(conf.get("topology.message.timeout.secs") or MESSAGE_TIMEOUT_S),
        )


class Hosted:
    """Mixed into a spout or bolt: runs `work` on an event loop in a thread, from the handshake to the end.

    Storm closes stdin, or sends SIGTERM, when a component is to end; the thread then gets a moment to give back what it
    holds. Nothing depends on that: whoever is killed leaves unsettled messages, which the broker delivers again.
    """

    #: What is logged; `cli.storm` sets it from the settings.
    log_level = "info"

    host: LoopThread
    conf: StormConf

    async def work(self, stop: asyncio.Event) -> None:
        """What the component does, until `stop` is set. When it fails, it is begun again."""
        raise NotImplementedError

    def initialize(self, storm_conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Begin; called once, after the handshake."""
        self.conf = StormConf.of(storm_conf)
        log_to_storm(self.log_level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _end)
        name = type(self).__name__
        log.info("started", component=name, task=context.get("taskid"), pid=os.getpid())
        self.host = LoopThread(name, self._main, self._died)
        self.host.start()

    def refuse(self, error: Exception) -> NoReturn:
        """End the process because it cannot work as it is: Storm's UI shows the error, as does its log."""
        self.send_message({"command": "error", "msg": str(error)})  # type: ignore[attr-defined]  # pystorm's
        sys.stderr.write(f"{error}\n")  # what a spout says before it is asked, Storm reads there
        sys.exit(2)

    async def _main(self, stop: asyncio.Event) -> None:
        await persistently(type(self).__name__, self.work, stop)

    def _died(self, error: BaseException | None) -> None:
        """The thread is no more: so the process must not seem alive. Storm starts another."""
        if not isinstance(error, StormWentAwayError):
            log.critical("the component's thread has ended", error=str(error) or repr(error))
        self.end_process(1)

    def end_process(self, status: int) -> None:
        """End at once, from any thread."""
        os._exit(status)

    def _exit(self, status_code: int) -> None:
        """End: what pystorm calls, on the main thread, when Storm went away or after an error of ours."""
        if hasattr(self, "host"):
            self.host.stop(END_WITHIN_S)
        self.end_process(status_code)


class Heartbeat:
    """Tells whether an event loop still turns: asked on one thread, answered on the other.

    Arguments:
        silent_s: how long the loop may be silent before it counts as hung.
    """

    def __init__(self, host: LoopThread, *, silent_s: float) -> None:
        self._host = host
        self._silent_s = silent_s
        self._heard = time.monotonic()

    def ask(self) -> None:
        """Ask the loop to beat. Raises RuntimeError when it has not for too long, or is no more."""
        silent = time.monotonic() - self._heard
        if silent > self._silent_s:
            raise RuntimeError(f"the component's thread has not moved for {silent:.0f} s")
        self._host.call(self._beat)

    def _beat(self) -> None:
        self._heard = time.monotonic()


def _end(_number: int, _frame: object) -> NoReturn:
    """SIGTERM is taken like a closed stdin; a second one kills."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise StormWentAwayError
