"""Receipts in a real browser: looked up, listed, paged through, read, exported; and what happens without a store."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from babel import Locale
from babel.localedata import locale_identifiers
from playwright.async_api import Browser, Page, Request, expect

from dashboard.formats import Formats
from dashboard.pages.amounts import read_amount
from store import sqlite_lists
from tests.browser.kept import Kept, kept, sold
from tests.support import eventually
from tests.unit.streams.sample import receipt

pytestmark = pytest.mark.browser

#: Names that break what is not escaped, in HTML, in addresses and in spreadsheets.
ODD = '=1+1" onmouseover="alert(1)'
TAG = "<script>alert(1)</script> & Co"


@pytest_asyncio.fixture(loop_scope="session")
async def house(tmp_path: Path) -> AsyncIterator[Kept]:
    """A dashboard over an empty store."""
    async with kept(tmp_path) as ready:
        yield ready


def some() -> list[dict[str, Any]]:
    """Six receipts that each differ from the others in something that can be looked for."""
    return [
        sold(1, 5.0, date="2026-11-18 08:00:00", categories=["Pain"]),
        sold(2, 12.5, date="2026-11-18 09:00:00", categories=["Menu", "Pain"], customerID=77),
        sold(3, 12.51, date="2026-11-18 10:00:00", storeID=ODD, terminalID=9, categories=[TAG]),
        sold(4, -3.4, date="2026-11-18 11:00:00", storeID=700, customerID=None),
        sold(5, 0.1234, date="2026-11-17 23:59:59"),
        sold("6:7", 1234.5, date="2026-11-19 00:00:00", storeID=700, terminalID=9),
    ]


async def listed(url: str, **query: str) -> list[str]:
    """Receipt numbers on a page of the list, as its links say them."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}receipts?{urlencode(query)}") as answer:
            text = await answer.text()
            assert answer.status == 200, text
    return re.findall(r'<a href="/receipt\?id=[^"]*">([^<]*)</a>', text)


async def test_each_filter_alone_and_together(house: Kept) -> None:
    """Every condition holds, newest first; amounts as people write them; the day of the address."""
    await house.keep(some())
    url = house.url
    assert await listed(url, day="") == ["6:7", "4", "3", "2", "1", "5"]
    assert await listed(url, day="2026-11-18") == ["4", "3", "2", "1"]
    assert await listed(url, store="700") == ["6:7", "4"]
    assert await listed(url, store=ODD) == ["3"]
    assert await listed(url, terminal="9") == ["6:7", "3"]
    assert await listed(url, customer="77") == ["2"]
    assert await listed(url, receipt="2") == ["2"]
    assert await listed(url, receipt="6:7") == ["6:7"]
    assert await listed(url, day="", category="Pain") == ["6:7", "4", "2", "1", "5"]
    assert await listed(url, day="", category=TAG) == ["3"]
    assert await listed(url, day="", min="12,50") == ["6:7", "3", "2"]
    assert await listed(url, day="", max="12.50") == ["4", "2", "1", "5"]
    assert await listed(url, day="", min="1,234.50", max="1.234,5") == ["6:7"]
    assert await listed(url, day="", min="0.1234", max="0.1234") == ["5"]
    assert await listed(url, day="", max="-0") == ["4"]
    assert await listed(url, day="2026-11-18", category="Pain", min="5", max="12.5", store="612") == ["2", "1"]
    assert await listed(url, day="2026-11-17", store="700") == []


