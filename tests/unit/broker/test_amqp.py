"""The parts of the RabbitMQ adapter that need no server: arguments of queues, translation of errors, URLs."""

import asyncio
from typing import NoReturn

import pytest
import structlog
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel
from aiormq.exceptions import (
    AMQPConnectionError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)
from yarl import URL

from broker.amqp_arguments import NO_DELIVERY_LIMIT, queue_arguments
from broker.amqp_errors import translate, translated
from broker.amqp_link import HEARTBEAT_SECONDS, Endpoint, Link
from broker.errors import BrokerError, BrokerUnavailableError, ConsumerRefusedError, TopologyMismatchError
from broker.exchanges import receipts_topology
from streams.errors import ConfigurationError


def test_the_work_queue_loses_nothing() -> None:
    """Quorum, refusing beyond its limit, dead-lettering at least once: together they drop no message."""
    assert queue_arguments(receipts_topology(work_max_bytes=7, delivery_limit=3).work) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 3,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "receipts.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length-bytes": 7,
    }


def test_dead_letters_have_no_limit_that_would_drop_them() -> None:
    """A quorum queue without a limit of ours does not get the server's, which drops."""
    assert queue_arguments(receipts_topology().dead)["x-delivery-limit"] == NO_DELIVERY_LIMIT


def test_partials_drop_their_oldest() -> None:
    """Classic, capped, drop-head."""
    arguments = queue_arguments(receipts_topology().partials)
    assert (arguments["x-queue-type"], arguments["x-overflow"]) == ("classic", "drop-head")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ChannelPreconditionFailed("PRECONDITION_FAILED - anything"), TopologyMismatchError),
        (ChannelAccessRefused("ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"), ConsumerRefusedError),
        (ChannelLockedResource("RESOURCE_LOCKED - cannot obtain exclusive access"), ConsumerRefusedError),
        (ChannelAccessRefused("ACCESS_REFUSED - access to queue 'q' refused for user 'u'"), BrokerError),
        (ProbableAuthenticationError("ACCESS_REFUSED - Login was refused"), BrokerError),
        (ConnectionNotAllowed("NOT_ALLOWED - vhost x not found"), BrokerError),
        (ConnectionClosed(320, "CONNECTION_FORCED - broker forced connection closure"), BrokerUnavailableError),
        (AMQPConnectionError(111, "Connect call failed"), BrokerUnavailableError),
        (TimeoutError(), BrokerUnavailableError),
        (Exception(), BrokerUnavailableError),
    ],
)
def test_each_driver_error_has_one_meaning(raised: Exception, kind: type[BrokerError]) -> None:
    """Errors of aiormq become ours, in one line."""
    error = translate("doing it", raised)
    assert type(error) is kind
    assert "\n" not in str(error)


def test_a_mismatch_names_the_argument_and_both_values() -> None:
    """RabbitMQ's text, made readable."""
    text = (
        "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'receipts.work' in vhost '/': "
        "received '6' but current is '5'"
    )
    assert str(translate("declaring", ChannelPreconditionFailed(text))) == (
        "queue 'receipts.work' in vhost '/' exists with another x-delivery-limit: ours is '6', it has '5'"
    )


async def test_a_cancel_of_ours_stays_a_cancel_and_the_drivers_becomes_an_error() -> None:
    """aiormq fails its waiters with CancelledError when it closes; that must not end our task."""
    with pytest.raises(BrokerUnavailableError):
        async with translated("asking", 5.0):
            raise asyncio.CancelledError

    async def ours() -> None:
        async with translated("asking", 5.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(ours())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_that_takes_too_long_is_an_unavailable_broker() -> None:
    """Every call of the driver is bounded."""
    with pytest.raises(BrokerUnavailableError, match="did not answer in time"):
        async with translated("asking", 0.0):
            await asyncio.Event().wait()


def test_an_endpoint_shows_no_password() -> None:
    """Neither its text nor its repr."""
    endpoint = Endpoint.parse("amqps://till:hunter2@broker.example/shop", "tillstream")
    assert str(endpoint) == "amqps://broker.example:5671/shop"
    assert "hunter2" not in repr(endpoint)
    assert endpoint.urls[0].query["heartbeat"] == str(HEARTBEAT_SECONDS)
    assert Endpoint.parse("amqp://h/?heartbeat=3", "x").urls[0].query["heartbeat"] == "3"


def test_an_endpoint_of_several_hosts_has_one_user_and_vhost() -> None:
    """Hosts are separated by commas; each may have a port; all else is said once, as in a MongoDB address."""
    endpoint = Endpoint.parse("amqp://till:hun,ter2@rabbit1:5673,[::1],rabbit3/shop?heartbeat=3", "x")
    assert str(endpoint) == "amqp://rabbit1:5673,[::1]:5672,rabbit3:5672/shop"
    assert [(url.host, url.port, url.user, url.password, url.path) for url in endpoint.urls] == [
        ("rabbit1", 5673, "till", "hun,ter2", "/shop"),
        ("::1", None, "till", "hun,ter2", "/shop"),
        ("rabbit3", None, "till", "hun,ter2", "/shop"),
    ]
    assert {url.query["heartbeat"] for url in endpoint.urls} == {"3"}


@pytest.mark.parametrize(
    "url",
    [
        "amqp:",
        "amqp://",
        "amqp://till:hunter2@host:port/",
        "amqp://till:hunter2@one,,two/",
        "amqp://till:hunter2@one,two:port/",
        "amqp://till:hunter2@one,amqp://till:hunter2@two",
    ],
)
def test_a_broken_url_is_refused_without_repeating_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(url, "x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


class FaultyLink(Link):
    """A link whose every attempt to connect ends by an exception that nobody thought of."""

    attempts = 0
    third: asyncio.Event

    async def _connect(self, url: URL) -> NoReturn:
        self.attempts += 1
        if self.attempts > 2:
            self.third.set()
        raise ZeroDivisionError("a fault")


def faulty_link() -> FaultyLink:
    """To a broker that it never comes to."""

    async def setup(_: AbstractConnection) -> list[Channel]:
        raise AssertionError("there is no connection")

    link = FaultyLink(Endpoint.parse("amqp://127.0.0.1/", "x"), "publishing", setup)
    link.third = asyncio.Event()
    return link


async def test_a_link_goes_on_after_a_fault_of_its_own() -> None:
    """An unexpected exception is logged as an error and the link connects again; until then it has no connection."""
    link = faulty_link()
    link._opened.set_result(None)  # it was open once
    with structlog.testing.capture_logs() as logs:
        await link.open(None)
        async with asyncio.timeout(20):
            await link.third.wait()
    assert [log["event"] for log in logs if log["log_level"] == "error"][:2] == ["the broker link failed"] * 2
    with pytest.raises(BrokerUnavailableError):
        await link.ready(0.01)
    await link.close()


async def test_a_fault_of_the_first_connection_is_told_to_whoever_opens_the_link() -> None:
    """It is a BrokerError in one line, at once."""
    with pytest.raises(BrokerError, match="the broker link failed: a fault"):
        async with asyncio.timeout(20):
            await faulty_link().open(None)
