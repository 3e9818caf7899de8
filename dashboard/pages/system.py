"""How the system is doing: what an operator opens when something is slow."""

import platform
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape

import bokeh
import panel as pn

from dashboard.moments import Moment
from dashboard.pages.frame import Frame, Pages, asset
from dashboard.pages.live import LivePage
from dashboard.pages.plain import Route
from dashboard.pages.rejected import RejectedItemPage, RejectedPage
from dashboard.reading import Reading
from dashboard.rejected_view import reason_of
from dashboard.rejections import Rejections
from dashboard.system_view import Figure, State, SystemView, rejected_figure, system_view, troubles

STYLES = asset("lines.css") + asset("system-pane.css")

#: Each state in words and in a shape, so that its colour says nothing that they do not.
_WORDS: dict[State, str] = {"good": "good", "look": "have a look", "bad": "trouble", "unknown": "not known"}
_SHAPES: dict[State, str] = {
    "good": '<circle cx="8" cy="8" r="7"/><path class="in" d="M4.6 8.2l2.4 2.4 4.4-5"/>',
    "look": '<path d="M8 .8 15.6 14.6H.4z"/><path class="in" d="M8 5.6v4.2M8 12v.4"/>',
    "bad": '<path d="M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5z"/><path class="in" d="M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2"/>',
    "unknown": '<circle class="ring" cx="8" cy="8" r="6.4"/><path class="dash" d="M5 8h6"/>',
}


def system_page(pages: Pages) -> LivePage:
    """A session's page of the system."""
    return LivePage(
        pages,
        file="system.html",
        path="system",
        heading="System",
        texts=SystemTexts(pages.rejections, pages.frame),
        styles=STYLES,
    )


def system_routes(pages: Pages) -> list[Route]:
    """The pages behind it that are not live: what was rejected."""
    return [
        (r"/rejected", RejectedPage, {"pages": pages}),
        (r"/rejected-item", RejectedItemPage, {"pages": pages}),
    ]


@dataclass(frozen=True, slots=True)
class SystemTexts:
    """Makes the panes of the page once for all sessions, and has what was rejected read while there are any."""

    rejections: Reading[Rejections]
    frame: Frame

    def __call__(self, moment: Moment) -> dict[str, str]:
        """Pane → its HTML."""
        self.rejections.look(news=frozenset(moment.snapshot.rejected.items()))
        kept, error = self.rejections.latest, self.rejections.error
        view = system_view(moment)
        rejected = rejected_figure(
            dict(kept.counts) if kept else None,
            next((item.first_seen for item in kept.newest if item.status == "open"), None) if kept else None,
            error,
            moment,
        )
        return {
            "verdict": verdict((*view.figures, rejected)),
            "live": _figure(view.live)
            + _facts([("Revision", view.revision), ("As of", view.as_of)])
            + _figure(view.messages)
            + _facts([("Passed over as old", view.ignored)]),
            "incoming": _incoming(view),
            "minutes": _minutes(view),
            "delays": _delays(view),
            "queues": _figures((view.waiting, view.dead, view.lag)),
            "workers": _workers(view),
            "rejected": _rejected(rejected, kept, moment, self.frame),
            "versions": _versions(moment),
            "settings": _settings(moment),
        }


def verdict(figures: Iterable[Figure]) -> str:
    """Whether anything has to be done, in one look."""
    found = troubles(tuple(figures))
    if not found:
        return f'<div class="verdict good" role="status">{_state("good", "Everything is as it should be.")}</div>'
    items = "".join(
        f"<li>{_state(figure.state)} <strong>{escape(figure.name)}: {escape(figure.value)}.</strong> "
        f"{_prose(figure.todo)}</li>"
        for figure in found
    )
    return f'<div class="verdict {found[0].state}" role="status"><ul>{items}</ul></div>'


def _figure(figure: Figure, *, named: bool = True) -> str:
    """A figure; not `named` where the card's heading names it already."""
    name = f"<h3>{escape(figure.name)}</h3>" if named else ""
    todo = f'<p class="todo">{_prose(figure.todo)}</p>' if figure.todo else ""
    return (
        f'<div class="figure">{name}<p class="value number">{escape(figure.value)}</p>'
        f'{_state(figure.state)}<p class="small why">{escape(figure.why)}.</p>{todo}</div>'
    )


def _figures(figures: Iterable[Figure]) -> str:
    return f'<div class="figures">{"".join(_figure(figure) for figure in figures)}</div>'


def _state(state: State, words: str = "") -> str:
    return (
        f'<span class="state {state}"><svg viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[state]}</svg>'
        f"{words or _WORDS[state]}</span>"
    )


def _incoming(view: SystemView) -> str:
    return _figure(view.pace) + (f'<p class="small">{view.so_far}</p>' if view.so_far else "")


