"""Pages that are not live: HTML made when asked for, with addresses that can be kept and paged through."""

from typing import Any

import structlog
from tornado.web import RequestHandler

from dashboard.guard import Guarded
from dashboard.pages.frame import Pages

log = structlog.get_logger("tillstream.dashboard")

#: Pattern below the prefix, handler, what it is made with.
Route = tuple[str, type[RequestHandler], dict[str, Any]]


class PlainHandler(Guarded):
    """A page of ours, for those who are logged in; errors are pages of ours, too.

    Arguments:
        pages: what it is made from.
    """

    def initialize(self, pages: Pages) -> None:
        """Tornado's constructor."""
        self.pages = pages

    async def prepare(self) -> None:
        """Who looks at a page stays logged in."""
        await super().prepare()
        if not self._finished and self.site.gate is not None:
            self.site.gate.renew(self)

    def asked(self, name: str) -> str:
        """A query parameter; empty when it is not there. See `given`."""
        return self.given(name) or ""

    def given(self, name: str) -> str | None:
        """A query parameter exactly as it was sent; None when it is not there. Ids and names are compared exactly, and
        Tornado's own methods would take blanks away from them."""
        values = self.request.query_arguments.get(name)
        return None if values is None else self.decode_argument(values[-1], name)
