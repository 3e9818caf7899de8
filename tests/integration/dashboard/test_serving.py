"""Who is answered what by the dashboard's server, asked as no browser would."""

import asyncio
import base64
import contextlib
import functools
import re
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientResponse, ClientSession, WSServerHandshakeError

import broker as brokers
from broker import Broker, receipts_topology
from dashboard import login, site
from dashboard.login import COOKIE
from dashboard.passwords import Hashed, line
from dashboard.throttle import FREE_FAILURES
from tests.browser.conftest import Dashboard, serving
from tests.support import eventually

PASSWORD = "correct horse"
#: Everything that shows something, and what only a page's websocket asks for.
PROTECTED = (
    "",
    "receipts",
    "receipt?id=1",
    "receipts.csv",
    "stores",
    "store?id=1",
    "system",
    "rejected",
    "rejected-item?id=1",
)
SOCKETS = ("ws", "stores/ws", "store/ws", "system/ws")
#: What Bokeh and Panel have besides, and we do not need.
CLOSED = (
    "metadata", "stores/metadata", "autoload.js", "stores/autoload.js?bokeh-autoload-element=1", "favicon.ico",
    "liveness", "components/panel.io/state/x/y", "admin", "nothing/at/all",
)  # fmt: skip


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker on which nobody says anything."""
    broker = await brokers.connect(f"sqlite:{tmp_path}/broker.db", receipts_topology())
    yield broker
    await broker.close()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with one user, anna."""
    file = tmp_path / "users"
    file.write_text(line("anna", PASSWORD) + "\n")
    return file


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A client that keeps cookies, those of addresses, too."""
    async with ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=20)
    ) as session:
        yield session


@contextlib.asynccontextmanager
async def asked(session: ClientSession, url: str, **more: Any) -> AsyncIterator[ClientResponse]:
    """An answer as it is, wherever it leads."""
    async with session.get(url, allow_redirects=False, **more) as answer:
        yield answer


async def sent(session: ClientSession, dashboard: Dashboard, password: str = PASSWORD, **more: Any) -> ClientResponse:
    """The login form, filled in and sent."""
    url = f"{dashboard.url}login"
    async with session.get(url, **more) as answer:
        token = re.search(r'name="_xsrf" value="([^"]+)"', await answer.text())
    assert token is not None
    form = {"name": "anna", "password": password, "_xsrf": token[1]}
    async with session.post(url, data=form, allow_redirects=False, **more) as answer:
        await answer.read()
        return answer


async def live_token(session: ClientSession, dashboard: Dashboard) -> str:
    """What a live page would open its websocket with."""
    async with session.get(dashboard.url) as answer:
        found = re.search(r'"token":"([^"]+)"', await answer.text())
    assert found is not None
    return found[1]


async def test_without_a_login_nothing_is_shown(silent: Broker, session: ClientSession, users: Path) -> None:
    """Pages and CSV lead to the form, and back; websockets are refused; what is no address is said to be none."""
    async with serving(silent, users_file=users) as dashboard:
        for path in PROTECTED:
            async with asked(session, dashboard.url + path) as answer:
                assert answer.status == 302, path
                assert answer.headers["Location"].startswith("/login?next=%2F"), path
        for path in SOCKETS:
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(dashboard.url + path, protocols=("bokeh", "token"))
            assert refused.value.status == 403
        for path in CLOSED:
            async with asked(session, dashboard.url + path) as answer:
                assert answer.status == 404, path
        async with session.post(dashboard.url + "receipts") as answer:
            assert answer.status == 403
        for path in ("healthz", "login", "static/js/bokeh.min.js", "static/extensions/panel/panel.min.js"):
            async with asked(session, dashboard.url + path) as answer:
                assert answer.status == 200, path


async def test_the_websocket_wants_a_page_of_ours_and_a_login(
    silent: Broker, session: ClientSession, users: Path
) -> None:
    """With the page's token but without the cookie: refused. From another site's page: refused, too. With a token that
    nobody gave out: closed. As the page does it: it is answered."""
    async with serving(silent, users_file=users) as dashboard:
        assert (await sent(session, dashboard)).status == 303
        token = await live_token(session, dashboard)
        async with ClientSession() as stranger:
            with pytest.raises(WSServerHandshakeError) as refused:
                await stranger.ws_connect(f"{dashboard.url}ws", protocols=("bokeh", token))
            assert refused.value.status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(
                f"{dashboard.url}ws", protocols=("bokeh", token), headers={"Origin": "http://evil.example"}
            )
        assert refused.value.status == 403
        async with session.ws_connect(f"{dashboard.url}ws", protocols=("bokeh", f"{token}x")) as socket:
            assert (await socket.receive(10)).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
        async with session.ws_connect(f"{dashboard.url}ws", protocols=("bokeh", token)) as socket:
            assert "ACK" in str((await socket.receive(10)).data)


@pytest.mark.parametrize("host", ["till.example", "till.example:443"])
async def test_a_proxy_may_write_the_port_of_https(silent: Broker, session: ClientSession, host: str) -> None:
    """The live connection is opened whether the forwarded host has the default port or not."""
    headers = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    async with serving(silent, proxy=True) as dashboard:
        token = await live_token(session, dashboard)
        origin = {"Origin": "https://till.example"}
        async with session.ws_connect(
            f"{dashboard.url}ws", protocols=("bokeh", token), headers={**headers, **origin}
        ) as socket:
            assert "ACK" in str((await socket.receive(10)).data)


async def test_the_page_does_not_hold_the_cookie(silent: Broker, session: ClientSession, users: Path) -> None:
    """Bokeh would put all cookies into the token that a page's scripts can read."""

    async with serving(silent, users_file=users) as dashboard:
        await sent(session, dashboard)
        token = await live_token(session, dashboard)
    said = base64.urlsafe_b64decode(token.partition(".")[0] + "==")
    packed = re.search(rb'"__bk__zlib_": ?"([^"]+)"', said)
    assert packed is not None
    payload = zlib.decompress(base64.urlsafe_b64decode(packed[1] + b"=="))
    assert COOKIE.encode() not in payload
    assert b"Cookie" not in payload


