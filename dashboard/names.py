"""By which names the dashboard may be reached. Pure.

Two attacks are meant. A page of another site opens a websocket to us with its visitor's cookies: its `Origin` is not
ours. And a name of another's is made to lead to us (DNS rebinding), so that its page may read ours: `Host` is that
name. The rules are those of every listener, see `runtime.hosts`.
"""

import socket

from dashboard.config import DashboardConfig
from runtime.hosts import HostNames, is_loopback

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def names_of(config: DashboardConfig, port: int) -> HostNames:
    """Our own names, and those that the configuration adds."""
    hosts = [*_LOOPBACK]
    if not is_loopback(config.host):
        bare = config.host.strip("[]")
        hosts += [socket.gethostname().lower(), f"[{bare}]" if ":" in bare else bare.lower()]
    return HostNames([*(f"{host}:{port}" for host in hosts), *config.origins])
