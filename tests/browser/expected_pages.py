"""What has to stand on each page, worked out from the receipts that were sold, with `decimal` and nothing of ours.

Each function gives the dictionary that its namesake in `tests.browser.read_pages` reads. What only a page can say,
which minute it speaks of, is taken from it once it was found to be now.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

from tests.browser.house import House
from tests.support_expected import ExpectedDay

#: Bars of categories and payments; those beyond share the last one.
BARS = 12
#: A page is never older than this: the engine speaks every second. Seconds.
FRESH = 2.5
#: What JavaScript's `encodeURIComponent` leaves as it is, besides what `quote` does.
_KEPT_BY_BROWSERS = "!*'()"
Told = dict[str, Any]


@dataclass
class Expected:
    """What a house's pages have to say now.

    Arguments:
        stored: today's receipts as `GET /receipts` gives them, for the moments that no client knows.
    """

    house: House
    stored: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def receipts(self) -> dict[str, list[dict[str, Any]]]:
        """Business day → receipts that count, with decimals."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self.house.judge.first.values():
            receipt = json.loads(line, parse_float=Decimal)
            found[receipt["date"][:10]].append(receipt)
        return found

    @cached_property
    def day(self) -> ExpectedDay:
        """Today's sums."""
        return self.house.judge.days[self.house.today]

    def before(self, days: int) -> str:
        """The date so many days ago."""
        return str(date.fromisoformat(self.house.today) - timedelta(days=days))

    def until(self, day: str, minute: str) -> tuple[Decimal, int]:
        """Revenue and receipts of a day before a minute `HH:MM`."""
        amounts = [total(each) for each in self.receipts[day] if each["date"][11:16] < minute]
        return sum(amounts, Decimal()), len(amounts)

    def stamp(self, got: Told) -> list[str]:
        """Day, zone, and when the page was made: just before it was read."""
        said = (got["stamp"] or ["–"])[-1]  # noqa: RUF001 - what is shown for nothing
        now = [self.house.clock(got["at"] - ago / 2).strftime("%H:%M:%S") for ago in range(int(2 * FRESH) + 1)]
        at = said if said in now else now[0]
        return [long_day(self.house.today), str(self.house.zone), f"updated {at}", at]

    def today(self, got: Told) -> Told:
        """The page of today."""
        stamp = self.stamp(got)
        minute, day = stamp[-1][:5], self.day
        past = [self.until(self.before(ago), minute) for ago in (1, 7)]
        now, yesterday = self.until(self.house.today, minute), self.before(1)
        names = ("yesterday", "a week ago")
        evening = max(each["date"][11:16] for each in self.receipts[yesterday])
        whole = self.until(yesterday, "24:00")[0]
        return {
            "at": got["at"],
            "stamp": stamp,
            "notice": [],
            "revenue": [money(day.sum)],
            "revenue compared": [
                change(now[0], then[0], f"{name} at {minute}", money(then[0]), ("more", "less"))
                for name, then in zip(names, past, strict=True)
            ],
            "receipts": [f"{day.count:,}"],
            "receipts compared": [
                change(now[1], past[0][1], f"yesterday at {minute}", f"{past[0][1]:,}", ("more", "fewer"))
            ],
            "basket": [money(cents(day.sum) / day.count)],
            "basket compared": [
                change(now[0] / now[1], past[0][0] / past[0][1], f"yesterday at {minute}",
                       money(past[0][0] / past[0][1]), ("higher", "lower"))
            ],
            **bars("categories", day.categories, "(no category)", money),
            **bars("payments", day.payments, "(not named)", money),
            **self.ends(),
            "curve note": [
                f"Today {money(day.sum)} so far; yesterday {money(past[0][0])} by {minute}, and {money(whole)} in all."
            ],
            "curve": {
                clock(at): [
                    drawn(self.until(self.house.today, clock(at))[0]) if clock(at) <= minute else None,
                    drawn(self.until(yesterday, clock(at))[0]),
                ]
                for at in range(6 * 60, 24 * 60 + 1, 5)
            },
            "now": [[minutes(minute)], [drawn(day.sum)]],
            "last": [[minutes(evening) + 1], [drawn(whole)]],
            "minutes": self.received(),
        }  # fmt: skip

    def ends(self) -> Told:
        """The first five stores, and of the others the last five from the last one up."""
        rows = [
            (str(place), f"Store {name}", money(self.day.stores[name]), receipts(self.day.store_counts[name]))
            for place, name in enumerate(self.ranked(), start=1)
        ]
        return {
            f"{card} {part}": [row[column] for row in shown]
            for card, shown in (("best", rows[:5]), ("worst", rows[5:][::-1][:5]))
            for column, part in enumerate(("place", "name", "amount", "share"))
        }

    def ranked(self) -> list[str]:
        """Stores by revenue, the largest first."""
        return sorted(self.day.stores, key=lambda name: (-self.day.stores[name], name))

    def received(self) -> dict[str, int]:
        """Receipts of today by the local minute in which they came."""
        found: dict[str, int] = defaultdict(int)
        for each in sorted(self.stored, key=lambda each: float(each["received"])):
            found[self.house.clock(each["received"]).strftime("%H:%M")] += 1
        return dict(found)

    def stores(self, got: Told) -> Told:
        """The page of all stores, in its first order."""
        day, ordered = self.day, self.ranked()
        whole = sum((cents(amount) for amount in day.stores.values()), Decimal())
        return {
            "at": got["at"],
            "stamp": self.stamp(got),
            "facts": [str(len(ordered)), money(whole), f"{day.count:,}", money(whole / len(ordered))],
            "column 1": ordered,
            "column 2": [number(day.stores[name]) for name in ordered],
            "column 3": [share(day.stores[name], whole) or "–" for name in ordered],  # noqa: RUF001 - a dash is shown
            "column 4": [f"{day.store_counts[name]:,}" for name in ordered],
            "column 5": [number(cents(day.stores[name]) / day.store_counts[name]) for name in ordered],
            "links": [f"/store?id={quote(name, safe=_KEPT_BY_BROWSERS)}" for name in ordered],
        }

    def store(self, name: str, got: Told) -> Told:
        """A store's own page."""
        day, mine = self.day, [each for each in self.receipts[self.house.today] if str(each["storeID"]) == name]
        sums, whole = self.sums(mine), sum((cents(amount) for amount in day.stores.values()), Decimal())
        by_hour = {hour: [each for each in mine if int(each["date"][11:13]) == hour] for hour in range(6, 20)}
        revenues = {hour: sum(map(total, sold), Decimal()) for hour, sold in by_hour.items()}
        highest = max(revenues.values())
        part = share(day.stores[name], whole)
        newest = sorted(mine, key=lambda each: (each["date"], self.id_of(each)), reverse=True)[:10]
        return {
            "at": got["at"],
            "stamp": self.stamp(got),
            "h1": [f"Store {name}"],
            "figures": [
                money(day.stores[name]),
                f"{len(mine):,}",
                f"{self.ranked().index(name) + 1} of {len(day.stores)}",
            ],
            "small": [
                *([f"{part} of the revenue of all stores"] if part else []),
                f"{money(cents(day.stores[name]) / len(mine))} on average",
                "by revenue, among the stores of the day",
            ],
            "hours": [
                f"{hour:02}:00 to {hour + 1:02}:00: {money(revenues[hour])}, {receipts(len(sold))}"
                for hour, sold in by_hour.items()
            ],
            "heights": [length(revenue, highest) for revenue in revenues.values()],
            **bars(
                "categories", sums.categories, "(no category)", number,
                {name: f"{quantity(amount)} sold" for name, amount in sums.quantities.items()},
            ),
            **bars(
                "payments", sums.payments, "(not named)", number,
                {name: f"{count} payment{'' if count == 1 else 's'}" for name, count in payments(mine).items()},
            ),
            "newest": [
                [each["date"][11:], str(each["cashReceiptID"]), str(each["terminalID"]), number(total(each))]
                for each in newest
            ],
            "links": [f"/receipt?id={quote_plus(self.id_of(each))}" for each in newest],
        }  # fmt: skip

    def sums(self, mine: Sequence[dict[str, Any]]) -> ExpectedDay:
        """What some receipts add up to."""
        sums = ExpectedDay()
        for each in mine:
            for line in each["lines"]:
                sums.categories[line["productCategoryName"]] += exact(line["settlementAmount"])
                sums.quantities[line["productCategoryName"]] += exact(line["quantity"])
            for payment in each["settlements"]:
                sums.payments[payment["paymentMechanism"]] += exact(payment["settlementAmount"])
        return sums

    def id_of(self, receipt: Mapping[str, Any]) -> str:
        """The identity that the store gave to a receipt."""
        same = ("storeID", "terminalID", "date", "cashReceiptID")
        [id] = [each["id"] for each in self.stored if all(each["receipt"][name] == receipt[name] for name in same)]
        return str(id)

    def system(self, got: Told, revision: int, rejected: Sequence[Mapping[str, Any]]) -> Told:
        """The page of the system; `revision` and `rejected`, newest first, as the entrypoint gives them."""
        stamp, came = self.stamp(got), self.received()
        minute = minutes(stamp[-1][:5])
        reasons = sorted({each["reason"] for each in rejected})
        return {
            "at": got["at"],
            "stamp": stamp,
            "minutes": [f"{clock(at)}: {came.get(clock(at), 0):,}" for at in range(minute - 60, minute)],
            "so far": [f"Since {clock(minute)}: {came.get(clock(minute), 0):,}."],
            "live figures": ["live", "0"],
            "live states": ["good", "good"],
            "facts": [f"{revision:,}", stamp[-1], "0"],
            "queues figures": ["0", "0", "0"],
            "queues states": ["good", "good", "good"],
            "workers figures": ["1"],
            "workers states": ["good"],
            "workers": ["100.0%"],
            "rejected": [f"{len(rejected):,}"],
            "reasons": [f"{name} {sum(each['reason'] == name for each in rejected):,}" for name in reasons],
            "newest": [
                [self.house.clock(each["firstSeen"]).strftime("%H:%M:%S"), each["reason"], shortened(each["detail"])]
                for each in rejected
            ],
        }

    def listed(self, found: Sequence[Mapping[str, Any]], *, days: bool = False) -> list[list[Any]]:
        """Rows of a list of receipts; `days` if it goes over several days."""
        return [
            [
                *([each["date"][:10]] if days else []),
                each["date"][11:],
                str(each["storeID"]),
                str(each["terminalID"]),
                str(each["cashReceiptID"]),
                str(each["customerID"] or ""),
                few(categories(each)),
                all_digits(total(each)),
            ]
            for each in found
        ]

    def slip(self, receipt: Mapping[str, Any], stored: Mapping[str, Any], got: Told) -> Told:
        """One receipt."""
        lines, sums = receipt["lines"], receipt["documentTotal"]
        people = [receipt[name] for name in ("storeID", "terminalID", "agentID", "customerID")]
        rates = sorted({line["taxPercentage"] for line in lines})
        gross = {
            rate: sum((exact(line["settlementAmount"]) for line in lines if line["taxPercentage"] == rate), Decimal())
            for rate in rates
        }
        return {
            "title": [f"Receipt {receipt['cashReceiptID']}"],
            "top": [f"Receipt {receipt['cashReceiptID']}", long_day(receipt["date"][:10]), receipt["date"][11:]],
            "who": [str(each) for each in people if each is not None],
            "lines": [
                [line["productDescription"] for line in lines],
                [all_digits(exact(line["settlementAmount"])) for line in lines],
                [
                    text
                    for line in lines
                    for text in (
                        f"{priced(line)} · {quantity(exact(line['taxPercentage']))}% tax",
                        f"{line['productCategoryName'] or '(no category)'} · {line['productCode']}",
                    )
                ],
            ],
            "sums": [all_digits(exact(sums[name])) for name in ("netTotal", "taxPayable", "grossTotal")],
            "payments": [
                [payment["paymentMechanism"] or "(not said)" for payment in receipt["settlements"]],
                [all_digits(exact(payment["settlementAmount"])) for payment in receipt["settlements"]],
            ],
            "taxes": [
                [f"{quantity(exact(rate))}%", all_digits(gross[rate]), number(exact(gross[rate] * rate / (100 + rate)))]
                for rate in rates
            ],
            "remark": [],
            "behind": [stored["id"], receipt["date"][:10], stored["frame"], got["behind"][-1]],
        }