async def test_the_cookie_is_for_our_pages_only(silent: Broker, users: Path) -> None:
    """Not for scripts or other sites; below the prefix; over https only where the proxy says that it is https, and
    only if proxies are believed."""
    https = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "till.example"}
    for proxy, secure in ((True, True), (False, False)):
        async with serving(silent, users_file=users, prefix="/shop", proxy=proxy) as dashboard:
            async with ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                async with session.get(f"{dashboard.url}login", headers=https) as answer:
                    xsrf = answer.cookies["_xsrf"]
                    token = re.search(r'name="_xsrf" value="([^"]+)"', await answer.text())
                assert token is not None
                async with session.post(
                    f"{dashboard.url}login",
                    data={"name": "anna", "password": PASSWORD, "_xsrf": token[1], "next": "https://evil.example/"},
                    headers={**https, "Cookie": f"_xsrf={xsrf.value}"},
                    allow_redirects=False,
                ) as answer:
                    assert (answer.status, answer.headers["Location"]) == (303, "/shop/")
                    for cookie in (answer.cookies[COOKIE], xsrf):
                        assert cookie["httponly"]
                        assert cookie["samesite"] == "Lax"
                        assert cookie["path"] == "/shop"
                        assert bool(cookie["secure"]) is secure


async def test_a_form_of_another_site_logs_nobody_in(silent: Broker, session: ClientSession, users: Path) -> None:
    """Without the token of our own form a right password is not even looked at."""
    async with serving(silent, users_file=users) as dashboard:
        form = {"name": "anna", "password": PASSWORD}
        async with session.post(f"{dashboard.url}login", data=form, allow_redirects=False) as answer:
            assert answer.status == 403
            assert COOKIE not in answer.cookies
            assert "This form is too old" in await answer.text()


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/\t/evil.example", "evil", "/login", "/ x", ""],
)
async def test_after_the_login_we_lead_only_to_ourselves(
    silent: Broker, session: ClientSession, users: Path, wanted: str
) -> None:
    """Whatever the address says."""
    async with serving(silent, users_file=users) as dashboard:
        await sent(session, dashboard)
        async with asked(session, f"{dashboard.url}login", params={"next": wanted}) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")


