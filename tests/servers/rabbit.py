"""A private RabbitMQ for tests: own node, ports, data, cookie and epmd; nothing shared with another broker.

Not a deployment: it binds to loopback, keeps everything in a temporary folder, and is meant to be killed.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.support import free_port

#: Longer than the slowest start seen with both cores busy.
START_TIMEOUT_SECONDS = 120.0
#: A graceful stop flushes queues to disk; a node that takes longer is killed.
STOP_TIMEOUT_SECONDS = 30.0
#: Debian's command on PATH changes user and folder; the server's own script behind it does not.
DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")

_CONF = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api_port}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus_port}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
log.file.level = info
log.console = false
collect_statistics_interval = 1000
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.4
"""
#: Quorum queues report their lengths at each tick: every second instead of every five. The second is how long the
#: nodes of a cluster wait for a silent one (6 to 10 s): half of what docs/operations.md recommends.
_ADVANCED = "[{rabbit, [{quorum_tick_interval, 1000}]}, {kernel, [{net_ticktime, 8}]}].\n"


class RabbitMissingError(Exception):
    """There is no RabbitMQ to be had here; the text says what was looked for."""


def _script(name: str) -> str | None:
    """Path of a RabbitMQ script: Debian's own one behind its wrapper, else what is on PATH."""
    if (DEBIAN_SCRIPTS / name).exists():
        return str(DEBIAN_SCRIPTS / name)
    return shutil.which(name)


