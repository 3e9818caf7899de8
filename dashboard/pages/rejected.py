"""What was rejected: the list, and one item as it came. Made when asked for; nothing here is live."""

from datetime import datetime

from dashboard import rejected_view as shown
from dashboard.pages.plain import PlainHandler, log
from store.errors import StoreError
from store.protocol import Page, RejectedQuery, RejectedSummary, StoredEvent

#: Items on a page.
PAGE = 50


class RejectedPage(PlainHandler):
    """`/rejected?reason=&after=`: newest first."""

    async def get(self) -> None:
        """Answer with the list."""
        reason, after = self.asked("reason"), self.asked("after")
        stored, address = self.pages.stored, self.pages.frame.address
        name = stored.stream.name
        query = RejectedQuery(reason=reason or None, after=after or None, limit=PAGE)
        failed, found, counts = "", Page[RejectedSummary](), dict[str, int]()
        try:
            counts = await stored.ask(lambda store: store.rejected_count(name))
            found = await stored.ask(lambda store: store.rejected(name, query))
        except StoreError as exc:
            log.warning("what was rejected cannot be listed", error=str(exc))
            self.set_status(503)
            failed = str(exc)
        moment = self.pages.moments.current
        formats, zone = moment.formats, moment.config.timezone
        named = {"reason": reason} if reason else {}
        self.page(
            "rejected.html",
            "system",
            "Rejected",
            system=address("system"),
            failed=failed,
            reason=reason,
            chips=[
                ("all", formats.count(sum(counts.values())), address("rejected"), not reason),
                *(
                    (each, formats.count(number), address("rejected", reason=each), each == reason)
                    for each, number in sorted(counts.items())
                    if number or each == reason
                ),
            ],
            rows=[
                (item, shown.reason_of(item), shown.when(item.first_seen, zone), address("rejected-item", id=item.id))
                for item in found
            ],
            newest=address("rejected", **named) if after else "",
            older=address("rejected", **named, after=found[-1].id) if found.more else "",
        )


class RejectedItemPage(PlainHandler):
    """`/rejected-item?id=`: why, when, and the very bytes; of a conflict, also the receipt that was there first."""

    async def get(self) -> None:
        """Answer with the item, or say that there is none."""
        id, stored, address = self.asked("id"), self.pages.stored, self.pages.frame.address
        name = stored.stream.name
        item = await stored.ask(lambda store: store.rejected_item(name, id)) if id else None
        if item is None:
            self.set_status(404)
            self.page("rejected_missing.html", "system", "Not there", id=id[:200], all=address("rejected"))
            return
        identity = shown.identity(stored.stream, item)
        winner: StoredEvent | None = None
        if identity:
            winner = await stored.ask(lambda store: store.event(name, identity))
        moment = self.pages.moments.current
        zone = moment.config.timezone
        content = shown.content(item.body)
        theirs = shown.content(winner.body) if winner else None
        mine_marked, theirs_marked = shown.differences(content, theirs)
        self.page(
            "rejected_item.html",
            "system",
            shown.TITLES.get(item.reason, "Rejected"),
            item=item,
            meaning=shown.MEANINGS.get(item.reason, ""),
            when=shown.when(item.first_seen, zone),
            todo=shown.todo(item),
            history=shown.history(item, zone),
            identity=identity,
            mine=mine_marked,
            kind=content.kind,
            cut=content.cut,
            size=moment.formats.count(len(item.body)),
            winner=winner,
            theirs=theirs_marked,
            stored=datetime.fromtimestamp(winner.stored, zone).strftime("%Y-%m-%d %H:%M:%S") if winner else "",
            receipt=address("receipt", id=winner.id) if winner else "",
            all=address("rejected"),
            same=address("rejected", reason=item.reason),
        )
