"""Requests of browsers: refused where another site may have made them, allowed where CORS lists that site.

Where tokens are needed, a page of another site has none, so only CORS is of interest there.
"""

from collections.abc import Iterable

from aiohttp import hdrs, web

from entrypoint.problems import ProblemError, from_error
from runtime.hosts import ForeignOriginError, HostNames, read_origin

#: How long browsers may remember the answer to a preflight request; Chromium caps it at two hours.
_PREFLIGHT_SECONDS = 7200
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding",
    "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
}
_EXPOSED = "Retry-After, Allow, Accept-Post, WWW-Authenticate"


class Browsers:
    """The rules for requests of browsers.

    Arguments:
        names: the listener's names; None where tokens are needed, which keep other sites out.
        origins: origins such as `https://till.example` whose pages may send and read (CORS).
    """

    def __init__(self, names: HostNames | None, origins: Iterable[str]) -> None:
        self._names = names
        self._origins = frozenset(filter(None, map(read_origin, origins)))

    def check(self, request: web.BaseRequest) -> str | None:
        """The listed origin that a request comes from, None for all others.

        Raises ProblemError for a request that another site may have made.
        """
        headers = request.headers
        origin = headers.get(hdrs.ORIGIN)
        listed = origin if origin is not None and read_origin(origin) in self._origins else None
        if self._names is not None:
            try:
                self._names.check(headers.get(hdrs.HOST), None if listed else origin)
            except ForeignOriginError as exc:
                problem = from_error(exc)
                raise ProblemError(
                    problem.type, f"{exc}. If tills send from there, list it in TILLSTREAM_CORS_ORIGINS"
                ) from None
        return listed


def is_preflight(request: web.BaseRequest) -> bool:
    """Whether a browser asks beforehand if a page may send a request."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def preflight() -> web.Response:
    """The answer to the preflight request of a listed origin. It needs no token: browsers send none with it."""
    return web.Response(status=204, headers=_PREFLIGHT)


def allow_reading(response: web.StreamResponse, origin: str) -> None:
    """Let pages of a listed origin read an answer."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
    response.headers[hdrs.VARY] = hdrs.ORIGIN