async def test_ids_that_differ_in_blanks_have_their_own_receipts(browser: Browser, house: Kept) -> None:
    """Links, addresses, the form and the file keep an id and a name exactly; where nothing is found, the page offers
    to look without the blanks around them."""
    odd = {"storeID": " 612\u00a0 ", "terminalID": "3 ", "customerID": " 7", "date": "2026-11-18 09:00:00"}
    (_, id, _) = await house.keep(
        [sold(1, 5.0, date="2026-11-18 08:00:00"), sold("2 ", 6.0, **odd, categories=[" Pain"]), sold(3, 7.0, **odd)]
    )
    assert await listed(house.url, store="612") == ["1"]
    assert await listed(house.url, store=odd["storeID"]) == ["3", "2 "]
    assert await listed(house.url, customer=" 7", receipt="2 ", terminal="3 ", category=" Pain") == ["2 "]

    page, complaints = await opened(browser, f"{house.url}receipt?{urlencode({'id': id})}")
    await page.get_by_role("link", name="Receipts of store").click()
    await expect(page.locator("td.which")).to_have_text(["3", "2 "])
    await page.get_by_role("button", name="Show receipts").click()
    await expect(page.locator("td.which")).to_have_text(["3", "2 "])
    assert query_of(page) == {"day": "2026-11-18", "store": odd["storeID"]}
    async with aiohttp.ClientSession() as session:
        address = await page.get_by_role("link", name="Export as CSV").get_attribute("href")
        async with session.get(house.url.rstrip("/") + str(address)) as answer:
            rows = list(csv.DictReader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
    assert [(row["store"], row["receipt"]) for row in rows] == [(odd["storeID"], "3"), (odd["storeID"], "2 ")]
    await page.locator("td.which a").last.click()
    await expect(page.locator("h1")).to_have_text("Receipt 2")
    assert query_of(page) == {"id": id}
    await page.get_by_role("link", name="Store 612", exact=True).click()
    assert query_of(page) == {"id": odd["storeID"]}

    await page.goto(f"{house.url}receipts?{urlencode({'store': '612 '})}")
    await page.get_by_role("link", name="look without the blanks around them").click()
    await expect(page.locator("td.which")).to_have_text(["1"])
    assert complaints == []


async def test_amounts_are_read_as_browsers_write_them(browser: Browser) -> None:
    """The table of stores is written by the browser: what stands there can be looked for, in all locales that it has,
    with their own digits and signs."""
    page = await browser.new_page()
    tags = sorted({Formats(name).tag for name in locale_identifiers()})
    shown: dict[str, list[str]] = await page.evaluate(
        """tags => Object.fromEntries(tags.filter(tag => Intl.NumberFormat.supportedLocalesOf(tag).length).map(tag => {
            const amounts = new Intl.NumberFormat(tag, {minimumFractionDigits: 2, maximumFractionDigits: 2})
            return [tag, [-1234567.89, 1234.5, 12.5].map(amount => amounts.format(amount))]
        }))""",
        tags,
    )
    assert len(shown) > 300
    wrong = {}
    for tag, texts in shown.items():
        for text, units in zip(texts, (-12_345_678_900, 12_345_000, 125_000), strict=True):
            try:
                read = read_amount(text, Locale.parse(tag, sep="-"))
            except ValueError as exc:
                wrong[tag, text] = str(exc)
            else:
                if read != units:
                    wrong[tag, text] = str(read)
    assert not wrong


async def test_the_form_from_the_keyboard(browser: Browser, house: Kept) -> None:
    """Fields have labels, Enter looks up, the address is fit to be kept, chips take filters away, rows lead on."""
    (_, wanted, *_) = await house.keep(some())
    page, complaints = await opened(browser, f"{house.url}receipts?day=2026-11-18")
    await page.get_by_label("Category").fill("Pain")
    await page.get_by_label("Amount from").fill("12,5")
    await page.get_by_label("Store", exact=True).fill("612")
    await page.keyboard.press("Enter")
    await expect(page.locator("td.which")).to_have_text(["2"])
    assert query_of(page) == {"day": "2026-11-18", "store": "612", "category": "Pain", "min": "12.50"}
    chips = page.locator(".filters .chip")
    await expect(chips).to_contain_text(["Wednesday 18 November 2026", "store 612", "with Pain", "from 12.50 EUR"])
    await page.get_by_label("Remove the filter: with Pain").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Remove the filter: from 12.50 EUR").click()
    await expect(page.locator("td.which")).to_have_text(["2", "1"])
    assert query_of(page) == {"day": "2026-11-18", "store": "612"}
    # A row is a link all over, and has one stop for the keyboard.
    await page.locator("td.which a").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Receipt 2")
    assert query_of(page) == {"id": wanted}
    await page.go_back(wait_until="commit")
    await expect(page.locator("td.which")).to_have_text(["2", "1"])
    row = await page.locator("td.total").first.bounding_box()
    assert row is not None
    await page.mouse.click(row["x"] + 5, row["y"] + 5)
    await expect(page.locator("h1")).to_have_text("Receipt 2")
    # A receipt leads to its store and its customer.
    await page.get_by_role("link", name="Receipts of customer 77").click()
    await expect(page.locator("td.which")).to_have_text(["2"])
    # An identity goes straight to its receipt.
    await page.get_by_label("Receipt or its id").fill(wanted)
    await page.get_by_role("button", name="Show receipts").click()
    await expect(page.locator("h1")).to_have_text("Receipt 2")
    assert complaints == []


async def test_wrong_input_is_said_at_its_field(browser: Browser, house: Kept) -> None:
    """Nothing that was typed is lost, the fields are described, nothing is listed, and the status says so."""
    await house.keep(some())
    page, _ = await opened(browser, f"{house.url}receipts?" + urlencode({"day": "18.11.", "min": "abc", "store": ODD}))
    amount = page.get_by_label("Amount from")
    await expect(amount).to_have_attribute("aria-invalid", "true")
    await expect(amount).to_have_accessible_description("Expected an amount such as 12.50.")
    await expect(amount).to_have_value("abc")
    await expect(page.get_by_label("Day")).to_have_value("18.11.")
    await expect(page.get_by_label("Store", exact=True)).to_have_value(ODD)
    await expect(page.locator("table")).to_have_count(0)
    async with aiohttp.ClientSession() as session:
        for query in ("min=abc", "day=x", "store=" + "9" * 301, "min=2&max=1", "store=%ff"):
            for path in ("receipts", "receipts.csv"):
                async with session.get(f"{house.url}{path}?{query}") as answer:
                    assert answer.status == 400, (path, query)
                    assert answer.content_type == "text/html"


async def test_paging_neither_misses_nor_repeats(browser: Browser, house: Kept) -> None:
    """120 receipts, many of the same second: each once, in order, however the pages fall; late ones don't disturb."""
    made = [sold(number, number, date=f"2026-11-18 10:00:{number // 10:02}") for number in range(1, 121)]
    ids = await house.keep(made)
    page, complaints = await opened(browser, f"{house.url}receipts?day=2026-11-18")
    seen = await page.locator("td.which a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    await house.keep([sold(500, 1, date="2026-11-18 12:00:00")])  # newer: before what was seen
    for expected in (50, 20):
        await page.get_by_role("link", name="Older").click()
        await expect(page.get_by_role("link", name="Newest")).to_be_visible()
        hrefs = await page.locator("td.which a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert len(hrefs) == expected
        seen += hrefs
    await expect(page.get_by_role("link", name="Older")).to_have_count(0)
    found = [parse_qs(urlsplit(href).query)["id"][0] for href in seen]
    assert sorted(found) == sorted(ids)
    assert found == sorted(ids, key=lambda id: (id.split(":", 2)[2][:19], id), reverse=True)
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator("td.which").first).to_have_text("500")
    assert complaints == []


async def test_a_page_beyond_the_end_or_from_nowhere(house: Kept) -> None:
    """An empty page says which of the two it is, and leads back."""
    ids = await house.keep(some())
    assert "There is nothing older" in await text_of(f"{house.url}receipts?day=&after={ids[4]}")
    assert "cannot go on from here" in await text_of(f"{house.url}receipts?day=&after=never")


async def test_the_slip_has_every_figure(browser: Browser, house: Kept) -> None:
    """Lines, prices, sums, taxes, payments, remark, journey, hash, frame, JSON: as posted, and nothing is run."""
    posted = receipt({"documentTotal.grossTotal": 1026.53, "loyalty": {"points": 12}})
    posted["lines"][1]["productDescription"], posted["lines"][1]["productCategoryName"] = TAG, "Pain"
    (id,) = await house.keep([posted])
    page, complaints = await opened(browser, f"{house.url}receipt?{urlencode({'id': id})}")
    await expect(page.locator("h1")).to_have_text("Receipt 40213")
    slip = page.locator(".slip")
    await expect(slip).to_contain_text("Wednesday 18 November 2026")
    await expect(slip).to_contain_text("11:06:40")
    assert await slip.locator(".who dd").all_text_contents() == ["612", "3", "7", "85320"]
    assert await slip.locator(".what").all_text_contents() == ["Menu déjeuner", TAG]
    assert await slip.locator(".lines .amount").all_text_contents() == ["24.12", "2.41"]
    details = await slip.locator(".detail").all_text_contents()
    assert [" ".join(text.split()) for text in details] == [
        "3 piece × 7.31 + 10% tax",  # noqa: RUF001
        "Menu · 00000011",
        "2 piece × 1.14 + 5.5% tax",  # noqa: RUF001
        "Pain · 00000017",
    ]
    assert await slip.locator(".sums dd").all_text_contents() == ["24.21", "2.32", "1,026.53"]
    assert await slip.locator(".total dt").text_content() == "Total EUR"
    assert await slip.locator(".payments dt").all_text_contents() == ["CB", "Especes"]
    assert await slip.locator(".payments dd").all_text_contents() == ["20.00", "6.53"]
    assert await slip.locator(".taxes tbody tr").all_inner_texts() == ["5.5%\t2.41\t0.13", "10%\t24.12\t2.19"]
    await expect(slip.locator(".remark")).to_have_text("The lines add up to 26.53, not to the total.")
    assert await page.locator(".journey .step").all_inner_texts() == [
        "Rung up 2026-11-18 11:06:40",
        "Received 2026-11-18 12:40:00.000",
        "Stored and counted 2026-11-18 12:40:00.250",
    ]
    assert await page.locator(".journey .delay").all_text_contents() == [
        "93 min after it was rung up",
        "250 ms after it was received",
    ]
    event = await house.mood.event("receipts", id)
    assert event is not None
    assert await page.locator(".behind dd").all_text_contents() == [id, "2026-11-18", event.frame, event.hash]
    await page.get_by_text("Fields that are kept").click()
    await expect(page.get_by_role("region", name="Further fields")).to_contain_text('"points": 12')
    await page.get_by_text("The JSON that was received").click()
    shown = json.loads(await page.get_by_role("region", name="JSON").text_content() or "")
    assert shown == {**posted, "receivedTime": 1795002000.0}
    assert complaints == []
    # On paper there is the slip alone.
    await page.emulate_media(media="print")
    for gone in ("h1", "header", ".side", "#print"):
        await expect(page.locator(gone).first).to_be_hidden()
    await expect(slip).to_be_visible()


async def test_a_receipt_that_is_not_there(house: Kept) -> None:
    """404 in plain words, whatever was asked for; nothing of it is run."""
    async with aiohttp.ClientSession() as session:
        for query in ("id=612:3:none", "id=" + "x" * 2000, "", urlencode({"id": TAG})):
            async with session.get(f"{house.url}receipt?{query}") as answer:
                assert answer.status == 404
                text = await answer.text()
                assert "No receipt" in text
                assert TAG not in text


async def test_nothing_to_show_says_what_to_do(browser: Browser, house: Kept) -> None:
    """Today without receipts tells where to POST; filters that nothing meets can be removed."""
    page, complaints = await opened(browser, f"{house.url}receipts")
    await expect(page.locator(".hint")).to_contain_text("POST to http://127.0.0.1:3000/receipt")
    await house.keep(some())
    await page.get_by_role("link", name="look at all days").click()
    await expect(page.locator("td.which")).to_have_count(6)
    assert await page.locator("td.day").first.text_content() == "2026-11-19"
    await page.goto(f"{house.url}receipts?day=2026-11-18&store=nobody")
    await expect(page.locator(".hint")).to_contain_text("No receipt meets all of this")
    await page.get_by_label("Remove the filter: store nobody").click()
    await expect(page.locator("td.which")).to_have_count(4)
    assert complaints == []


async def test_csv_is_what_was_posted(browser: Browser, house: Kept) -> None:
    """Every receipt of the filter, over several pages of the store, exact, harmless, and named after its day."""
    many = [
        sold(number, number / 100, date=f"2026-11-18 {number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}")
        for number in range(10, 1213)
    ]
    await house.keep([*some(), *many])
    page, complaints = await opened(browser, f"{house.url}receipts?day=2026-11-18")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Export as CSV").click()
    file = await downloading.value
    assert file.suggested_filename == "receipts-2026-11-18.csv"
    body = Path(await file.path()).read_bytes()
    assert body.startswith(b"\xef\xbb\xbfday,time,store,")
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    posted = {str(each["cashReceiptID"]): each for each in [*some(), *many] if each["date"][:10] == "2026-11-18"}
    assert len(rows) == len(posted) == 1207
    assert [(row["day"], row["time"]) for row in rows] == sorted(
        ((row["day"], row["time"]) for row in rows), reverse=True
    )
    for row in rows:
        made = posted.pop(row["receipt"])
        assert f"{row['day']} {row['time']}" == made["date"]
        assert row["store"] == ("'" + ODD if made["storeID"] == ODD else str(made["storeID"]))
        assert row["terminal"] == str(made["terminalID"])
        assert row["customer"] == str(made["customerID"] or "")
        names = dict.fromkeys(line["productCategoryName"] for line in made["lines"])
        assert row["categories"] == "; ".join(names)
        assert row["amount"] == f"{made['documentTotal']['grossTotal']:.2f}"
        assert (row["currency"], row["received"]) == ("EUR", "2026-11-18T12:40:00.000+01:00")
    assert posted == {}
    assert complaints == []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{house.url}receipts.csv?day=&max=0.1234&min=0") as answer:
            assert answer.headers["Content-Disposition"] == 'attachment; filename="receipts-min-0.00-max-0.1234.csv"'
            assert "0.1234" in await answer.text()


async def test_large_receipts_make_short_pages_and_are_all_there(
    house: Kept, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that the store ends early, as its receipts are large, is not the last: list and file go on behind it."""
    await house.keep([sold(number, 1) for number in range(12)])
    monkeypatch.setattr(sqlite_lists, "PAGE_BYTES", 1)
    page, complaints = await opened(browser, f"{house.url}receipts?day=2026-11-18")
    seen = await page.locator("td.which").all_text_contents()
    while await page.get_by_role("link", name="Older").count():
        await page.get_by_role("link", name="Older").click()
        seen += await page.locator("td.which").all_text_contents()
    assert sorted(seen, key=int) == [str(number) for number in range(12)]
    house.mood.lists = 0
    rows = list(csv.DictReader(io.StringIO(await text_of(f"{house.url}receipts.csv?day=2026-11-18"))))
    assert sorted(row["receipt"] for row in rows) == sorted(seen)
    assert house.mood.lists > 5, "the file is read page by page"
    assert complaints == []


async def test_half_a_file_never_looks_whole(house: Kept) -> None:
    """A store that fails on the way cuts the connection; one that fails at once is said in plain words."""
    await house.keep([sold(number, 1) for number in range(1100)])
    async with aiohttp.ClientSession() as session:
        house.mood.good = 2
        with pytest.raises(aiohttp.ClientError):
            async with session.get(f"{house.url}receipts.csv?day=2026-11-18") as answer:
                assert answer.status == 200
                await answer.read()
        async with session.get(f"{house.url}receipts.csv?day=2026-11-18") as answer:
            assert (answer.status, answer.content_type) == (503, "text/html")
            assert "The store does not answer" in await answer.text()
    # A proxy may speak HTTP/1.0, where the end of the connection ends the file: it has to be an error there, too.
    house.mood.good = 1
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET /receipts.csv?day=2026-11-18 HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionResetError):
            while await reader.read(1 << 16):
                pass
    writer.close()


async def test_a_client_that_leaves_ends_its_file(house: Kept) -> None:
    """Nobody reads the store for a connection that is gone."""
    await house.keep([sold(number, 1) for number in range(600)])
    house.mood.endless = True
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{house.url}receipts.csv?day=")
        await answer.content.readexactly(200_000)
        answer.close()

    async def quiet() -> bool:
        before = house.mood.lists
        await asyncio.sleep(0.3)
        return house.mood.lists == before

    await eventually(quiet)


async def test_a_store_that_is_down_is_said_in_plain_words(browser: Browser, house: Kept) -> None:
    """503 for the list and for a receipt; the form keeps what was typed, and trying again helps."""
    (id, *_) = await house.keep(some())
    house.mood.good = 0
    page, _ = await opened(browser, f"{house.url}receipts?day=2026-11-18&store=612")
    await expect(page.get_by_role("alert")).to_contain_text("the store does not answer. Nothing is lost")
    await expect(page.get_by_label("Store", exact=True)).to_have_value("612")
    async with aiohttp.ClientSession() as session:
        for path in ("receipts?day=", f"receipts?receipt={id}", f"receipt?id={id}"):
            async with session.get(house.url + path) as answer:
                assert answer.status == 503, path
                assert "<b>no answer" not in await answer.text()
    house.mood.good = None
    await page.get_by_role("link", name="try again").click()
    await expect(page.locator("td.which")).to_have_text(["2", "1"])


async def test_no_width_needs_sideways_scrolling_by_day_or_night(browser: Browser, house: Kept) -> None:
    """List and receipt fit a phone and a wall, with endless ids and names; colours follow the theme; no other host."""
    long = "Unbreakable" * 11
    (id, *_) = await house.keep(
        [*some(), sold(long, 123456789.01, storeID=long, categories=[long, "b", "c", "d", "e"])]
    )
    paths = (
        "receipts?day=",
        "receipts?day=18.11.&min=abc&max=x",
        f"receipts?day=&category={long}",
        f"receipt?{urlencode({'id': id})}",
        "receipt?" + urlencode({"id": (await house.mood.events("receipts", all_of(long)))[0].id}),
    )
    hosts: set[str] = set()

    def asked(request: Request) -> None:
        hosts.add(urlsplit(request.url).netloc)

    by_day, by_night = ("light", "rgb(247, 239, 228)"), ("dark", "rgb(26, 18, 12)")
    for width, (theme, ground) in ((390, by_day), (390, by_night), (768, by_day), (1000, by_day), (1920, by_night)):
        context = await browser.new_context(viewport={"width": width, "height": 844})
        page = await context.new_page()
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.on("request", asked)
        for path in paths:
            await page.goto(house.url + path)
            overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0, (width, path)
            for card in await page.locator("section, .slip").all():
                assert await card.evaluate("card => card.scrollWidth - card.clientWidth") <= 0, (width, path)
            colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == ground, (theme, path)
        await context.close()
    assert hosts - {""} == {urlsplit(house.url).netloc}


async def opened(browser: Browser, url: str) -> tuple[Page, list[str]]:
    """A page, and what it will have complained of."""
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    await page.goto(url)
    return page, complaints


async def text_of(url: str) -> str:
    """The HTML of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def query_of(page: Page) -> dict[str, str]:
    """The query of a page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query, keep_blank_values=True).items()}


def all_of(store: str) -> Any:
    """A query for the receipts of a store."""
    from store.protocol import EventQuery

    return EventQuery(keys={"store": store}, limit=1)
