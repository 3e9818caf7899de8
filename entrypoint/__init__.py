"""HTTP in: events are taken by POST, confirmed by the broker before they are answered, and read back by GET.

- `entrypoint.app`: every request by its path; the map of the room
- `entrypoint.intake`: bodies → events → the group commit → 202
- `entrypoint.connections`: how many there may be, and how slow
- `entrypoint.bodies`: a request's body, bounded in size and time, decompressed
- `entrypoint.queries`: totals and stored events
- `entrypoint.problems`: errors in the form of RFC 9457
- `entrypoint.tokens`: who may come in
- `entrypoint.metrics`: what is counted, and /metrics
- `entrypoint.openapi`, `entrypoint.docs_page`: the description, for programs and for people
- `entrypoint.server`: start and stop of one process
- `entrypoint.processes`: several processes on one port
"""

from entrypoint.config import Bound, EntrypointConfig
from entrypoint.processes import supervise
from entrypoint.server import check, serve

__all__ = ["Bound", "EntrypointConfig", "check", "serve", "supervise"]
