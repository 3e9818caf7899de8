"""The list of receipts as CSV (RFC 4180): all that meet the filters, page by page from the store to the client.

The file begins with a byte order mark: without it, spreadsheets take UTF-8 for something else and spoil names; what
reads CSV otherwise passes over it. Which separator and decimal sign it has is in `Dialect`.
"""

import asyncio
import csv
import io
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from babel.numbers import get_decimal_symbol
from tornado.iostream import IOStream, StreamClosedError

from dashboard.config import DashboardConfig
from dashboard.pages.amounts import amount_text
from dashboard.pages.frame import Pages
from dashboard.pages.plain import PlainHandler, log
from dashboard.pages.receipts_filters import Filters, Form
from store.errors import StoreError
from store.protocol import Page, StoredEvent

#: Receipts read and sent at once: a few megabytes, however long the list.
PAGE = 500
#: A client that takes nothing for so long is gone.
PATIENCE_SECONDS = 60.0

COLUMNS = (
    "day",
    "time",
    "store",
    "terminal",
    "receipt",
    "customer",
    "categories",
    "amount",
    "currency",
    "received",
    "stored",
    "id",
)
#: What makes a spreadsheet calculate, the wide forms of East Asia included, behind whatever it skips.
_FORMULA = re.compile(r"[\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r]")
#: The rest of a formula behind a sign at which a spreadsheet may begin another cell or row.
_LATER = r"(?=[\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20])"
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_UNFIT = re.compile(r"[^A-Za-z0-9.]+")
#: Characters of a file name.
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which signs a file has; see `docs/decisions/0020`.

    Attributes:
        separator: between cells.
        point: before the cents.
        later: finds formulas behind the separator of the other dialect, with which a spreadsheet may open the file.
    """

    separator: str
    point: str
    later: re.Pattern[str]


COMMA = Dialect(",", ".", re.compile(rf"([;\r\n]){_LATER}"))
SEMICOLON = Dialect(";", ",", re.compile(rf"([;,\r\n]){_LATER}"))


def dialect_of(config: DashboardConfig) -> Dialect:
    """The dialect that is configured, or else the one that spreadsheets of the locale read."""
    if config.csv:
        return {"comma": COMMA, "semicolon": SEMICOLON}[config.csv]
    return SEMICOLON if get_decimal_symbol(config.locale.replace("-", "_")) == "," else COMMA


class ReceiptsCsv(PlainHandler):
    """`/receipts.csv?…`: the same filters as the list.

    Arguments:
        read: reads the address, as the list does.
    """

    def initialize(self, pages: Pages, read: Callable[[PlainHandler], Form]) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(pages)
        self._read = read

    async def get(self) -> None:
        """Send the file. When the store fails on the way, the connection is reset: half a file never looks whole."""
        form = self._read(self)
        if form.filters is None:
            text = " ".join(f"{name}: {expected}" for name, expected in form.errors.items())
            self.trouble(400, "This did not work", text)
            return
        try:
            events = await self._find(form.filters, "")
        except StoreError as exc:
            log.warning("receipts cannot be exported", error=str(exc))
            self.trouble(503, "No file now", "The store does not answer. Nothing is lost; try again in a moment.")
            return
        self.set_header("Content-Type", "text/csv; charset=utf-8; header=present")
        self.set_header("Content-Disposition", f'attachment; filename="{file_name(form.filters)}"')
        self.set_header("Cache-Control", "no-store")
        config = self.pages.moments.current.config
        dialect = dialect_of(config)
        self.write("\ufeff" + lines([COLUMNS], dialect))
        try:
            while True:
                self.write(lines([cells(each, config.timezone, config.currency, dialect) for each in events], dialect))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self.flush()
                if not events.more:
                    break
                events = await self._find(form.filters, events[-1].id)
        except StreamClosedError:
            return  # the client has left
        except TimeoutError:
            self._abort("a client stopped taking a CSV file, ending it")
        except StoreError as exc:
            self._abort("the store failed in the middle of a CSV file, cutting it off", error=str(exc))
        else:
            await self.finish()

    async def _find(self, filters: Filters, after: str) -> Page[StoredEvent]:
        query, stream = filters.query(after=after, limit=PAGE), self.pages.stored.stream.name
        return await self.pages.stored.ask(lambda store: store.events(stream, query))

    def _abort(self, why: str, **details: str) -> None:
        """End without the last chunk, by a reset: a client or proxy that knows no chunks sees an error, too."""
        log.warning(why, **details)
        stream: IOStream = self.detach()
        if stream.socket is not None:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


def cells(event: StoredEvent, zone: ZoneInfo, currency: str, dialect: Dialect = COMMA) -> tuple[str, ...]:
    """A stored receipt as a row of `COLUMNS`."""
    at = datetime.fromtimestamp(event.time, zone)
    keys = {name: harmless(event.keys.get(name, ""), dialect) for name in ("store", "terminal", "receipt", "customer")}
    return (
        event.day,
        at.strftime("%H:%M:%S"),
        *keys.values(),
        harmless("; ".join(event.categories), dialect),
        amount_text(event.amount).replace(".", dialect.point),
        currency,
        _instant(event.received, zone),
        _instant(event.stored, zone),
        harmless(event.id, dialect),
    )


def harmless(text: str, dialect: Dialect = COMMA) -> str:
    """A text that no spreadsheet takes for a formula: those that one would get an apostrophe before them. Plain
    numbers stay as they are."""
    if _NUMBER.fullmatch(text):
        return text
    first = _FORMULA.match(text)
    end = first.end() if first else 0
    return ("'" if first else "") + text[:end] + dialect.later.sub(r"\1'", text[end:])


def lines(rows: Sequence[Sequence[str]], dialect: Dialect = COMMA) -> str:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=dialect.separator).writerows(rows)
    return text.getvalue()


def file_name(filters: Filters) -> str:
    """A name that says the filters: `receipts-2026-11-21-store-612.csv`."""
    said = [f"{name}-{value}" if name != "day" else value for name, value in filters.parameters().items() if value]
    fit = "-".join(word for part in ["receipts", *said] if (word := _UNFIT.sub("-", part).strip("-.")))
    return fit[:_LONGEST_NAME].rstrip("-.") + ".csv"


def _instant(epoch: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(epoch, zone).isoformat(timespec="milliseconds")
