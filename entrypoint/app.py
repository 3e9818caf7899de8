"""Every request by its path: the map of the room.

The routes are few and fixed, so they are looked up in two small tables; the framework's router, its match objects and
its middlewares would cost a receipt more than its check does. What goes wrong anywhere ends here as a problem document.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import structlog
from aiohttp import ClientConnectionError, hdrs, web

from entrypoint.browsers import Browsers, allow_reading, is_preflight, preflight
from entrypoint.docs_page import docs_page
from entrypoint.intake import Intake
from entrypoint.metrics import EntrypointMetrics
from entrypoint.openapi import openapi_json
from entrypoint.problems import INTERNAL, METHOD_NOT_ALLOWED, NOT_FOUND, ProblemError, from_error
from entrypoint.queries import Queries
from entrypoint.tokens import Tokens
from runtime import Probes
from streams.errors import TillstreamError

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: The page of documentation needs nothing from anywhere.
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Entrypoint:
    """The application: a low-level handler for `aiohttp.web.Server`."""

    def __init__(
        self,
        *,
        intake: Intake,
        queries: Queries,
        probes: Probes,
        tokens: Tokens | None,
        browsers: Browsers,
        metrics: EntrypointMetrics,
    ) -> None:
        self._check = browsers.check
        self._take = intake.take
        self._tokens = tokens
        self._requests = metrics.requests
        self._events_paths = frozenset({"/receipt", "/receipts"})
        self._openapi = openapi_json()
        self._page = docs_page(self._openapi)
        #: Path → method → handler.
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/": _reading(_to_docs),
            "/receipt": {"POST": intake.take},
            "/receipts": {"POST": intake.take, **_reading(queries.events)},
            "/totals": _reading(queries.totals),
            "/rejected": _reading(queries.rejected),
            "/healthz": _reading(_probe(probes.healthz)),
            "/readyz": _reading(_probe(probes.readyz)),
            "/metrics": _reading(_probe(probes.metricsz)),
            "/openapi.json": _reading(self._describe),
            "/docs": _reading(self._document),
        }
        #: Path up to its last segment → name of the route, methods.
        self._item_routes: Mapping[str, tuple[str, Mapping[str, Handler]]] = {
            "/receipts": ("/receipts/{id}", _reading(queries.event)),
            "/totals": ("/totals/{day}", _reading(queries.totals)),
            "/rejected": ("/rejected/{id}", _reading(queries.rejected_item)),
        }
        #: What is shown without a token: it says nothing about events.
        self._public = frozenset({"/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for a cancellation."""
        route, origin = "other", None
        response: web.StreamResponse
        try:
            origin = self._check(request)
            if request.raw_path in self._events_paths and request.method == "POST":
                route = request.raw_path
                response = await self._take(request)
            elif origin is not None and is_preflight(request):
                response = preflight()
            else:
                route, methods = self._find(request)
                response = await self._answer(request, route, methods)
        except TillstreamError as exc:
            response = self._explain(exc, route)
        except (ClientConnectionError, ConnectionError):  # nobody is there to be answered
            response = web.Response(status=400)
        except Exception:
            log.exception("a request failed unexpectedly", method=request.method, route=route)
            response = ProblemError(INTERNAL, "see the log").response()
        if origin is not None:
            allow_reading(response, origin)
        self._requests[route, response.status] += 1
        return response

    def _find(self, request: web.BaseRequest) -> tuple[str, Mapping[str, Handler]]:
        """The name of the route, and its handlers by method; none where nothing is there."""
        path = request.rel_url.raw_path
        for each in (path, path.removesuffix("/")):
            if (methods := self._routes.get(each)) is not None:
                return each, methods
        parent, _, item = path.rpartition("/")
        if item and (found := self._item_routes.get(parent)) is not None:
            return found
        return "other", {}

    async def _answer(self, request: web.BaseRequest, route: str, methods: Mapping[str, Handler]) -> web.StreamResponse:
        if self._tokens is not None and route not in self._public:
            self._tokens.check(request.headers.get(hdrs.AUTHORIZATION))
        if not methods:
            raise ProblemError(NOT_FOUND, f"nothing is at {request.rel_url.path[:200]}; /docs lists what is")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            raise ProblemError(METHOD_NOT_ALLOWED, f"{route} takes {allowed}", headers={"Allow": allowed})
        return await handler(request)

    def _explain(self, error: TillstreamError, route: str) -> web.Response:
        problem = from_error(error)
        if problem.type is INTERNAL:
            log.error("a request failed", route=route, exc_info=error)
        return problem.response()

    async def _describe(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")

    async def _document(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)


def _reading(handler: Handler) -> dict[str, Handler]:
    """A handler for GET, and for HEAD, whose body the framework leaves out."""
    return {"GET": handler, "HEAD": handler}


def _probe(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
    """A probe's handler, which is written for an application's request but does not look at it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await handler(cast(web.Request, request))

    return answer


async def _to_docs(_: web.BaseRequest) -> web.Response:
    return web.Response(status=307, headers={"Location": "/docs"})