async def test_guessing_is_slowed_down_by_address_whatever_the_address_claims(
    silent: Broker, session: ClientSession, users: Path
) -> None:
    """After five failures the answer is 429 with a time; a header that anybody may send is no other address. Meanwhile
    the server answers others."""
    async with serving(silent, users_file=users) as dashboard:
        for number in range(6):
            header = {"X-Forwarded-For": f"192.0.2.{number}"}
            assert (await sent(session, dashboard, "wrong horse", headers=header)).status == 403 or number == 5
        while True:
            answer = await sent(session, dashboard, "wrong horse")
            if answer.status == 429:
                break
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert COOKIE not in answer.cookies


async def test_behind_a_proxy_each_visitor_has_an_address(silent: Broker, session: ClientSession, users: Path) -> None:
    """One who guesses does not slow down the others; what a visitor claims about itself stands left of what the proxy
    adds, and does not count."""
    async with serving(silent, users_file=users, proxy=True) as dashboard:
        answers: list[int] = []
        while 429 not in answers:  # each wait is twice as long as the one before, so no machine is too slow to meet one
            number = len(answers)
            header = {"X-Forwarded-For": f"198.51.100.{number}, 192.0.2.1"}
            answers.append(await guess(session, dashboard, f"user {number}", header))
        assert answers[:-1] == [403] * (len(answers) - 1)
        assert len(answers) > FREE_FAILURES
        assert await guess(session, dashboard, "somebody", {"X-Forwarded-For": "192.0.2.2"}) == 403


async def guess(session: ClientSession, dashboard: Dashboard, name: str, headers: dict[str, str]) -> int:
    """Try a wrong password for a name; the answer's status."""
    async with session.get(f"{dashboard.url}login") as answer:
        token = re.search(r'name="_xsrf" value="([^"]+)"', await answer.text())
    assert token is not None
    form = {"name": name, "password": "wrong horse", "_xsrf": token[1]}
    async with session.post(f"{dashboard.url}login", data=form, headers=headers) as answer:
        return answer.status


