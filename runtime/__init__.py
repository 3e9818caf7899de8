"""What every long-running process needs, whatever it does: nothing here knows events, brokers or stores.

- `runtime.addresses`: `masked`, an address without its password; taking addresses apart
- `runtime.running`: `run`, the event loop (uvloop) of a process
- `runtime.edited_files`: `read_edited`, `lines_of`, `read_value`, files of tokens, users and secrets
- `runtime.lifecycle`: `stop_event` for signals, `Tasks` that own background work
- `runtime.ports`: `cannot_listen`, the line about a port that is taken
- `runtime.probes`: `Probes`, the answers to /healthz, /readyz and /metrics
- `runtime.logs`: `configure_logging`, one form for our log lines and those of libraries; `debugging`
- `runtime.moments`: `read_moment`, times as people write them
- `runtime.retry`: `Backoff`, how long to wait before the next attempt
- `runtime.tls`: `tls_words`, errors of TLS for people
"""

from runtime.addresses import masked
from runtime.edited_files import lines_of, read_edited, read_value
from runtime.lifecycle import Tasks, stop_event
from runtime.logs import configure_logging, debugging
from runtime.moments import read_moment
from runtime.ports import cannot_listen
from runtime.probes import Probes
from runtime.retry import Backoff
from runtime.running import run
from runtime.tls import tls_words

__all__ = [
    "Backoff",
    "Probes",
    "Tasks",
    "cannot_listen",
    "configure_logging",
    "debugging",
    "lines_of",
    "masked",
    "read_edited",
    "read_moment",
    "read_value",
    "run",
    "stop_event",
    "tls_words",
]
