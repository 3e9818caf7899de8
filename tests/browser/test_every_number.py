"""Every number on every page, from the POST to the screen: `tillstream` as users run it, and a browser.

Embedded, and on RabbitMQ and FerretDB with each part a process of its own. Each system is started once, and the tests
may run in any order: what is expected follows from all that was sold by then.
"""

import asyncio
import contextlib
import csv
import io
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser import days_sold, expected_pages, read_pages
from tests.browser.conftest import Visit, watched
from tests.browser.days_sold import CUSTOMER, FORMULA, STORE, TAG, Receipt, sale
from tests.browser.expected_pages import Expected
from tests.browser.house import SOON, House, embedded_house, server_house, soon
from tests.support import eventually

pytestmark = pytest.mark.browser

SERVERS = pytest.param("servers", marks=[pytest.mark.rabbit, pytest.mark.mongo])
#: A server that was started again is found again within this on a busy machine, seconds.
BACK = 60.0
LIVE = {"today": "/", "stores": "/stores", "store 612": "/store?id=612", "system": "/system"}


@dataclass
class Open:
    """A house, and a browser in which its live pages are open.

    Attributes:
        live: each live page by its name.
        sold: today's receipts, in the order in which they were sold.
        accepted: monotonic time when the last of them were accepted.
    """

    house: House
    window: BrowserContext
    live: dict[str, Visit] = field(default_factory=dict)
    sold: list[Receipt] = field(default_factory=list)
    accepted: float = 0.0

    async def sell(self, *receipts: Receipt) -> None:
        """Sell some more."""
        self.accepted = await self.house.sell(*receipts)
        self.sold += receipts

    async def visit(self, path: str) -> Visit:
        """Open one more page."""
        seen = watched(await self.window.new_page())
        await seen.page.goto(self.house.url + path)
        return seen

    async def expected(self) -> Expected:
        """What pages have to say now."""

        async def stored() -> list[dict[str, Any]]:
            found = await self.house.stored()
            return found if len(found) == self.house.judge.days[self.house.today].count else []

        return Expected(self.house, await eventually(stored))

    async def are_right(self) -> None:
        """See that each live page says exactly what it should, soon after the last 202."""
        expected = await self.expected()
        async with asyncio.TaskGroup() as group:
            for name, seen in self.live.items():
                group.create_task(self._is_right(name, seen.page, expected))
        for name, seen in self.live.items():
            assert seen.complaints == [], name
            assert seen.hosts == {self.house.url.removeprefix("http://")}, name

    async def _is_right(self, name: str, page: Page, expected: Expected) -> None:
        name, _, store = name.partition(" ")
        read = partial(getattr(read_pages, name), page)
        if name != "system":
            make = getattr(expected, name)
            await soon(read, partial(make, store) if store else make, self.accepted)
            return

        async def wanted(got: dict[str, Any]) -> dict[str, Any]:
            # looked up each time: the revision goes up until all is counted
            rejected = (await self.house.system.get("/rejected"))["rejected"]
            revision = (await self.house.system.get("/totals"))["revision"]
            return expected.system(got, revision, rejected)

        await soon(read, wanted, self.accepted)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["embedded", SERVERS])
async def opened(
    request: pytest.FixtureRequest, driver: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Open]:
    """A system whose live pages were open before the first receipts of the day were sold, which was a moment ago."""
    folder = tmp_path_factory.mktemp("house")
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "embedded":
            house = await stack.enter_async_context(embedded_house(folder))
        else:
            servers = [request.getfixturevalue(name) for name in ("own_rabbit", "own_ferret")]
            house = await stack.enter_async_context(server_house(folder, *servers))
        context = await driver.new_context(viewport={"width": 1280, "height": 900})
        stack.push_async_callback(context.close)
        made = Open(house, context)
        made.live = {name: await made.visit(path) for name, path in LIVE.items()}
        for seen in made.live.values():
            where = "http://127.0.0.1:3000" if house.rabbit else house.system.url
            await expect(seen.page.locator("#notice")).to_contain_text(
                f"No receipts yet: POST one to {where}/receipt", timeout=20_000
            )
        today = days_sold.of(house.today)
        # One is sent twice, which changes nothing; one contradicts another, which is rejected.
        await made.sell(*today, today[1], days_sold.contradicted(today))
        made.sold = today
        yield made


