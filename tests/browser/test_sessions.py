"""Many pages at once: they cost the broker nothing, each stays live, and those that leave are forgotten."""

import asyncio
import gc
import weakref
from urllib.parse import urlsplit

import aiohttp
import pytest
from bokeh.server.session import ServerSession

import broker as brokers
from bench.dashboard import PAGES
from bench.sessions import Session, sessions
from broker import receipts_topology
from tests.browser.conftest import NOON, Publisher, serving
from tests.servers.rabbit import Rabbit
from tests.support import eventually

pytestmark = pytest.mark.browser

#: As many as a head office has screens.
MANY = [PAGES[number % len(PAGES)] for number in range(20)]


@pytest.mark.rabbit
async def test_twenty_pages_have_one_set_of_queues(rabbit: Rabbit) -> None:
    """RabbitMQ has the same queues, consumers, channels and connections with twenty pages open as with none."""
    vhost = rabbit.vhost()
    broker = await brokers.connect(vhost, receipts_topology())
    publisher = Publisher(broker)
    publisher.tell(total=12.5, count=1, minutes={"09:58": 1})
    publishing = asyncio.create_task(publisher.run())
    try:
        async with serving(broker) as dashboard:
            await eventually(lambda: dashboard.feed.latest.count)
            await broker.state(receipts_topology().work)  # the first question opens a channel that stays
            alone = await eventually(lambda: at_the_broker(rabbit, vhost, subscriptions=2), timeout=20)
            async with sessions(dashboard.url, MANY) as opened:
                for count in range(2, 8):  # they live, meanwhile
                    publisher.tell(total=12.5 * count, count=count, as_of=NOON + count)
                    await all_hear(opened)
                # The broker's figures lag by a second or more: they have to stay what they were.
                for _ in range(3):
                    await asyncio.sleep(1.0)
                    assert await asyncio.to_thread(figures, rabbit, vhost) == alone
    finally:
        publishing.cancel()
        await asyncio.wait({publishing})
        await broker.close()


async def test_sessions_that_leave_are_forgotten(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a page stays in memory once it is closed, and those that are open go on."""
    from dashboard import site

    monkeypatch.setattr(site, "UNUSED_SESSION_SECONDS", 1)
    monkeypatch.setattr(site, "CHECK_SESSIONS_SECONDS", 1)
    publisher.tell(total=12.5, count=1, minutes={"09:58": 1})
    in_memory = Remembered()
    async with serving(publisher._broker) as dashboard:
        await eventually(lambda: dashboard.feed.latest.count)
        async with sessions(dashboard.url, MANY[:2]) as staying:
            async with sessions(dashboard.url, MANY):
                assert in_memory() == len(MANY) + 2
            await eventually(lambda: in_memory() == 2, timeout=20, every=0.5)
            publisher.tell(total=25, count=2, as_of=NOON + 1)
            await all_hear(staying)
        await eventually(lambda: in_memory() == 0, timeout=20, every=0.5)


async def test_a_page_asked_for_without_a_browser_behind_it_is_forgotten(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only loads the HTML, as monitoring does, leaves nothing behind."""
    from dashboard import site

    monkeypatch.setattr(site, "UNUSED_SESSION_SECONDS", 1)
    monkeypatch.setattr(site, "CHECK_SESSIONS_SECONDS", 1)
    in_memory = Remembered()
    async with serving(publisher._broker) as dashboard, aiohttp.ClientSession() as http:
        for _ in range(5):
            async with http.get(dashboard.url) as answer:
                assert '"token":"' in await answer.text()  # a session, which a busy machine may have forgotten by now
        await eventually(lambda: in_memory() == 0, timeout=20, every=0.5)


async def all_hear(opened: list[Session]) -> None:
    """Wait until each page was told something."""
    heard = [each.messages for each in opened]
    await eventually(lambda: all(each.messages > before for each, before in zip(opened, heard, strict=True)))


class Remembered:
    """Counts the sessions that this process holds, whoever refers to them, but for those of servers before."""

    def __init__(self) -> None:
        self._before = weakref.WeakSet(held())

    def __call__(self) -> int:
        """How many there are now."""
        return sum(each not in self._before for each in held())


def held() -> list[ServerSession]:
    """All sessions in memory, those that nobody can reach any more aside."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, ServerSession)]


async def at_the_broker(rabbit: Rabbit, vhost: str, *, subscriptions: int) -> dict[str, list[str]] | None:
    """The figures, once so many subscriptions of dashboards are among them, and none has changed for a second."""
    before = await asyncio.to_thread(figures, rabbit, vhost)
    await asyncio.sleep(1.0)
    found = await asyncio.to_thread(figures, rabbit, vhost)
    if found != before:
        return None
    ours = [name for name in found["queues"] if name.startswith(("dashboard.", "dashboard-rejected."))]
    return found if len(ours) == subscriptions and found["connections"] and found["channels"] else None


def figures(rabbit: Rabbit, vhost: str) -> dict[str, list[str]]:
    """The names of all that a vhost has."""
    name = urlsplit(vhost).path[1:]
    return {
        "queues": sorted(each["name"] for each in rabbit.api.get(f"/queues/{name}")),
        "consumers": sorted(each["consumer_tag"] for each in rabbit.api.get(f"/consumers/{name}")),
        "connections": sorted(each["name"] for each in rabbit.api.get(f"/vhosts/{name}/connections")),
        "channels": sorted(each["name"] for each in rabbit.api.get(f"/vhosts/{name}/channels")),
    }
