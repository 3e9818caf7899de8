"""One store's own day: its live figures from the totals, and details that are read from its stored events."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from dashboard.formats import UNKNOWN
from dashboard.moments import Moment
from dashboard.pages.frame import Frame, Pages, asset
from dashboard.pages.live import LivePage, argument, text_pane
from dashboard.store_day import StoreDay
from dashboard.store_view import Hour, Latest, Line, events_of, ranks, store_details, store_facts

STYLES = asset("lines.css") + asset("store-pane.css")


def store_page(pages: Pages) -> LivePage:
    """A session's page of one store's day: `?id=`."""
    store = argument("id")
    page = LivePage(
        pages,
        file="store.html",
        path="stores",
        heading=f"Store {store}" if store else "No store chosen",
        texts=StoreTexts(store),
        parts={"details": DetailsPane(pages, store)},
        styles=STYLES,
    )
    page.template.add_variable("all_stores", pages.frame.address("stores"))
    page.template.add_variable("receipts", pages.frame.address("receipts", store=store))
    return page


@dataclass(frozen=True, slots=True)
class StoreTexts:
    """Makes the live panes of a store; equal for equal stores, so that it is done once for all who look at one."""

    store: str

    def __call__(self, moment: Moment) -> dict[str, str]:
        """Pane → its HTML."""
        facts = store_facts(moment, self.store, ranks(moment))
        basket = f'<p class="small">{escape(facts.basket)} on average</p>' if facts.basket else ""
        share = f'<p class="small">{facts.share} of the revenue of all stores</p>' if facts.share else ""
        place = facts.rank or UNKNOWN
        return {
            "revenue": f'<p class="number large">{escape(facts.revenue)}</p>{share}',
            "receipts": f'<p class="number large">{facts.receipts}</p>{basket}',
            "rank": f'<p class="number large">{place}</p><p class="small">by revenue, among the stores of the day</p>',
        }


class DetailsPane:
    """The cards that are read from the store (a `dashboard.pages.live.Part`)."""

    def __init__(self, pages: Pages, store: str) -> None:
        self._pages = pages
        self._store = store
        self._seen: tuple[object, ...] = ()
        self._pane = text_pane("", STYLES)
        self.update()

    @property
    def model(self) -> Any:
        """What Panel shows."""
        return self._pane

    def update(self) -> None:
        """Have it read again if that is due, and show what was read."""
        moment = self._pages.moments.current
        day = moment.snapshot.day
        if not self._store or day is None:
            self._show((day,), lambda: _nothing(self._store, self._pages.frame))
            return
        known = (moment.snapshot.epoch, events_of(moment, self._store))
        reading = self._pages.store_days.look(day, self._store, known)
        latest, error = reading.latest, reading.error
        self._show((latest, error), lambda: details(latest, error, moment, self._pages.frame))

    def _show(self, seen: tuple[object, ...], make: Any) -> None:
        if seen != self._seen:
            self._seen = seen
            self._pane.object = make()


def details(read: StoreDay | None, error: str, moment: Moment, frame: Frame) -> str:
    """The cards, as HTML."""
    trouble = f"The store's receipts cannot be read: {escape(error)}. Trying again." if error else ""
    if read is None:
        return _notice(trouble, alarm=True) if trouble else '<p class="hint">Reading the receipts of the day …</p>'
    above = _notice(trouble, alarm=True) if trouble else ""
    if not read.count:
        return above + _no_receipts(read, frame)
    shown, currency = store_details(read, moment), escape(moment.config.currency)
    cards = (
        _card("hours", "Revenue by the hour", _hours(shown.hours)),
        _card("categories", f"Sales by category ({currency})", _lines(shown.categories, "(no category)")),
        _card("payments", f"Payments ({currency})", _lines(shown.payments, "(not named)")),
        _card("newest", f"Newest receipts ({currency})", _newest(shown.newest, read, frame)),
    )
    return f'{above}<div class="cards">{"".join(cards)}</div><p class="small note">{escape(shown.note)}</p>'


def _nothing(store: str, frame: Frame) -> str:
    if store:
        return '<p class="hint">Waiting for the first totals …</p>'
    return _notice(f'Choose a store from <a href="{escape(frame.address("stores"))}">all stores of the day</a>.')


def _no_receipts(read: StoreDay, frame: Frame) -> str:
    name = escape(read.store)
    stores = f'<a href="{escape(frame.address("stores"))}">all stores of the day</a>'
    if read.before is None:
        return _notice(
            f"There is no receipt of a store “{name}”, of this day or any other. Look at {stores}, or check how it is "
            "written."
        )
    earlier = escape(frame.address("receipts", store=read.store))
    return _notice(
        f"Store {name} has no receipts of {escape(read.day)} yet. Its last ones are of "
        f'<a href="{earlier}">{escape(read.before.day)}</a>; other stores: {stores}.'
    )


def _notice(html: str, *, alarm: bool = False) -> str:
    return f'<div class="notice{" alarm" if alarm else ""}" role="status">{html}</div>'


def _card(name: str, heading: str, content: str) -> str:
    return f'<section class="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{heading}</h2>{content}</section>'


def _hours(rows: Iterable[Hour]) -> str:
    items = "".join(
        f'<li title="{_span(row)}"><span class="column" style="height:{row.height}%"></span>'
        f'<span class="hour" aria-hidden="true">{row.hour:02}</span><span class="hidden">{_span(row)}</span></li>'
        for row in rows
    )
    return f'<ol class="hours">{items}</ol>'


def _span(row: Hour) -> str:
    return f"{row.hour:02}:00 to {row.hour + 1:02}:00: {escape(row.revenue)}, {row.receipts}"


def _lines(rows: Iterable[Line], nameless: str) -> str:
    items = "".join(_line(row, nameless) for row in rows)
    return f'<ol class="lines">{items}</ol>' if items else '<p class="hint">None yet.</p>'


def _line(row: Line, nameless: str) -> str:
    dot = f'<span class="dot" style="background:{row.colour}"></span>' if row.colour else ""
    return (
        f'<li><span class="name">{dot}{escape(row.name or nameless)} <span class="small">{row.detail}</span></span>'
        f'<span class="amount">{row.amount}</span><span class="share">{row.share}</span>'
        '<span class="track" aria-hidden="true">'
        f'<span class="fill" style="width:{row.width}%;background:{row.colour or "var(--mark)"}"></span></span></li>'
    )


def _newest(rows: Iterable[Latest], read: StoreDay, frame: Frame) -> str:
    body = "".join(
        f'<tr><td>{row.time}</td><td><a href="{escape(frame.address("receipt", id=row.id))}">'
        f"{escape(row.number) or '(no number)'}</a></td><td>{escape(row.terminal)}</td>"
        f'<td class="end">{row.amount}</td></tr>'
        for row in rows
    )
    more = escape(frame.address("receipts", store=read.store, day=read.day))
    return (
        '<table class="list" aria-labelledby="h-newest"><thead><tr><th scope="col">Time</th>'
        '<th scope="col">Receipt</th>'
        f'<th scope="col">Till</th><th scope="col" class="end">Amount</th></tr></thead><tbody>{body}</tbody></table>'
        f'<p class="on"><a href="{more}">All receipts of this store and day</a></p>'
    )