class Api:
    """The management API of one server: `get("/queues/%2F/name")`, `put`, `delete`; blocking, ten seconds at most."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
        manager.add_password(None, self.url, user, password, is_authenticated=True)
        no_proxy = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPBasicAuthHandler(manager))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request below `/api`; the decoded JSON answer, None when it is empty."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with self._opener.open(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """GET `/api{path}`."""
        return self.request("GET", path)

    def put(self, path: str, body: Any = None) -> Any:
        """PUT `/api{path}`."""
        return self.request("PUT", path, {} if body is None else body)

    def delete(self, path: str) -> Any:
        """DELETE `/api{path}`."""
        return self.request("DELETE", path)


class Rabbit:
    """A RabbitMQ server to test against.

    Attributes:
        url: amqp URL of the default vhost, with an administrator's name and password.
        api: its management API.
        private: whether it is ours to stop, kill and pause.
    """

    def __init__(self, url: str, api: Api, *, private: bool) -> None:
        self.url = url
        self.api = api
        self.private = private

    def vhost(self) -> str:
        """The amqp URL of a fresh vhost, gone with the server (an existing server keeps it until `drop_vhost`)."""
        name = f"test-{secrets.token_hex(6)}"
        self.api.put(f"/vhosts/{name}")
        parts = urlsplit(self.url)
        user = quote(unquote(parts.username or "guest"), safe="")
        self.api.put(f"/permissions/{name}/{user}", {"configure": ".*", "write": ".*", "read": ".*"})
        return parts._replace(path=f"/{name}").geturl()

    def drop_vhost(self, url: str) -> None:
        """Delete the vhost of a URL that `vhost` made; one that is gone is fine."""
        with contextlib.suppress(urllib.error.HTTPError):
            self.api.delete(f"/vhosts/{urlsplit(url).path[1:]}")

    def queue(self, url: str, name: str) -> dict[str, Any]:
        """What the management API says of a queue in the vhost of `url`; its figures lag by a second or more."""
        answer: dict[str, Any] = self.api.get(f"/queues/{urlsplit(url).path[1:] or '%2F'}/{name}")
        return answer

    def close(self) -> None:
        """Nothing to do for a server that is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a node shares with the others of its cluster.

    Attributes:
        name: of this node.
        names: of all nodes.
        cookie: the secret that lets them talk to one another.
        password: of the administrator.
        epmd_port: where they find one another; that epmd is not the node's to start.
    """

    name: str
    names: Sequence[str]
    cookie: str
    password: str
    epmd_port: int

    @property
    def configuration(self) -> str:
        """Further lines for rabbitmq.conf."""
        nodes = "".join(f"cluster_formation.classic_config.nodes.{at} = {name}\n" for at, name in enumerate(self.names))
        return f"cluster_partition_handling = autoheal\n{nodes}"


class PrivateRabbit(Rabbit):
    """A RabbitMQ of our own, in a temporary folder. All methods block; call them in a thread from async tests.

    Arguments:
        within: where its folder is made; by default where temporary files are.
        member: of which cluster it is a node; by default it is alone.

    Attributes:
        name: of the node.
    """

    def __init__(self, within: Path | None = None, member: Membership | None = None) -> None:
        script = _script("rabbitmq-server")
        if script is None or shutil.which("epmd") is None:
            raise RabbitMissingError("neither rabbitmq-server on PATH nor TILLSTREAM_TEST_RABBIT")
        self._script = script
        self.folder = Path(tempfile.mkdtemp(prefix="tillstream-rabbit-", dir=within))
        self.port, self.api_port = free_port(), free_port()
        self._member = member
        self._epmd_port = member.epmd_port if member else free_port()
        self.name = member.name if member else f"tillstream-{secrets.token_hex(4)}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        user, password = "tillstream", member.password if member else secrets.token_urlsafe(18)
        configuration = _CONF.format(
            port=self.port, api_port=self.api_port, prometheus_port=free_port(), user=user, password=password
        )
        if member:
            configuration += member.configuration
            (self.folder / ".erlang.cookie").write_text(member.cookie)
            (self.folder / ".erlang.cookie").chmod(0o400)
        (self.folder / "rabbitmq.conf").write_text(configuration)
        (self.folder / "advanced.config").write_text(_ADVANCED)
        (self.folder / "plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        (self.folder / "env.conf").write_text("")
        super().__init__(
            f"amqp://{user}:{password}@127.0.0.1:{self.port}/",
            Api(f"http://127.0.0.1:{self.api_port}/api", user, password),
            private=True,
        )
        self._env = self._environment()

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "HOME": folder,  # where Erlang makes the cookie: no other node's
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/env.conf",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": f"{folder}/log/rabbit.log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            # The script then becomes the server (no shell in between), so its pid is the one to signal.
            "RABBITMQ_ALLOW_INPUT": "true",
        }

    @property
    def running(self) -> bool:
        """Whether it was started and neither stopped nor killed."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("RabbitMQ is stopped")
        return self._process.pid

    def start(self) -> None:
        """Start, or start again with the same data and ports; returns when it takes connections and requests."""
        if self._epmd is None and self._member is None:
            self._epmd = start_epmd(self._epmd_port)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._script, "-noinput"],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the tests is not for the server
            )
        self._watch_over(self._process.pid, *((self._epmd.pid,) if self._epmd else ()))
        self._await_ready()

    def _watch_over(self, *pids: int) -> None:
        """Have a shell kill the processes and remove the folder when this process ends without doing so."""
        self._guard = subprocess.Popen(
            [
                "sh",
                "-c",
                'read _; folder=$1; shift; kill -9 "$@"; rm -rf "$folder"',
                "guard",
                self.folder,
                *map(str, pids),
            ],
            stdin=subprocess.PIPE,  # held open by us alone: its end is what the shell waits for
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not (self._listens(self.port) and self._listens(self.api_port)):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "output").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"RabbitMQ did not start:\n{tail}")
            time.sleep(0.05)

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        """Stop gracefully, bounded; data stays for the next start."""
        self._dismiss_guard()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """kill -9, as a power loss of the process; data stays for the next start."""
        self._dismiss_guard()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def sync(self) -> None:
        """Have the server write its register of quorum queues to disk now.

        RabbitMQ 3.10 does so only seconds after a queue was declared; a kill before that loses the queue whole,
        confirmed messages and all. Call it between declaring and killing.
        """
        self.ctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()].")

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return its output; takes a second or two."""
        script = _script("rabbitmqctl")
        if script is None:
            raise RabbitMissingError("rabbitmqctl is not on PATH")
        done = subprocess.run(
            [script, "--node", self._env["RABBITMQ_NODENAME"], *arguments],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Kill the server and its epmd (there is nothing to save) and remove the folder."""
        self.kill()
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait()
            self._epmd = None
        shutil.rmtree(self.folder, ignore_errors=True)


def start_epmd(port: int) -> subprocess.Popen[bytes]:
    """Start Erlang's register of nodes on a port of 127.0.0.1."""
    return subprocess.Popen(
        ["epmd", "-port", str(port), "-address", "127.0.0.1"],
        env={"PATH": os.environ.get("PATH", os.defpath)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def open_rabbit() -> Rabbit:
    """The server named by `TILLSTREAM_TEST_RABBIT` (and `TILLSTREAM_TEST_RABBIT_API`), else a private one, started.

    Raises RabbitMissingError when there is neither.
    """
    if url := os.environ.get("TILLSTREAM_TEST_RABBIT"):
        parts = urlsplit(url)
        api_url = os.environ.get("TILLSTREAM_TEST_RABBIT_API") or f"http://{parts.hostname}:15672/api"
        if not api_url.rstrip("/").endswith("/api"):
            api_url = api_url.rstrip("/") + "/api"
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        return Rabbit(url, Api(api_url, user, password), private=False)
    server = PrivateRabbit()
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server
