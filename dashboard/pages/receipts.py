"""Looking up receipts: the form and the list. One receipt is in `pages.receipt`, the list as CSV in `receipts_csv`."""

from datetime import datetime
from typing import Any

from babel import Locale

from dashboard.moments import Moment
from dashboard.pages import receipts_list as shown
from dashboard.pages.frame import Pages
from dashboard.pages.plain import PlainHandler, Route, log
from dashboard.pages.receipt import ReceiptPage
from dashboard.pages.receipts_csv import ReceiptsCsv
from dashboard.pages.receipts_filters import Filters, Form, read_form
from store.errors import StoreError
from store.protocol import Page, StoredEvent

#: Receipts on a page.
PAGE = 50
#: Categories that the field offers; what is beyond them can be typed.
MOST_OFFERED = 200


def receipts_routes(pages: Pages) -> list[Route]:
    """The pages of receipts; none of them is live."""
    return [
        (r"/receipts", ReceiptsPage, {"pages": pages}),
        (r"/receipt", ReceiptPage, {"pages": pages}),
        (r"/receipts\.csv", ReceiptsCsv, {"pages": pages, "read": read}),
    ]


def read(handler: PlainHandler) -> Form:
    """What the address of a request asks for."""
    config = handler.pages.moments.current.config
    return read_form(
        handler.given,
        today=datetime.now(config.timezone).date().isoformat(),
        locale=Locale.parse(config.locale.replace("-", "_")),
    )


class ReceiptsPage(PlainHandler):
    """`/receipts?…`: the newest receipts that meet all filters, or those behind `after`."""

    async def get(self) -> None:
        """Answer with the list; an identity leads straight to its receipt."""
        form, after = read(self), self.asked("after")
        if form.filters is None:
            self.set_status(400)
            self._list(form)
            return
        address = form.filters.parameters()
        if len(address) < len(set(self.request.query_arguments) - {"after", "kiosk"}):
            # A form sends its empty fields, too: leave them out, so that the address is fit to be kept.
            self.redirect(self.pages.frame.address("receipts", **address), status=303)
            return
        try:
            if await self._is_identity(form.filters.keys.get("receipt", "")):
                self.redirect(self.pages.frame.address("receipt", id=form.filters.keys["receipt"]), status=303)
                return
            found = await self._find(form.filters, after)
            lost = bool(after) and not found and not await self._exists(after)
        except StoreError as exc:
            log.warning("receipts cannot be listed", error=str(exc))
            self.set_status(503)
            self._list(form, failed=str(exc))
            return
        self._list(form, found=found, more=found.more, after=after, lost=lost)

    async def _find(self, filters: Filters, after: str) -> Page[StoredEvent]:
        query, stream = filters.query(after=after, limit=PAGE), self.pages.stored.stream.name
        return await self.pages.stored.ask(lambda store: store.events(stream, query))

    async def _is_identity(self, text: str) -> bool:
        """Whether this is the identity of a stored receipt; a receipt's number alone has no colon in it."""
        return ":" in text and await self._exists(text)

    async def _exists(self, id: str) -> bool:
        stream = self.pages.stored.stream.name
        return await self.pages.stored.ask(lambda store: store.event(stream, id)) is not None

    def _list(
        self,
        form: Form,
        *,
        found: list[StoredEvent] | None = None,
        more: bool = False,
        after: str = "",
        lost: bool = False,
        failed: str = "",
    ) -> None:
        moment, address = self.pages.moments.current, self.pages.frame.address
        formats, zone = moment.formats, moment.config.timezone
        filters = form.filters or Filters()
        parameters, events = filters.parameters(), found or []
        self.page(
            "receipts.html",
            "receipts",
            "Receipts",
            form=form,
            offered=_offered(moment, events),
            chips=[
                (chip, address("receipts", **filters.parameters(without=chip.name)))
                for chip in shown.chips(filters, formats)
            ],
            rows=[shown.row(event, zone, formats) for event in events],
            colours=moment.colours.of(shown.names(events)),
            day=shown.long_day(filters.day) if filters.day else "",
            currency=formats.currency,
            state=_state(form.filters, found, after=after, lost=lost, failed=failed),
            failed=failed,
            slow=not filters.indexed,
            clear=address("receipts"),
            any_day=address("receipts", **filters.parameters(without="day")),
            bare=address("receipts", **filters.bare().parameters()) if filters.bare() != filters else "",
            receipt_url=moment.config.receipt_url,
            receipt=lambda id: address("receipt", id=id),
            newest=address("receipts", **parameters) if after else "",
            older=address("receipts", **parameters, after=events[-1].id) if more else "",
            csv=address("receipts.csv", **parameters) if events else "",
        )


def _state(filters: Filters | None, found: list[StoredEvent] | None, *, after: str, lost: bool, failed: str) -> str:
    """What the page has to say instead of a list; empty when it has one."""
    if filters is None:
        return "wrong"
    if failed:
        return "failed"
    if found:
        return ""
    if after:
        return "lost" if lost else "end"
    others = filters.parameters(without="day").keys() - {"day"}
    return "nothing" if others or not filters.day else "quiet"


def _offered(moment: Moment, events: list[StoredEvent]) -> list[str]:
    """Categories to choose from: those sold today, and those of the list."""
    sold: Any = moment.snapshot.categories
    known = {name for name in (sold.categories if sold else ()) if name} | set(shown.names(events))
    return sorted(known, key=str.casefold)[:MOST_OFFERED]