async def test_pages_are_answered_while_passwords_are_checked(
    silent: Broker, session: ClientSession, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at a time, in other threads; when as many wait as may, everybody else is sent away at once."""
    checking, over, matches = Counter[str](), threading.Event(), Hashed.matches

    def held(challenge: Hashed, password: str) -> bool:
        checking["begun"] += 1
        found = matches(challenge, password)
        over.wait()
        return found

    monkeypatch.setattr(Hashed, "matches", held)
    async with serving(silent, users_file=users, proxy=True) as dashboard:
        tries = [
            asyncio.create_task(guess(session, dashboard, f"user {number}", {"X-Forwarded-For": f"192.0.2.{number}"}))
            for number in range(2 * login.WAITING_MOST)
        ]
        try:
            await eventually(lambda: sum(one.done() for one in tries) == login.WAITING_MOST, timeout=120)
            assert {one.result() for one in tries if one.done()} == {429}
            await eventually(lambda: checking["begun"] == login.CHECKED_AT_ONCE, timeout=60)
            for path in ("healthz", "login", "static/js/bokeh.min.js"):
                async with asked(session, dashboard.url + path) as answer:
                    assert answer.status == 200
            assert checking["begun"] == login.CHECKED_AT_ONCE
            assert sum(not one.done() for one in tries) == login.WAITING_MOST
        finally:
            over.set()
        statuses = Counter(await asyncio.gather(*tries))
        assert statuses == {403: login.WAITING_MOST, 429: login.WAITING_MOST}


async def test_every_answer_has_its_headers(silent: Broker, session: ClientSession) -> None:
    """Pages, files and errors alike: no frames, no other hosts, no versions."""
    async with serving(silent) as dashboard:
        for path in ("", "receipts", "stores", "static/js/bokeh.min.js", "nothing", "healthz"):
            async with asked(session, dashboard.url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in policy
                assert "default-src 'none'" in policy
                assert ("unsafe-eval" in policy) == (path in {"", "stores"})
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "same-origin"
                assert answer.headers["Server"] == "tillstream"


async def test_a_name_that_is_not_ours_is_told_what_to_set(silent: Broker, session: ClientSession) -> None:
    """A page that was made to lead to us by its name reads nothing; whoever runs us learns what to add."""
    async with serving(silent, origins=("till.example:8443",)) as dashboard:
        for path in PROTECTED[:4]:
            async with asked(session, dashboard.url + path, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 421
                assert "add evil.example to the setting TILLSTREAM_DASHBOARD_ORIGINS" in await answer.text()
        async with asked(session, f"{dashboard.url}healthz", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 200
        async with asked(session, f"{dashboard.url}receipts", headers={"Host": "till.example"}) as answer:
            assert answer.status == 200
        host = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}
        async with asked(session, f"{dashboard.url}receipts", headers=host) as answer:
            assert answer.status == 421


async def test_outside_the_prefix_there_is_nothing(silent: Broker, session: ClientSession) -> None:
    """Another application may have the rest; the page of the error links to ours."""
    async with serving(silent, prefix="/shop") as dashboard:
        root = dashboard.url.removesuffix("/shop/")
        for path in ("/", "/receipts", "/healthz", "/static/js/bokeh.min.js", "/shopping/", "/favicon.ico"):
            async with asked(session, root + path) as answer:
                assert answer.status == 404, path
                assert 'href="/shop/"' in await answer.text()
        async with asked(session, f"{root}/shop") as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/shop/")
        async with asked(session, f"{root}/shop/healthz") as answer:
            assert answer.status == 200


async def test_no_more_pages_are_open_than_may_be(silent: Broker, session: ClientSession) -> None:
    """The one too many is asked to come back, which browsers do by themselves; pages that are not live go on."""
    async with serving(silent, max_sessions=3) as dashboard:
        for path in ("", "stores", "system"):
            async with asked(session, dashboard.url + path) as answer:
                assert answer.status == 200
        async with asked(session, dashboard.url) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == answer.headers["Refresh"] == "30"
            assert "Too many pages" in await answer.text()
        async with asked(session, f"{dashboard.url}receipts") as answer:
            assert answer.status == 200


async def test_a_page_that_nobody_looks_at_is_forgotten(
    silent: Broker, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever page it is: one that was asked for and never came alive makes room again."""
    monkeypatch.setattr(site, "UNUSED_SESSION_SECONDS", 1)
    monkeypatch.setattr(site, "CHECK_SESSIONS_SECONDS", 1)
    async with serving(silent, max_sessions=1) as dashboard:

        async def answered(path: str) -> bool:
            async with asked(session, dashboard.url + path) as answer:
                return answer.status == 200

        for path in ("", "stores", "store?id=1", "system", ""):
            await eventually(functools.partial(answered, path), timeout=20, every=0.2)
            assert not await answered(path)


@pytest.mark.parametrize("page", ["", "receipts"])
async def test_a_login_begins_anew_with_any_page(
    silent: Broker, session: ClientSession, users: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """Live or not; but its cookie is not sent with each of them."""
    async with serving(silent, users_file=users) as dashboard:
        await sent(session, dashboard)
        async with asked(session, dashboard.url + page) as answer:
            assert (answer.status, COOKIE in answer.cookies) == (200, False)
        monkeypatch.setattr(login, "RENEW_PART", 0.0)
        async with asked(session, dashboard.url + page) as answer:
            assert (answer.status, COOKIE in answer.cookies) == (200, True)


async def test_a_secret_makes_logins_survive_a_restart(silent: Broker, session: ClientSession, users: Path) -> None:
    """With it the cookie holds in the next process; without it, or with another one, people log in again."""
    for secret, status in (("0123456789abcdef", 200), ("", 302)):
        async with serving(silent, users_file=users, secret=secret) as dashboard:
            await sent(session, dashboard)
            port = int(dashboard.url.split(":")[2].strip("/"))
        async with serving(silent, users_file=users, secret=secret, port=port) as again:
            async with asked(session, f"{again.url}receipts") as answer:
                assert answer.status == status
