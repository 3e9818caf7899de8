"""A live page, one object per session: filled at once, then pushed only what changed."""

import math
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Protocol

import panel as pn
import structlog
from bokeh.document.events import MessageSentEvent

from dashboard import theme
from dashboard.moments import Moment
from dashboard.pages.frame import Pages, template
from dashboard.view import Common, common

log = structlog.get_logger("tillstream.dashboard")

#: How often a session looks at the moment, which changes once a second; only what changed is pushed. Looking once a
#: second, too, would let a receipt take two seconds to the screen.
EVERY_MILLISECONDS = 250
#: How often a session is sent a beat, whatever else it is sent: without one for three seconds the page knows that its
#: connection went silent (`assets/watch.js`).
BEAT_SECONDS = 1.0

#: Pane → its HTML, in which all that comes from events is escaped. Called once a moment for all sessions.
Texts = Callable[[Moment], Mapping[str, str]]


class Part(Protocol):
    """Something of a session's page that is more than text: a chart, a table."""

    @property
    def model(self) -> Any:
        """What Panel or Bokeh shows."""

    def update(self) -> None:
        """Push what changed since the last time. Called several times a second, so it has to be quick to see that
        nothing has."""


class LivePage:
    """A template with panes of text and other parts.

    Arguments:
        file: template that extends `live.html`; each text and part is one of its roots.
        path: of the page, below the prefix; see `frame.NAVIGATION`.
        texts: see `Texts`; `stamp` and `notice` are added here.
        parts: name → part.
        styles: rules for these panes, besides those that all panes have.
    """

    def __init__(
        self,
        pages: Pages,
        *,
        file: str,
        path: str,
        heading: str,
        texts: Texts,
        parts: Mapping[str, Part] | None = None,
        styles: str = "",
    ) -> None:
        self._moments = pages.moments
        self._make = texts
        self._shown = self._texts()
        self._panes = {name: text_pane(text, styles) for name, text in self._shown.items()}
        self._parts = dict(parts or {})
        self.template = pn.Template(template(file))
        for name, pane in self._panes.items():
            self.template.add_panel(name, pane)
        for name, part in self._parts.items():
            self.template.add_panel(name, part.model)
        for name, value in pages.frame.variables(path, heading).items():
            self.template.add_variable(name, value)

    def update(self) -> None:
        """Push what reads otherwise than before."""
        now = self._texts()
        if now != self._shown:
            before, self._shown = self._shown, now
            for name, text in now.items():
                if text != before[name]:
                    self._panes[name].object = text
        for part in self._parts.values():
            part.update()

    def _texts(self) -> dict[str, str]:
        return {**self._moments.made(_common), **self._moments.made(self._make)}


def show(make: Callable[[], LivePage]) -> Any:
    """Make a session's page and keep it up to date: what the server calls for each visitor.

    Returns what Panel serves. A page that cannot be made is logged, and said to be so in our words: Panel's own page
    for that asks other hosts for fonts.
    """
    try:
        page = make()
    except Exception:
        log.exception("the page cannot be made")
        return text_pane('<p class="notice alarm">This page cannot be made; the log of the dashboard says why.</p>')
    document = pn.state.curdoc
    if document is None:
        raise RuntimeError("a page is made for a session")
    # `add_periodic_callback` of Panel marks the page busy each time, which is a message more for nothing.
    document.add_periodic_callback(_keeping(page, document), EVERY_MILLISECONDS)
    # The page shows the loss of its connection and comes back by itself: see `assets/watch.js`.
    document.config.notify_connection_status = False
    document.config.reconnect_session = False
    return page.template


def _keeping(page: LivePage, document: Any) -> Callable[[], None]:
    """Updates the page, and then sends a beat when one is due: a page that cannot be updated has none."""
    last = -math.inf

    def keep() -> None:
        nonlocal last
        page.update()
        now = time.monotonic()
        if now - last >= BEAT_SECONDS:
            last = now
            document.callbacks.trigger_on_change(MessageSentEvent(document, "beat", None))

    return keep


def argument(name: str) -> str:
    """A query parameter of the session's address, empty when it is not there."""
    values = (pn.state.session_args or {}).get(name, [])
    return bytes(values[0]).decode("utf-8", "replace") if values else ""


def text_pane(text: str, styles: str = "") -> Any:
    """A pane of HTML of ours, with rules of its own after those that all panes have."""
    return pn.pane.HTML(  # type: ignore[no-untyped-call]
        text,
        stylesheets=[theme.PANE_CSS, styles] if styles else [theme.PANE_CSS],
        sizing_mode="stretch_width",
        margin=0,
    )


def _common(moment: Moment) -> dict[str, str]:
    """The panes that every live page has."""
    now = common(moment)
    return {
        "stamp": (
            f'<div class="stamp"><span>{escape(now.day)}</span><span>{escape(str(moment.config.timezone))}</span>'
            f'<span>updated <span class="time">{now.updated}</span></span></div>'
        ),
        "notice": _notice(moment, now),
    }


def _notice(moment: Moment, now: Common) -> str:
    if now.notice:
        alarm = " alarm" if now.notice.alarm else ""
        return f'<div class="notice{alarm}" role="status">{escape(now.notice.text)}</div>'
    if now.empty:
        where = escape(moment.config.receipt_url)
        return f'<div class="notice" role="status">No receipts yet: POST one to <code>{where}</code></div>'
    return ""
