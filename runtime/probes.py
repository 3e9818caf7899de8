"""What a process answers about itself over HTTP: alive, ready, metrics.

Workers and totals serve this on a port of their own (`Probes.serve`), the entrypoint on its one port
(`Probes.mount`). None of it is protected by tokens: it says nothing about events. A listener of their own refuses
requests that pages of other sites may have made.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from runtime.hosts import ForeignOriginError, HostNames, UnknownHostError, names_of_listener
from runtime.ports import cannot_listen
from streams.errors import ConfigurationError, TillstreamError

log = structlog.get_logger()

Check = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Handlers of /healthz, /readyz and /metrics.

    Attributes:
        checks: name → coroutine function that returns when the thing works, and raises when it does not.
        optional: names of checks whose failure leaves the process ready.
        abilities: member of /readyz → names of the checks that this ability needs, such as
            `answersQueries` → `store`: it says what the process can do right now.
        registry: where the process's metrics are registered.
        check_timeout_s: a check that takes longer has failed; all run side by side.
        metrics: gives the text of /metrics in place of the registry's, such as that of several processes.
        host_names: names by which a listener of their own may be asked, beside addresses and `localhost`.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    abilities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    registry: CollectorRegistry
    check_timeout_s: float = 2.0
    metrics: Callable[[], Awaitable[bytes]] | None = None
    host_names: tuple[str, ...] = ()

    def mount(self, app: web.Application) -> None:
        """Add the three paths to an application."""
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metricsz)

    @asynccontextmanager
    async def serve(self, host: str, port: int, setting: str = "") -> AsyncIterator[int]:
        """Serve them while the block runs; give the port, which the system chooses where `port` is 0.

        Arguments:
            setting: the variable that sets the port, if there is one.

        Raises ConfigurationError when the address cannot be listened on.
        """
        app = web.Application(middlewares=[_own_requests(names_of_listener(host, self.host_names))])
        self.mount(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as exc:
                raise ConfigurationError(f"probes: {cannot_listen(host, port, exc, setting)}") from exc
            bound: int = runner.addresses[0][1]
            log.debug("probes listening", host=host, port=bound)
            yield bound
        finally:
            await runner.cleanup()

    async def failing(self) -> dict[str, str]:
        """Run all checks side by side; return those that failed, name → what is wrong in a line."""
        outcomes = await asyncio.gather(*(self._outcome(check) for check in self.checks.values()))
        return {name: trouble for name, trouble in zip(self.checks, outcomes, strict=True) if trouble}

    async def healthz(self, request: web.Request) -> web.Response:
        """Alive: the event loop turns, or there would be no answer."""
        return web.json_response({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Ready, or 503; with the failing checks and the abilities."""
        failing = await self.failing()
        ready = self.optional.issuperset(failing)
        answer: dict[str, object] = {"status": "ready" if ready else "not ready"}
        answer |= {ability: needs.isdisjoint(failing) for ability, needs in self.abilities.items()}
        if ready:
            answer["checks"] = sorted(self.checks)
        if failing:
            answer["failing"] = failing
        return web.json_response(answer, status=200 if ready else 503)

    async def metricsz(self, request: web.Request) -> web.Response:
        """The metrics in Prometheus's text form."""
        text = generate_latest(self.registry) if self.metrics is None else await self.metrics()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _outcome(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self.check_timeout_s):
                await check()
        except TimeoutError:
            return f"no answer within {self.check_timeout_s:g} s"
        except TillstreamError as exc:
            return str(exc) or type(exc).__name__
        except Exception as exc:  # noqa: BLE001  # any failure is an answer; its text may not be for everyone
            log.warning("a readiness check failed unexpectedly", error=repr(exc))
            return type(exc).__name__
        return ""


def _own_requests(names: HostNames) -> Middleware:
    """A middleware that refuses requests which a page of another site may have made."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            names.check(request.headers.get(hdrs.HOST), request.headers.get(hdrs.ORIGIN))
        except UnknownHostError as exc:
            return _refusal(421, "This service does not have that name", exc)
        except ForeignOriginError as exc:
            return _refusal(403, "Requests from pages of other sites are refused", exc)
        return await handler(request)

    return check


def _refusal(status: int, title: str, error: TillstreamError) -> web.Response:
    document = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    return web.json_response(document, status=status, content_type="application/problem+json")
