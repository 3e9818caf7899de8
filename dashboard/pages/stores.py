"""All stores of the day: a table that the browser sorts and searches, fed with the rows that changed."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.models.widgets.markups import Div

from dashboard.moments import Moment, Moments
from dashboard.pages.frame import Pages, asset
from dashboard.pages.live import LivePage
from dashboard.stores_view import Row, changes, store_rows, stores_facts

STYLES = asset("stores-pane.css")


def stores_page(pages: Pages) -> LivePage:
    """A session's page of all stores."""
    page = LivePage(
        pages,
        file="stores.html",
        path="stores",
        heading="Stores",
        texts=texts,
        parts={"data": StoreTable(pages.moments)},
        styles=STYLES,
    )
    formats = pages.moments.current.formats
    page.template.add_variable("locale", formats.tag)
    page.template.add_variable("currency", formats.currency)
    page.template.add_variable("store_address", pages.frame.address("store", id=""))
    return page


def texts(moment: Moment) -> dict[str, str]:
    """Pane → its HTML."""
    facts = stores_facts(moment)
    rows = [("Stores with receipts", facts.stores), ("Revenue", facts.revenue), ("Receipts", facts.receipts)]
    if facts.average:
        rows.append(("Revenue of a store, on average", facts.average))
    items = "".join(f'<div><dt>{name}</dt><dd class="number">{escape(value)}</dd></div>' for name, value in rows)
    return {"facts": f'<dl class="figures">{items}</dl>'}


class StoreTable:
    """The rows (a `dashboard.pages.live.Part`): one source, which `stores.js` makes a table of.

    A row keeps its place in the source for as long as the day lasts, so that a change is a patch of two numbers.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._shown = moments.made(store_rows)
        self._places = {name: place for place, name in enumerate(self._shown)}
        self._source = ColumnDataSource(data=_columns(self._shown, self._shown))

    @property
    def model(self) -> Any:
        """A place for the source in the document; it shows nothing."""
        return pn.pane.Bokeh(Div(name="stores", visible=False, tags=[self._source]))  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Push the rows that changed, and add new ones."""
        now = self._moments.made(store_rows)
        if now is self._shown:
            return
        news = changes(self._shown, now)
        self._shown = now
        if news.anew:
            self._places = {name: place for place, name in enumerate(now)}
            self._source.data = _columns(now, now)
            return
        if news.changed:
            self._source.patch(
                {
                    column: [(self._places[name], now[name][part]) for name in news.changed]
                    for part, column in enumerate(("cents", "count"))
                }
            )
        if news.added:
            for name in news.added:
                self._places[name] = len(self._places)
            self._source.stream(_columns(now, news.added))


def _columns(rows: Mapping[str, Row], names: Iterable[str]) -> dict[str, Any]:
    names = list(names)
    return {
        "store": names,
        "cents": [rows[name][0] for name in names],
        "count": [rows[name][1] for name in names],
    }
