"""One receipt: as its till printed it, its way into the totals, and the JSON that was sent."""

from dataclasses import dataclass

import msgspec

from dashboard.pages.plain import PlainHandler, log
from dashboard.pages.receipt_journey import journey
from dashboard.pages.receipt_slip import slip
from dashboard.pages.receipts_list import short
from store.errors import StoreError
from store.protocol import LedgerEntry, Store, StoredEvent
from streams.errors import InvalidEventError


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go to."""

    text: str
    href: str


class ReceiptPage(PlainHandler):
    """`/receipt?id=`."""

    async def get(self) -> None:
        """Answer with the receipt, with 404 when there is none, with 503 when the store does not answer."""
        id = self.asked("id")
        try:
            event, entry = await self.pages.stored.ask(lambda store: self._read(store, id))
        except StoreError as exc:
            log.warning("a receipt cannot be read", error=str(exc))
            self._missing(503, "The store does not answer, so this receipt cannot be shown now. Nothing is lost.")
        else:
            if event is None:
                self._missing(404, f"No receipt is stored under the id {short(id)}." if id else "No receipt was named.")
            else:
                self._show(event, entry)

    async def _read(self, store: Store, id: str) -> tuple[StoredEvent | None, LedgerEntry | None]:
        """A receipt, and what became of its frame."""
        stream = self.pages.stored.stream.name
        event = await store.event(stream, id) if id else None
        return event, await store.entry(stream, event.frame) if event else None

    def _missing(self, status: int, text: str) -> None:
        self.set_status(status)
        self.page(
            "receipt_missing.html", "receipts", "No receipt", text=text, again=status == 503,
            look_up=self.pages.frame.address("receipts"),
        )  # fmt: skip

    def _show(self, event: StoredEvent, entry: LedgerEntry | None) -> None:
        moment = self.pages.moments.current
        try:
            paper = self.pages.stored.stream.paper(event.body)
        except InvalidEventError as exc:  # stored by a version of ours that took more than this one does
            log.warning("a stored receipt cannot be read", id=event.id, error=str(exc))
            sheet = None
        else:
            sheet = slip(paper, moment.formats)
        self.page(
            "receipt.html",
            "receipts",
            sheet.title if sheet else f"Receipt {event.keys.get('receipt', '')}",
            slip=sheet,
            colours=moment.colours.of(line.category for line in sheet.lines) if sheet else {},
            steps=journey(event, entry, moment.config.timezone),
            event=event,
            timezone=str(moment.config.timezone),
            json=_indented(event.body),
            links=self._links(event),
        )

    def _links(self, event: StoredEvent) -> list[Link]:
        address, store, customer = self.pages.frame.address, event.keys.get("store"), event.keys.get("customer")
        found = []
        if store:
            found += [
                Link(f"Receipts of store {short(store)} on this day", address("receipts", day=event.day, store=store)),
                Link(f"Store {short(store)}", address("store", id=store)),
            ]
        if customer:
            text = f"Receipts of customer {short(customer)}"
            found.append(Link(text, address("receipts", day="", customer=customer)))
        found.append(Link("All receipts of this day", address("receipts", day=event.day)))
        return found


def _indented(body: bytes) -> str:
    """JSON on many lines, its numbers digit by digit as they came."""
    try:
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")
