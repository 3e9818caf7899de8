"""A whole system whose every receipt is known: run as users run it, on files or on servers, with its dashboard.

Each receipt that is sold goes through `POST /receipts` and, at the same time, to a judge that adds up with `decimal`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

import broker as brokers
from broker import receipts_topology
from broker.frames import Frame
from engine.quarantine import frame_message
from streams import ReceiptStream
from tests.browser import days_sold
from tests.browser.days_sold import Receipt
from tests.browser.whole import afternoon
from tests.integration.system.harness import Process, System, running
from tests.servers.ferret import FerretServer
from tests.servers.rabbit import PrivateRabbit
from tests.support import eventually, free_port
from tests.support_expected import Expected

#: Receipts that were answered 202 are on every page within this on a busy machine, seconds. Tests show that pages
#: become right by themselves; the longest time without
#: an update is measured by `python -m bench dashboard`.
SOON = 30.0
#: A line that nobody can count, as no till sends it: it is no receipt.
BROKEN = b'{"receivedTime":1.0,"cashReceiptID":7,"storeID":"<b>12</b>","lines":[]}'


@dataclass(kw_only=True)
class House:
    """A running system and what is known of it.

    Attributes:
        url: of the dashboard, without a slash at its end.
        pages: the process that serves it.
        zone: of the business; it is the afternoon there, so that no day ends meanwhile.
        today: the business day.
        judge: has every receipt that was sold.
        begun: when the totals that run now were started, epoch seconds.
        rabbit, ferret: the servers, if it runs on servers.
    """

    system: System
    url: str
    pages: Process
    zone: ZoneInfo
    today: str
    begun: float
    rabbit: PrivateRabbit | None = None
    ferret: FerretServer | None = None
    judge: Expected = field(default_factory=Expected)

    async def sell(self, *receipts: Receipt) -> float:
        """POST receipts as one request; the monotonic time when they were accepted."""
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{self.system.url}/receipts", json=receipts) as answer:
                assert answer.status == 202, await answer.text()
                accepted = time.monotonic()
        self.judge.add_all(json.dumps(each).encode() for each in receipts)
        return accepted

    async def stored(self, day: str = "") -> list[dict[str, Any]]:
        """What `GET /receipts` says of a day, by default today: each with when it was received and stored."""
        found: list[dict[str, Any]] = (await self.system.get(f"/receipts?limit=1000&day={day or self.today}"))[
            "receipts"
        ]
        return found

    def clock(self, epoch: float) -> datetime:
        """The local time of a moment."""
        return datetime.fromtimestamp(epoch, self.zone)


@asynccontextmanager
async def embedded_house(folder: Path) -> AsyncIterator[House]:
    """`tillstream up` on files. It is started a second time once it knows the days past, as by somebody who goes on."""
    made = _house(folder, {"TILLSTREAM_DATA": str(folder / "data")})
    system = made.system
    (folder / "data").mkdir()
    await _put(f"sqlite:{folder}/data/broker.db", BROKEN)
    port = made.url.rpartition(":")[2]
    made.pages = system.add("up", "up", "--port", str(system.port), "--dashboard-port", port)
    async with running(system):
        await _sell_the_past(made)
        assert await made.pages.stop() == 0
        made.begun = time.time()
        await made.pages.start("the day, live")
        yield made


@asynccontextmanager
async def server_house(folder: Path, rabbit: PrivateRabbit, ferret: FerretServer) -> AsyncIterator[House]:
    """Entrypoint, worker, totals and dashboard as processes of their own, on RabbitMQ and FerretDB."""
    environ = {"TILLSTREAM_BROKER": rabbit.vhost(), "TILLSTREAM_STORE": ferret.database()}
    environ |= {f"TILLSTREAM_{name}_PROBES_PORT": "0" for name in ("WORKER", "TOTALS", "DASHBOARD")}
    made = _house(folder, environ)
    made.rabbit, made.ferret = rabbit, ferret
    system = made.system
    system.add("entrypoint", "entrypoint", "--port", str(system.port))
    system.add("worker", "worker")
    system.add("totals", "totals")
    async with running(system):
        await _put(environ["TILLSTREAM_BROKER"], BROKEN)
        await _sell_the_past(made)
        made.pages = system.add("dashboard", "dashboard", "--dashboard-port", made.url.rpartition(":")[2])
        await made.pages.start("the day, live")
        yield made


def _house(folder: Path, environ: dict[str, str]) -> House:
    now = time.time()
    zone = afternoon(now)
    environ |= {"TILLSTREAM_TIMEZONE": str(zone), "TILLSTREAM_CHECKPOINT_S": "0.5"}
    system = System(environ, folder)
    return House(
        system=system,
        url=f"http://127.0.0.1:{free_port()}",
        pages=Process((), {}, folder / "none"),
        zone=zone,
        today=datetime.fromtimestamp(now, zone).date().isoformat(),
        begun=now,
    )


async def _sell_the_past(house: House) -> None:
    """Days before today, counted; what was put into the queue was rejected."""
    past = days_sold.before(house.today)
    await house.sell(*past)
    await house.system.counted(len(past), sorted({each["date"][:10] for each in past}))

    async def rejected() -> bool:
        return bool((await house.system.get("/rejected"))["rejected"])

    await eventually(rejected, timeout=30)


async def _put(url: str, line: bytes) -> None:
    """Put a frame of one line into the work queue of a broker, past the entrypoint."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    broker = await brokers.connect(url, receipts_topology())
    try:
        await broker.publish(frame_message(stream, Frame.of(stream.name, [line])))
    finally:
        await broker.close()


async def soon(
    seen: Callable[[], Awaitable[dict[str, Any]]],
    expected: Callable[[dict[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]]],
    since: float,
    within: float = SOON,
) -> dict[str, Any]:
    """Look again and again until it is as expected, at most so long after a monotonic moment; one look at least.

    Arguments:
        expected: is told what is seen, for what only that can say, such as the minute that a page speaks of.
    Returns what was seen; fails with what differs.
    """
    while True:
        asked = time.monotonic() - since
        got = await seen()
        made = expected(got)
        wanted = await made if isinstance(made, Awaitable) else made
        if got == wanted:
            return got
        if asked > within:
            wrong = {
                name: (got.get(name), wanted.get(name)) for name in got | wanted if got.get(name) != wanted.get(name)
            }
            told = "\n".join(f"{name}: {is_!r}\n  expected {should!r}" for name, (is_, should) in wrong.items())
            raise AssertionError(f"{asked:.1f} s after the receipts were accepted:\n{told}")
        await asyncio.sleep(0.03)