async def test_every_live_page_becomes_right_by_itself(opened: Open) -> None:
    """What the receipts of three days add up to, on every page that was open when today's were sold, and live on."""
    await opened.are_right()
    await opened.sell(
        sale(1, f"{opened.house.today} 12:31:00", 612, ("Pain", "7", "1.20", "5.5"), (TAG, "1", "0.99", "10"),
             terminalID=2, paid={"Especes": "9.39"}),
        sale(1, f"{opened.house.today} 13:59:59", "new", ("Menu", "1", "9.90", "10")),
    )  # fmt: skip
    await opened.are_right()


async def test_what_came_in_lately_and_how_long_it_took(opened: Open) -> None:
    """The last minute on both pages, the worker's part of it, delays of it and of the day; versions and settings."""
    await opened.sell(sale(int(time.time()), f"{opened.house.today} 13:00:00", 613, ("Pain", "1", "1.20", "5.5")))
    house, page, expected = opened.house, opened.live["system"].page, await opened.expected()
    past = [each for ago in (1, 7) for each in await house.stored(expected.before(ago))]

    async def lately() -> bool:
        """Whether both pages say how many came within a minute, and who counted them."""
        now = time.time()
        came = [each["received"] for each in (*expected.stored, *past)]
        ages = [now - at for at in came]
        most, least = (sum(age < limit for age in ages) for limit in (62, 57))
        counted = [at for at in came if at >= house.begun]
        [today] = await read_pages.texts(opened.live["today"].page, "section.minutes .pair .number")
        [system] = await read_pages.texts(read_pages.card(page, "incoming"), ".value")
        [worker] = await read_pages.texts(page, "section:has(#h-workers) li .amount")
        assert least <= int(today) <= most, (today, least, most)
        assert least <= int(system) <= most, (system, least, most)
        worked = [sum(now - at < limit for at in counted) for limit in (57, 62)]
        assert worked[0] <= int(worker) <= worked[1], (worker, worked)
        return True

    await eventually(lately, timeout=SOON)
    delays = {
        "Entrypoint to store": sorted(each["stored"] - each["received"] for each in expected.stored),
        "Till to store": sorted(
            each["stored"] - local(each["receipt"]["date"], house).timestamp() for each in expected.stored
        ),
    }
    await expect(page.locator(".verdict")).to_contain_text("Rejected: 2.")
    link = page.locator("section:has(#h-rejected) tbody a").first
    found = (await house.system.get("/rejected"))["rejected"]
    assert await link.get_attribute("href") == f"/rejected-item?id={found[0]['id']}"
    rows = await read_pages.rows(page, "section:has(#h-delays) tbody tr", "th, td")
    assert [row[0] for row in rows] == [f"{name} {when}" for name in delays for when in ("last minute", "the day")]
    for row in rows:
        known = delays[row[0].removesuffix(" the day").removesuffix(" last minute")]
        half, most = known[(len(known) - 1) // 2], known[-1]
        shown = [seconds(text) for text in row[1:]]
        if row[0].endswith("the day"):
            wanted = [half, most, sum(known) / len(known), most]
            assert shown == [
                pytest.approx(each, rel=0.03, abs=step(text)) for each, text in zip(wanted, row[1:], strict=True)
            ]
        else:  # by when it was counted: perhaps not all of these
            assert all(
                known[0] * 0.97 - step(text) <= each <= most * 1.03 + step(text)
                for each, text in zip(shown, row[1:], strict=True)
            ), row
    figures = await read_pages.texts(read_pages.card(page, "delays"), ".value")
    assert figures == [rows[0][2], rows[2][2]]
    speed = await read_pages.texts(opened.live["today"].page, "section.minutes .pair .small")
    assert speed[0].startswith("in the last minute, counted in ")

    versions = dict(
        zip(*[await read_pages.texts(page, f"section:has(#h-versions) {tag}") for tag in ("dt", "dd")], strict=True)
    )
    assert versions["Tillstream"] == version("tillstream")
    assert (versions["Panel"], versions["Bokeh"]) == (version("panel"), version("bokeh"))
    settings = {row[0]: row[1:] for row in await settings_of(page)}
    assert settings["timezone"] == [str(house.zone), "TILLSTREAM_TIMEZONE"]
    assert settings["dashboard_port"] == [house.url.rpartition(":")[2], "--dashboard-port"]
    if house.rabbit:
        password = urlsplit(house.system.environ["TILLSTREAM_BROKER"]).password
        assert password is not None
        assert all(password not in value for value, _ in settings.values())


async def test_receipts_are_listed_and_exported(opened: Open) -> None:
    """The day's list, each filter alone and together, other days, and the same as CSV: every cell."""
    house, expected = opened.house, await opened.expected()
    seen = await opened.visit("/receipts")
    everything = [each for receipts in expected.receipts.values() for each in receipts]
    ids = await stored_ids(opened)
    asked: list[tuple[dict[str, str], Any]] = [
        ({}, lambda each: each["date"].startswith(house.today)),
        ({"day": ""}, lambda each: True),
        ({"day": expected.before(1)}, lambda each: each["date"].startswith(expected.before(1))),
        ({"store": STORE}, lambda each: each["storeID"] == STORE),
        ({"day": house.today, "store": "612", "terminal": "1"},
         lambda each: (each["date"][:10], each["storeID"], each["terminalID"]) == (house.today, 612, 1)),
        ({"terminal": "T/2"}, lambda each: each["terminalID"] == "T/2"),
        ({"customer": CUSTOMER}, lambda each: each["customerID"] == CUSTOMER),
        ({"receipt": "4:b"}, lambda each: each["cashReceiptID"] == "4:b"),
        ({"day": "", "category": TAG}, lambda each: TAG in expected_pages.categories(each)),
        ({"day": "", "category": FORMULA}, lambda each: FORMULA in expected_pages.categories(each)),
        ({"day": "", "max": "-0.01"}, lambda each: expected_pages.total(each) < 0),
        ({"day": "", "min": "2.8125", "max": "18"}, lambda each: Decimal("2.8125") <= expected_pages.total(each) <= 18),
    ]  # fmt: skip
    for query, wanted in asked:
        found = newest_first([each for each in everything if wanted(each)], ids)
        assert found, query
        await seen.page.goto(f"{house.url}/receipts?{urlencode(query)}")
        days = query.get("day") == "" or ("day" not in query and bool(query))
        assert await read_pages.listed(seen.page) == expected.listed(found, days=days), query
        answer = await seen.page.request.get(f"{house.url}/receipts.csv?{urlencode(query)}")
        rows = list(csv.DictReader(io.StringIO((await answer.body()).decode("utf-8-sig"), newline="")))
        assert rows == [csv_row(each, ids, house) for each in found], query
    assert seen.complaints == []
    await seen.page.close()


async def test_each_receipt_is_shown_as_it_was_posted(opened: Open) -> None:
    """Lines, prices, taxes, payments, its journey, identity and frame, of every receipt of the day."""
    house, expected = opened.house, await opened.expected()
    seen = await opened.visit("/receipts")
    ids = await stored_ids(opened)
    for receipt in expected.receipts[house.today]:
        stored = ids[key(receipt)]
        await seen.page.goto(f"{house.url}/receipt?id={quote_plus(stored['id'])}")
        got = await read_pages.slip(seen.page)
        assert got == expected.slip(receipt, stored, got)
        moments = [house.clock(stored[name]).isoformat(" ", "milliseconds")[:23] for name in ("received", "stored")]
        assert await read_pages.texts(seen.page, ".journey .at") == [receipt["date"], *moments]
        delay = stored["received"] - local(receipt["date"], house).timestamp()
        said = await read_pages.texts(seen.page, ".journey .delay")
        assert seconds(said[0]) == pytest.approx(delay, abs=step(said[0]))
        assert seconds(said[1]) == pytest.approx(stored["stored"] - stored["received"], abs=step(said[1]))
        await expect(seen.page.locator(".journey li").last).to_contain_text("in the ledger of writer")
    assert seen.complaints == []
    await seen.page.close()


async def test_what_was_rejected_is_listed_and_shown(opened: Open) -> None:
    """The conflict and the line that is no receipt: counted, newest first, each with its bytes and what is wrong."""
    house = opened.house
    found = (await house.system.get("/rejected"))["rejected"]
    assert [each["reason"] for each in found] == ["conflict", "invalid"]
    seen = await opened.visit("/rejected")
    page = seen.page
    assert await read_pages.texts(page, ".reasons a") == ["all 2", "conflict 1", "invalid 1"]
    when = [house.clock(each["firstSeen"]).strftime("%Y-%m-%d %H:%M:%S") for each in found]
    assert await read_pages.rows(page, "tbody tr") == [
        [at, each["reason"], each["detail"], each["source"][:12]] for at, each in zip(when, found, strict=True)
    ]
    await page.goto(f"{house.url}/rejected-item?id={found[0]['id']}")
    facts = await facts_of(page)
    first = opened.sold[0]
    [winner] = [each for each in await house.stored() if key(each["receipt"]) == key(first)]
    assert facts["Identity"] == winner["id"]
    assert (facts["Reason"], facts["Status"], facts["First seen"]) == ("conflict", "open", when[0])
    assert facts["Counts instead"].endswith(house.clock(winner["stored"]).strftime("%Y-%m-%d %H:%M:%S"))
    assert (facts["Frame"], facts["Id"]) == (found[0]["source"], found[0]["id"])
    marked = [text.strip(" ,") for text in await read_pages.texts(page, "pre mark")]
    assert marked == ['"grossTotal": 99.99', '"grossTotal": 2.4']
    await expect(page.locator("#h-mine ~ .small")).to_contain_text(f"{found[0]['bytes']:,} bytes")
    await page.get_by_role("link", name="the receipt that was stored first").click()
    await expect(page.locator("h1")).to_have_text(f"Receipt {first['cashReceiptID']}")
    await page.goto(f"{house.url}/rejected-item?id={found[1]['id']}")
    assert (await facts_of(page))["Detail"] == found[1]["detail"]
    await expect(page.locator("pre")).to_contain_text('"storeID": "<b>12</b>"')
    assert seen.complaints == []
    await page.close()


async def test_what_is_down_is_said_and_comes_back_by_itself(opened: Open) -> None:
    """Open pages say that they are not live, and since when; with everything back they are right, without a reload by
    anybody, and what was sold meanwhile or after is on them."""
    house = opened.house
    if house.rabbit and house.ferret:
        for seen in opened.live.values():
            await seen.page.evaluate("window.untouched = true")
        await _without_broker(opened)
        await _without_store(opened)
        assert all([await seen.page.evaluate("window.untouched") for seen in opened.live.values()])
    else:
        await _without_everything(opened)


async def _without_broker(opened: Open) -> None:
    house, rabbit = opened.house, opened.house.rabbit
    assert rabbit is not None
    shown = [(await read_pages.texts(seen.page, ".stamp .time"))[0] for seen in opened.live.values()]
    await asyncio.to_thread(rabbit.stop)
    gone = house.clock(time.time()).strftime("%H:%M:%S")
    for seen, last in zip(opened.live.values(), shown, strict=True):
        notice = seen.page.locator("#notice .alarm")
        await expect(notice).to_contain_text("Not live: no news since ", timeout=SOON * 1000)
        since = (await notice.inner_text()).partition("since ")[2].split()[0]
        assert last <= since <= gone
    await asyncio.to_thread(rabbit.start)
    for seen in opened.live.values():
        await expect(seen.page.locator("#notice .alarm")).to_have_count(0, timeout=BACK * 1000)
    await _sold_again(opened, 20)


async def _without_store(opened: Open) -> None:
    house, ferret = opened.house, opened.house.ferret
    assert ferret is not None
    await asyncio.to_thread(ferret.stop)
    try:
        at = house.clock(time.time()).strftime("%H:%M:%S")

        async def goes_on() -> bool:
            return all([(await read_pages.texts(seen.page, ".stamp .time"))[0] > at for seen in opened.live.values()])

        await eventually(goes_on, timeout=SOON)
        for seen in opened.live.values():
            await expect(seen.page.locator("#notice .alarm")).to_have_count(0)
        paths = ("/receipts", "/receipt?id=1:2:3", "/rejected", "/rejected-item?id=1")
        async with asyncio.TaskGroup() as group:  # each waits some seconds for an answer
            for path in paths:
                group.create_task(_says_that_nothing_answers(opened, path))
    finally:
        await asyncio.to_thread(ferret.start)
    await _sold_again(opened, 21)


async def _says_that_nothing_answers(opened: Open, path: str) -> None:
    """A page that needs the store says so in words, and nothing of what a driver says."""
    page = (await opened.visit(path)).page
    await expect(page.get_by_role("alert")).to_contain_text("he store does not answer")
    await expect(page.get_by_role("alert")).to_contain_text("Nothing is lost")
    await expect(page.get_by_role("alert")).not_to_contain_text("127.0.0.1")
    await page.close()


async def _without_everything(opened: Open) -> None:
    house = opened.house
    assert await house.pages.stop() == 0
    for seen in opened.live.values():
        await expect(seen.page.locator("#lost")).to_contain_text("Not live: the connection", timeout=SOON * 1000)
    house.begun = time.time()
    await house.pages.start("the day, live")
    for seen in opened.live.values():
        await expect(seen.page.locator("#lost")).to_be_hidden(timeout=BACK * 1000)
        seen.complaints.clear()  # the browser complains of each attempt that failed
    await _sold_again(opened, 20)


async def _sold_again(opened: Open, number: int) -> None:
    """One more receipt; once it is counted, all pages are right."""
    await opened.sell(sale(number, f"{opened.house.today} 13:20:00", 612, ("Menu", "1", "9.90", "10")))
    opened.accepted = time.monotonic() + BACK  # connections that were lost take their time
    await opened.are_right()


async def settings_of(page: Page) -> list[list[str]]:
    """The table of settings, unfolded."""
    await page.locator("section:has(#h-settings) summary").click()
    return await read_pages.rows(page, "section:has(#h-settings) tbody tr", "th, td")


async def facts_of(page: Page) -> dict[str, str]:
    """What a page says in pairs."""
    names, values = [await read_pages.texts(page, f"dl.facts {tag}") for tag in ("dt", "dd")]
    return dict(zip(names, values, strict=True))


def key(receipt: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a receipt from others."""
    return tuple(str(receipt[name]) for name in ("storeID", "terminalID", "date", "cashReceiptID"))


async def stored_ids(opened: Open) -> dict[tuple[str, ...], dict[str, Any]]:
    """All that is stored, by what tells receipts apart."""
    days = opened.house.judge.days
    return {key(each["receipt"]): each for day in list(days) for each in await opened.house.stored(day)}


def newest_first(
    receipts: list[dict[str, Any]], ids: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """In the order of lists."""
    return sorted(receipts, key=lambda each: (each["date"], ids[key(each)]["id"]), reverse=True)


def csv_row(
    receipt: Mapping[str, Any], ids: Mapping[tuple[str, ...], Mapping[str, Any]], house: House
) -> dict[str, str]:
    """A receipt as the file has it: exact, and harmless to spreadsheets."""
    stored, amount = ids[key(receipt)], expected_pages.total(receipt)
    names = "; ".join(expected_pages.categories(receipt))
    received, counted = (
        house.clock(stored[name]).isoformat(timespec="milliseconds") for name in ("received", "stored")
    )
    return {
        "day": receipt["date"][:10],
        "time": receipt["date"][11:],
        "store": str(receipt["storeID"]),
        "terminal": str(receipt["terminalID"]),
        "receipt": str(receipt["cashReceiptID"]),
        "customer": str(receipt["customerID"] or ""),
        "categories": f"'{names}" if names.startswith("=") else names,
        "amount": f"{amount:.2f}" if amount == round(amount, 2) else f"{amount:.4f}",
        "currency": "EUR",
        "received": received,
        "stored": counted,
        "id": stored["id"],
    }


def local(date: str, house: House) -> datetime:
    """The moment of a receipt."""
    return datetime.fromisoformat(date).replace(tzinfo=house.zone)


#: Unit of a length of time → seconds.
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`1.2 s after it was received` in seconds."""
    number, unit, *_ = text.removeprefix("less than ").split()
    return float(number.replace(",", "")) * UNITS[unit]


def step(text: str) -> float:
    """How exact it is: one in its last place."""
    number, unit, *_ = text.removeprefix("less than ").split()
    return UNITS[unit] * (0.1 if "." in number else 1)