def exact(amount: Any) -> Decimal:
    """An amount as it is kept."""
    return Decimal(str(amount)).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


def total(receipt: Mapping[str, Any]) -> Decimal:
    """What a receipt comes to."""
    return exact(receipt["documentTotal"]["grossTotal"])


def cents(amount: Decimal) -> Decimal:
    """An amount with two digits, as it is published."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def money(amount: Decimal) -> str:
    """`€1,234.50`."""
    rounded = cents(amount)
    return f"{'-' if rounded < 0 else ''}€{abs(rounded):,.2f}"


def number(amount: Decimal) -> str:
    """`1,234.50`."""
    return f"{cents(amount):,.2f}"


def all_digits(amount: Decimal) -> str:
    """`1,234.50`, or as many digits as it has."""
    return number(amount) if cents(amount) == amount else f"{amount.normalize():,f}"


def quantity(amount: Decimal) -> str:
    """A number without zeros at its end."""
    return f"{amount.normalize():,f}"


def drawn(amount: Decimal) -> float:
    """An amount as a chart has it."""
    return float(cents(amount))


def share(part: Decimal, whole: Decimal) -> str:
    """`12.3%`; nothing for what is below zero."""
    return f"{(part / whole * 100).quantize(Decimal('0.1'), ROUND_HALF_EVEN)}%" if part >= 0 else ""


def length(part: Decimal, longest: Decimal) -> float:
    """How long a bar is, percent."""
    return round(float(cents(part) / cents(longest) * 100), 1) if part > 0 else 0.0


def bars(
    card: str, amounts: Mapping[str, Decimal], nameless: str, write: Any, details: Mapping[str, str] | None = None
) -> Told:
    """Names, amounts, shares and lengths, the largest first; those beyond BARS together in the last."""
    ordered = sorted(amounts.items(), key=lambda row: (-row[1], row[0]))
    rest = ordered[BARS - 1 :] if len(ordered) > BARS else []
    shown = ordered[: len(ordered) - len(rest)]
    named = [(f"{name or nameless} {(details or {}).get(name, '')}".strip(), amount) for name, amount in shown]
    if rest:
        named.append((f"{len(rest)} others", sum((amount for _, amount in rest), Decimal())))
    whole, longest = sum(amounts.values(), Decimal()), max(amount for _, amount in named)
    return {
        f"{card} name": [name for name, _ in named],
        f"{card} amount": [write(amount) for _, amount in named],
        f"{card} share": [share(amount, whole) for _, amount in named],
        f"{card} length": [length(amount, longest) for _, amount in named],
    }


def change(now: Any, then: Any, other: str, was: str, words: tuple[str, str]) -> str:
    """`▲ 4.2% more than yesterday at 12:40 €800.00`."""
    size = share(Decimal(abs(now - then)), Decimal(then))
    if size == "0.0%":
        return f"= the same as {other} {was}"
    return f"{'▲' if now > then else '▼'} {size} {words[now < then]} than {other} {was}"


def priced(line: Mapping[str, Any]) -> str:
    """`2 piece × 1.20`."""  # noqa: RUF002 - a multiplication sign is what is meant
    return f"{quantity(exact(line['quantity']))} piece × {all_digits(exact(line['unitPrice']))}"  # noqa: RUF001


def receipts(count: int) -> str:
    """`1 receipt`, `2 receipts`."""
    return f"{count:,} receipt{'' if count == 1 else 's'}"


def payments(mine: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Mechanism → how many payments."""
    found: dict[str, int] = defaultdict(int)
    for each in mine:
        for payment in each["settlements"]:
            found[payment["paymentMechanism"]] += 1
    return dict(found)


def categories(receipt: Mapping[str, Any]) -> list[str]:
    """Categories of a receipt, each once."""
    return list(dict.fromkeys(line["productCategoryName"] for line in receipt["lines"]))


def few(names: Sequence[str]) -> list[str]:
    """Categories as a row of the list has them: some by their names, the others as a number."""
    shown = [name or "(no category)" for name in names[:4]]
    return shown if len(names) <= 4 else [*shown, f"and {len(names) - 4} more"]


def clock(minute: int) -> str:
    """`12:40` of minutes since midnight."""
    return f"{minute // 60:02}:{minute % 60:02}"


def minutes(text: str) -> int:
    """Minutes since midnight of `12:40`."""
    return int(text[:2]) * 60 + int(text[3:5])


def long_day(day: str) -> str:
    """`Saturday 21 November 2026`."""
    at = datetime.fromisoformat(day)
    return f"{at:%A} {at.day} {at:%B} {at.year}"


def shortened(text: str) -> str:
    """What fits on the page of the system."""
    return text if len(text) <= 100 else text[:99] + "…"
