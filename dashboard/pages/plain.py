"""Pages that are not live: HTML made when asked for, with addresses that can be kept and paged through."""

from typing import Any

import structlog
from tornado.web import HTTPError, RequestHandler

from dashboard.pages.frame import Pages
from streams.errors import TillstreamError

log = structlog.get_logger("tillstream.dashboard")

#: Pattern below the prefix, handler, what it is made with.
Route = tuple[str, type[RequestHandler], dict[str, Any]]


class PlainHandler(RequestHandler):
    """A page of ours; errors are pages of ours, too.

    Arguments:
        pages: what it is made from.
    """

    def initialize(self, pages: Pages) -> None:
        """Tornado's constructor."""
        self.pages = pages

    def page(self, template: str, path: str, heading: str, **values: Any) -> None:
        """Answer with a page; see `Frame.plain`."""
        self.set_header("Cache-Control", "no-store")
        self.finish(self.pages.frame.plain(template, path, heading, **values))

    def asked(self, name: str) -> str:
        """A query parameter, without the spaces around it; empty when it is not there."""
        return self.get_query_argument(name, "").strip()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong: errors of ours by their text, bugs by where to look."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, TillstreamError):
            self.set_status(503)
            text = str(error)
        elif isinstance(error, HTTPError):
            text = error.log_message or "There is nothing here."
        else:
            text = "This page cannot be made; the log of the dashboard says why."
        self.page("error.html", "", "This did not work", text=text)
