"""The parts of the RabbitMQ adapter that need no server: arguments of queues, translation of errors, URLs."""

import asyncio

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)

from broker.amqp_arguments import NO_DELIVERY_LIMIT, queue_arguments
from broker.amqp_errors import translate, translated
from broker.amqp_link import HEARTBEAT_SECONDS, Endpoint
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
    assert endpoint.url.query["heartbeat"] == str(HEARTBEAT_SECONDS)
    assert Endpoint.parse("amqp://h/?heartbeat=3", "x").url.query["heartbeat"] == "3"


@pytest.mark.parametrize("url", ["amqp:", "amqp://", "amqp://till:hunter2@host:port/"])
def test_a_broken_url_is_refused_without_repeating_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(url, "x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