def _minutes(view: SystemView) -> str:
    """A chart of the minutes that are over. Apart from what changes every second, since it is long."""
    if not view.minutes:
        return ""
    width = 600 / len(view.minutes)
    bars = "".join(
        f'<rect x="{place * width:.1f}" y="{100 - each.height}" width="{width * 0.82:.1f}" height="{each.height}">'
        f"<title>{each.time}: {each.count}</title></rect>"
        for place, each in enumerate(view.minutes)
    )
    first, last = view.minutes[0].time, view.minutes[-1].time
    said = f"Receipts per minute from {first} to {last}, at most {view.top}"
    return (
        f'<figure class="minutes"><figcaption class="small">By the minute of their arrival, at most {view.top}. '
        f"{escape(view.note)}</figcaption>"
        f'<svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label="{said}">{bars}</svg>'
        f'<div class="axis small" aria-hidden="true"><span>{first}</span><span>{last}</span></div></figure>'
    )


def _delays(view: SystemView) -> str:
    above = _figures((view.storing, view.sending))
    if not view.delays:
        return above
    rows = "".join(
        f'<tr><th scope="row">{row.what} <span class="small">{row.when}</span></th><td class="end">{row.p50}</td>'
        f'<td class="end">{row.p99}</td><td class="end">{row.mean}</td><td class="end">{row.max}</td></tr>'
        for row in view.delays
    )
    return (
        f'{above}<div class="scroll" tabindex="0" role="region" aria-label="Delays">'
        '<table class="list"><thead><tr><th scope="col">From … to</th>'
        '<th scope="col" class="end">Half within</th><th scope="col" class="end">99 % within</th>'
        f'<th scope="col" class="end">Mean</th><th scope="col" class="end">Most</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _workers(view: SystemView) -> str:
    items = "".join(
        f'<li><span class="name">{escape(row.name)}</span><span class="amount">{row.events}</span>'
        f'<span class="share">{row.share}</span>'
        f'<span class="track" aria-hidden="true"><span class="fill" style="width:{row.width}%"></span></span></li>'
        for row in view.shares
    )
    shares = (
        f'<h3>Their receipts of the last minute</h3><ol class="lines">{items}</ol>'
        if items
        else '<p class="hint">No worker counted anything in the last minute.</p>'
    )
    return _figure(view.workers, named=False) + shares


def _rejected(figure: Figure, kept: Rejections | None, moment: Moment, frame: Frame) -> str:
    if kept is None:
        return _figure(figure, named=False)
    everything = escape(frame.address("rejected"))
    reasons = "".join(
        f'<li><a class="chip" href="{escape(frame.address("rejected", reason=reason))}">{escape(reason)} '
        f"{moment.formats.count(number)}</a></li>"
        for reason, number in sorted(kept.counts.items())
        if number
    )
    rows = "".join(
        f'<tr><td class="time">{_when(item.first_seen, moment)}</td><td>{escape(reason_of(item))}</td><td>'
        f'<a href="{escape(frame.address("rejected-item", id=item.id))}">{escape(_short(item.detail))}</a></td></tr>'
        for item in kept.newest
    )
    newest = (
        '<h3>The newest</h3><table class="list"><thead><tr><th scope="col">When</th><th scope="col">Reason</th>'
        f'<th scope="col">What is wrong</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p><a href="{everything}">Everything that was rejected</a></p>'
        if rows
        else '<p class="hint">Nothing was ever rejected.</p>'
    )
    return (
        _figure(figure, named=False)
        + (f'<ul class="chips" aria-label="To be dealt with, by reason">{reasons}</ul>' if reasons else "")
        + newest
    )


def _versions(moment: Moment) -> str:
    return _facts(
        [
            ("Tillstream", moment.config.version or "not known"),
            ("Python", platform.python_version()),
            ("Panel", pn.__version__),
            ("Bokeh", bokeh.__version__),
            ("SQLite", sqlite3.sqlite_version),
            ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ]
    )


def _settings(moment: Moment) -> str:
    settings = moment.config.settings
    if not settings:
        return '<p class="hint">This process was not told by settings.</p>'
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{escape(value)}</td>'
        f'<td class="{"small" if origin == "default" else "set"}">{escape(origin)}</td></tr>'
        for name, value, origin in settings
    )
    return (
        f"<details><summary>{len(settings)} settings of this process</summary>"
        '<table class="list"><thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<dl class="facts">{items}</dl>'


def _prose(text: str) -> str:
    """A sentence of ours in which `commands` are marked as in Markdown."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _when(epoch: float, moment: Moment) -> str:
    at = datetime.fromtimestamp(epoch, moment.config.timezone)
    today = at.date().isoformat() == moment.snapshot.day
    return at.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"
