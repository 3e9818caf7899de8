"""Three private RabbitMQ nodes that are one cluster: each to be killed, frozen, cut off from the others, and healed."""

import contextlib
import secrets
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.rabbit import START_TIMEOUT_SECONDS, Api, Membership, PrivateRabbit, Rabbit, start_epmd
from tests.support import free_port

NODES = 3
#: Autohealing begins within a second.
STABLE_SECONDS = 2.0


class _AnyApi(Api):
    """The management API of whichever node answers."""

    def __init__(self, nodes: Sequence[Api]) -> None:
        self._nodes = nodes

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request, to the first node that takes it."""
        for api in self._nodes[:-1]:
            with contextlib.suppress(ConnectionError, TimeoutError):
                return _unwrapped(api, method, path, body)
        return self._nodes[-1].request(method, path, body)


def _unwrapped(api: Api, method: str, path: str, body: Any) -> Any:
    """A request whose lost connections are raised as such, and not as an error of the address."""
    import urllib.error

    try:
        return api.request(method, path, body)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as exc:
        if isinstance(exc.reason, Exception):
            raise exc.reason from exc
        raise


class RabbitCluster(Rabbit):
    """Three nodes of our own on 127.0.0.1. All methods block; call them in a thread from async tests.

    Nodes that were parted join one another by themselves (`autoheal`), as docs/operations.md recommends it.

    Attributes:
        nodes: each with its own ports, data and `kill`, `pause`, `resume`, `start`.
        url: names all of them.
    """

    def __init__(self, within: Path | None = None) -> None:
        token = secrets.token_hex(4)
        names = [f"tillstream-{token}-{number}@localhost" for number in range(1, NODES + 1)]
        self._cookie, password, port = secrets.token_hex(16), secrets.token_urlsafe(18), free_port()
        self._epmd_port = port
        self._epmd: subprocess.Popen[bytes] | None = None
        self._parted: list[PrivateRabbit] = []
        self.nodes = [
            PrivateRabbit(
                within,
                Membership(name=name, names=names, cookie=self._cookie, password=password, epmd_port=port),
            )
            for name in names
        ]
        super().__init__(
            self.url_by([node.port for node in self.nodes]), _AnyApi([node.api for node in self.nodes]), private=True
        )

    def url_by(self, ports: Sequence[int], url: str = "") -> str:
        """A URL of the cluster, or of a vhost of it, by way of these ports of 127.0.0.1."""
        parts = urlsplit(url or self.nodes[0].url)
        credentials = parts.netloc.rpartition("@")[0]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"{parts.scheme}://{credentials}@{hosts}{parts.path}"

    def start(self) -> None:
        """Start all nodes side by side; returns when they are one cluster."""
        self._epmd = start_epmd(self._epmd_port)
        with ThreadPoolExecutor(NODES) as starting:
            list(starting.map(PrivateRabbit.start, self.nodes))
        self._await_joined()

    def _await_joined(self) -> None:
        """Wait until each node has said for a while that all run: one that was frozen learns late that it was away."""
        deadline, since = time.monotonic() + START_TIMEOUT_SECONDS, time.monotonic()
        while time.monotonic() - since < STABLE_SECONDS:
            if time.monotonic() > deadline:
                raise RuntimeError("the nodes of the cluster do not see one another")
            if not all(map(self._sees_all, self.nodes)):
                since = time.monotonic()
            time.sleep(0.1)

    def _sees_all(self, node: PrivateRabbit) -> bool:
        try:
            return [each["running"] for each in node.api.get("/nodes")] == [True] * NODES
        except OSError:  # its management does not answer now
            return False

    def cut_off(self, node: PrivateRabbit) -> None:
        """Part one node from the others: they lose their connections, and cannot make new ones."""
        others = [f"'{other.name}'" for other in self.nodes if other is not node]
        self._parted.append(node)
        node.ctl(
            "eval",
            f"[begin erlang:set_cookie(N, parted), erlang:disconnect_node(N) end || N <- [{', '.join(others)}]].",
        )

    def rejoin(self, node: PrivateRabbit) -> None:
        """Let a node that was cut off find the others again."""
        others = [f"'{other.name}'" for other in self.nodes if other is not node]
        node.ctl("eval", f"[erlang:set_cookie(N, '{self._cookie}') || N <- [{', '.join(others)}]].")

    def heal(self) -> None:
        """Undo all that was done to any node, and wait until all are one cluster again."""
        while self._parted:
            self.rejoin(self._parted.pop())
        for node in self.nodes:
            if node.running:
                node.resume()
            else:
                node.start()
        self._await_joined()

    def sync(self) -> None:
        """Have each node write its register of quorum queues to disk now; see `PrivateRabbit.sync`."""
        for node in self.nodes:
            node.sync()

    def close(self) -> None:
        """Kill all nodes and remove their folders."""
        for node in self.nodes:
            node.close()
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait()
            self._epmd = None
