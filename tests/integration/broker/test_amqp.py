"""What only RabbitMQ has: connections that break, alarms, consumers that the broker forgets, limits of queues.

What every broker has to do is in `test_contract.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

import broker
from broker import amqp, amqp_consumer, amqp_link
from broker.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerFullError,
    BrokerUnavailableError,
    ConsumerRefusedError,
    PublishUnknownError,
    TopologyMismatchError,
    UnroutableError,
)
from broker.exchanges import Queue, Topology, receipts_topology
from broker.protocol import Broker, Consumer, Delivery, Message
from streams.errors import ConfigurationError
from tests.servers.cut import CutProxy, Mode
from tests.servers.rabbit import PrivateRabbit, Rabbit
from tests.support import eventually, free_port

pytestmark = pytest.mark.rabbit

#: Quick enough for tests, longer than a confirm ever takes here.
PUBLISH_TIMEOUT_SECONDS = 3.0


def receipt(body: bytes = b"{}") -> Message:
    """A message that reaches `receipts.work`."""
    return Message(exchange="receipts", routing_key="receipts", body=body)


async def connect(url: str, topology: Topology | None = None) -> Broker:
    """A broker with a short time-out."""
    return await broker.connect(
        url, topology or receipts_topology(), publish_timeout=PUBLISH_TIMEOUT_SECONDS, wait=20.0
    )


async def answered(ours: Broker) -> bool:
    """Whether the server answers now."""
    try:
        await ours.ping()
    except BrokerError:
        return False
    return True


async def take(consumer: Consumer, timeout: float = 20.0) -> Delivery:
    """The next delivery, bounded."""
    async with asyncio.timeout(timeout):
        return await anext(aiter(consumer))


async def publish_when_back(channel: Broker, message: Message) -> None:
    """Publish as soon as the broker takes it."""

    async def attempt() -> bool:
        try:
            await channel.publish(message)
        except BrokerUnavailableError:
            return False
        return True

    await eventually(attempt, timeout=30.0)


async def heard(channel: Broker, listener: Consumer) -> bool:
    """Announce, and tell whether the listener hears of it."""
    await channel.announce(Message(exchange="count", routing_key="receipts", body=b"1"))
    try:
        return (await take(listener, 0.2)).body == b"1"
    except TimeoutError:
        return False


@pytest.fixture
async def shared(rabbit: Rabbit) -> AsyncIterator[str]:
    """The URL of a fresh vhost on the session's server."""
    url = await asyncio.to_thread(rabbit.vhost)
    yield url
    await asyncio.to_thread(rabbit.drop_vhost, url)


async def test_a_restart_of_the_server_is_survived_by_publishers_consumers_and_subscribers(
    own_rabbit: PrivateRabbit,
) -> None:
    """After the server stopped and started all go on by themselves; unsettled messages come again, marked."""
    topology = receipts_topology()
    ours = await connect(await asyncio.to_thread(own_rabbit.vhost), topology)
    try:
        consumer = await ours.consume(topology.work, prefetch=10)
        listener = await ours.subscribe("test", {"count": "#"})
        await ours.publish(receipt(b"unsettled"))
        before = await take(consumer)
        await asyncio.to_thread(own_rabbit.stop)
        assert ours.blocked
        with pytest.raises(BrokerUnavailableError):
            await ours.publish(receipt())
        with pytest.raises(BrokerUnavailableError):
            await ours.announce(receipt())
        with pytest.raises(BrokerError):
            await ours.ping()
        await before.ack()  # does nothing, and does not raise
        await asyncio.to_thread(own_rabbit.start)
        again = await take(consumer)
        assert (again.body, again.redelivered) == (b"unsettled", True)
        await again.ack()
        await publish_when_back(ours, receipt(b"after"))
        assert (await take(consumer)).body == b"after"
        await eventually(lambda: heard(ours, listener), timeout=20.0)
    finally:
        await ours.close()


async def test_a_killed_server_leaves_publishes_unknown_and_confirmed_messages_safe(own_rabbit: PrivateRabbit) -> None:
    """kill -9 amid traffic: every publish ends, with a confirm or an error, and what was confirmed is delivered."""
    topology = receipts_topology()
    ours = await connect(await asyncio.to_thread(own_rabbit.vhost), topology)
    confirmed: set[bytes] = set()
    failed: list[BaseException] = []

    async def publisher(number: int) -> None:
        for at in range(100_000):
            body = b"%d-%d" % (number, at)
            try:
                await ours.publish(receipt(body))
            except BrokerUnavailableError as exc:
                failed.append(exc)
                return
            confirmed.add(body)

    await asyncio.to_thread(own_rabbit.sync)
    try:
        publishers = asyncio.gather(*(publisher(number) for number in range(8)))
        await eventually(lambda: len(confirmed) > 50)
        await asyncio.to_thread(own_rabbit.kill)
        async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS + 2):
            await publishers
        assert len(failed) == 8
        assert any(isinstance(exc, PublishUnknownError) for exc in failed)
        await asyncio.to_thread(own_rabbit.start)
        await eventually(lambda: not ours.blocked, timeout=20.0)
        consumer = await ours.consume(topology.work, prefetch=100)
        seen: set[bytes] = set()
        while confirmed - seen:
            delivery = await take(consumer)
            seen.add(delivery.body)
            await delivery.ack()
    finally:
        await ours.close()


async def test_a_frozen_server_makes_a_publish_unknown_in_time(own_rabbit: PrivateRabbit) -> None:
    """A server that answers nothing: PublishUnknownError at the time-out; closing is bounded as well."""
    ours = await connect(await asyncio.to_thread(own_rabbit.vhost))
    own_rabbit.pause()
    try:
        async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS + 2):
            with pytest.raises(PublishUnknownError):
                await ours.publish(receipt())
    finally:
        async with asyncio.timeout(30):
            await ours.close()
        own_rabbit.resume()


async def test_a_question_that_takes_too_long_does_not_cost_the_connection(
    own_rabbit: PrivateRabbit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A channel that is slow to close is not closed a second time, which the driver does with a close that is
    cancelled: RabbitMQ may end the connection for that, with all that is being published on it."""
    monkeypatch.setattr(amqp_link, "ASK_TIMEOUT_SECONDS", 0.3)
    topology = receipts_topology()
    ours = await connect(await asyncio.to_thread(own_rabbit.vhost), topology)
    assert isinstance(ours, amqp.AmqpBroker)
    consumer = await ours.consume(topology.work, prefetch=1)
    links = (ours._publishing, ours._consuming)
    before = [link.connection for link in links if link]
    await ours.ping()
    own_rabbit.pause()
    try:
        with caplog.at_level("WARNING", logger="aiormq"):
            for _ in range(2):
                with pytest.raises(BrokerUnavailableError):
                    await ours.ping()
            closing = asyncio.create_task(consumer.close())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(closing), 0.3)
    finally:
        own_rabbit.resume()
    await closing
    await eventually(lambda: answered(ours))
    await ours.publish(receipt())
    assert [link.connection for link in links if link] == before
    assert not [record for record in caplog.records if "Channel.Close" in record.getMessage()]
    await ours.close()


async def test_questions_are_asked_on_one_channel(rabbit: Rabbit, shared: str) -> None:
    """However many there are; one that is answered by closing it, for a queue that is not there, costs only that."""
    topology = receipts_topology()
    ours = await connect(shared, topology)
    try:
        await asyncio.gather(*(ours.state(topology.work) for _ in range(20)), ours.ping())
        vhost = shared.rpartition("/")[2]
        await asyncio.to_thread(rabbit.api.delete, f"/queues/{vhost}/receipts.dead")
        for _ in range(3):
            with pytest.raises(BrokerError, match="NOT_FOUND"):
                await ours.state(topology.dead)
            await ours.state(topology.work)

        async def channels() -> bool:
            found = await asyncio.to_thread(rabbit.api.get, f"/vhosts/{vhost}/channels")
            return len(found) == 3  # confirmed, announcing, asking

        await eventually(channels, timeout=20.0)
    finally:
        await ours.close()


async def test_an_alarm_blocks_publishing_at_once_but_not_consuming(own_rabbit: PrivateRabbit) -> None:
    """Under a memory alarm publishing is refused without trying, deliveries and acks go on; afterwards all is well."""
    topology = receipts_topology()
    ours = await connect(await asyncio.to_thread(own_rabbit.vhost), topology)
    try:
        for body in (b"1", b"2"):
            await ours.publish(receipt(body))
        await asyncio.to_thread(own_rabbit.ctl, "set_vm_memory_high_watermark", "0.000001")
        try:

            async def refused() -> bool:
                try:
                    await ours.publish(receipt(b"late"))
                except BrokerBlockedError:
                    return True
                except PublishUnknownError:  # the one that told the broker that we publish
                    return False
                return False

            await eventually(refused, timeout=20.0)
            assert ours.blocked
            with pytest.raises(BrokerBlockedError):
                await ours.announce(Message(exchange="count", routing_key="receipts", body=b""))
            consumer = await ours.consume(topology.work, prefetch=1)
            for body in (b"1", b"2"):  # a prefetch of one: the second comes only if the ack of the first is read
                delivery = await take(consumer)
                assert delivery.body == body
                await delivery.ack()
        finally:
            await asyncio.to_thread(own_rabbit.ctl, "set_vm_memory_high_watermark", "0.4")
        await eventually(lambda: not ours.blocked, timeout=20.0)
        await ours.publish(receipt(b"3"))
    finally:
        await ours.close()


async def test_a_deleted_queue_is_made_again_and_consumed(rabbit: Rabbit, shared: str) -> None:
    """The broker cancels a consumer whose queue is deleted: the consumer declares it again and goes on."""
    topology = receipts_topology()
    ours = await connect(shared, topology)
    try:
        consumer = await ours.consume(topology.work, prefetch=1)
        vhost = shared.rpartition("/")[2]
        await asyncio.to_thread(rabbit.api.delete, f"/queues/{vhost}/receipts.work")

        async def published() -> bool:
            try:
                await ours.publish(receipt(b"again"))
            except UnroutableError:
                return False
            return True

        await eventually(published)
        assert (await take(consumer)).body == b"again"
    finally:
        await ours.close()


async def test_a_consumer_that_is_known_is_left_alone(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog finds nothing wrong with consumers of any kind: what they hold stays theirs."""
    monkeypatch.setattr(amqp_consumer, "WATCHDOG_SECONDS", 0.02)
    topology = receipts_topology()
    ours = await connect(shared, topology)
    asked: list[bool] = []
    served = amqp_consumer.AmqpConsumer._served

    async def ask(consumer: amqp_consumer.AmqpConsumer, before: int) -> bool:
        asked.append(await served(consumer, before))
        return asked[-1]

    monkeypatch.setattr(amqp_consumer.AmqpConsumer, "_served", ask)
    try:
        for queue in (topology.work, topology.partials):
            await ours.consume(queue, prefetch=1)
        await ours.subscribe("test", {"count": "#"})
        await eventually(lambda: len(asked) > 20)
        assert all(asked)
    finally:
        await ours.close()


async def test_a_consumer_lost_without_a_word_is_noticed(
    rabbit: Rabbit, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody told us of the cancel: the watchdog asks the broker, and consumes again."""
    monkeypatch.setattr(amqp_consumer, "WATCHDOG_SECONDS", 0.1)
    topology = receipts_topology()
    ours = await connect(shared, topology)
    try:
        consumer = await ours.consume(topology.work, prefetch=1)
        assert isinstance(consumer, amqp_consumer.AmqpConsumer)
        channel = consumer._channel
        assert channel is not None
        channel.on_consumer_cancel_callbacks.clear()
        vhost = shared.rpartition("/")[2]
        await asyncio.to_thread(rabbit.api.delete, f"/queues/{vhost}/receipts.work")

        async def published() -> bool:
            try:
                await ours.publish(receipt(b"again"))
            except UnroutableError:
                return False
            return True

        await eventually(published)
        assert (await take(consumer)).body == b"again"
    finally:
        await ours.close()


async def test_a_consumer_that_is_forgotten_beside_others_is_noticed(
    shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has a consumer, but not us, and messages wait: the watchdog consumes again."""
    monkeypatch.setattr(amqp_consumer, "WATCHDOG_SECONDS", 0.1)
    topology = receipts_topology()
    ours, other = await connect(shared, topology), await connect(shared, topology)
    try:
        busy = await other.consume(topology.work, prefetch=1)
        await ours.publish(receipt(b"1"))
        await take(busy)
        forgotten = await ours.consume(topology.work, prefetch=1)
        assert isinstance(forgotten, amqp_consumer.AmqpConsumer)
        channel, tag = forgotten._channel, forgotten._tag
        assert channel is not None
        assert tag is not None
        channel.on_consumer_cancel_callbacks.clear()
        await channel.basic_cancel(tag)
        await ours.publish(receipt(b"2"))
        assert (await take(forgotten)).body == b"2"
    finally:
        await ours.close()
        await other.close()


async def test_a_consumer_that_has_its_hands_full_is_left_alone(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages wait because it settles none: that is not the broker's doing, and nothing is delivered twice."""
    monkeypatch.setattr(amqp_consumer, "WATCHDOG_SECONDS", 0.02)
    topology = receipts_topology()
    ours = await connect(shared, topology)
    asked: list[bool] = []
    served = amqp_consumer.AmqpConsumer._served

    async def ask(consumer: amqp_consumer.AmqpConsumer, before: int) -> bool:
        asked.append(await served(consumer, before))
        return asked[-1]

    monkeypatch.setattr(amqp_consumer.AmqpConsumer, "_served", ask)
    try:
        for body in (b"1", b"2"):
            await ours.publish(receipt(body))
        await take(await ours.consume(topology.work, prefetch=1))
        asked.clear()
        await eventually(lambda: len(asked) > 20)
        assert all(asked)
    finally:
        await ours.close()


async def test_a_closed_connection_is_made_again(rabbit: Rabbit, shared: str) -> None:
    """An operator closes our connections: publishing and consuming go on."""
    topology = receipts_topology()
    ours = await connect(shared, topology)
    try:
        consumer = await ours.consume(topology.work, prefetch=1)
        listener = await ours.subscribe("test", {"count": "#"})
        vhost = shared.rpartition("/")[2]

        async def listed() -> list[str]:
            answer = await asyncio.to_thread(rabbit.api.get, f"/vhosts/{vhost}/connections")
            return [connection["name"] for connection in answer] if len(answer) == 2 else []

        for name in await eventually(listed):
            await asyncio.to_thread(rabbit.api.delete, f"/connections/{name.replace(' ', '%20').replace('>', '%3E')}")
        await eventually(lambda: ours.blocked)
        await publish_when_back(ours, receipt(b"on"))
        assert (await take(consumer)).body == b"on"
        await eventually(lambda: heard(ours, listener))
    finally:
        await ours.close()


async def test_a_lost_exchange_ends_the_publish_and_is_made_again(rabbit: Rabbit, shared: str) -> None:
    """Publishing to a deleted exchange fails; the broker's next connection has declared it again."""
    ours = await connect(shared)
    try:
        vhost = shared.rpartition("/")[2]
        await asyncio.to_thread(rabbit.api.delete, f"/exchanges/{vhost}/receipts")
        with pytest.raises(BrokerUnavailableError):
            await ours.publish(receipt())
        await publish_when_back(ours, receipt())
    finally:
        await ours.close()


async def test_many_publishes_are_in_flight_at_once(shared: str) -> None:
    """Hundreds of concurrent publishes, some of the same message, are all confirmed."""
    topology = receipts_topology()
    ours = await connect(shared, topology)
    try:
        messages = [
            Message(exchange="receipts", routing_key="receipts", body=b"%d" % (at % 100), message_id=f"{at % 100}")
            for at in range(400)
        ]
        await asyncio.gather(*(ours.publish(message) for message in messages))
        consumer = await ours.consume(topology.work, prefetch=400)
        bodies = [(await take(consumer)).body for _ in messages]
        assert sorted(bodies) == sorted(message.body for message in messages)
    finally:
        await ours.close()


async def test_twins_in_flight_are_each_returned(shared: str) -> None:
    """Publishing the same unroutable message many times at once raises for each: none counts as confirmed."""
    ours = await connect(shared)
    try:
        message = Message(exchange="receipts", routing_key="nowhere", body=b"x", message_id="twin")
        outcomes = await asyncio.gather(*(ours.publish(message) for _ in range(50)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [UnroutableError] * 50
    finally:
        await ours.close()


async def test_a_full_queue_refuses_and_reopens(shared: str) -> None:
    """Beyond its limit in bytes the queue refuses; after consuming it takes messages again."""
    topology = receipts_topology(work_max_bytes=100_000)
    ours = await connect(shared, topology)
    try:

        async def refused() -> bool:
            try:
                await ours.publish(receipt(b"x" * 10_000))
            except BrokerFullError:
                return True
            return False

        await eventually(refused, every=0.0)
        assert not ours.blocked
        consumer = await ours.consume(topology.work, prefetch=50)

        async def taken() -> bool:
            try:
                await ours.publish(receipt(b"small"))
            except BrokerFullError:
                await (await take(consumer)).ack()
                return False
            return True

        await eventually(taken)
    finally:
        await ours.close()


async def test_a_message_that_comes_back_too_often_is_dead_lettered_whole(shared: str) -> None:
    """At the delivery limit it goes to `receipts.dead`, with its headers and id."""
    topology = receipts_topology(delivery_limit=2)
    ours = await connect(shared, topology)
    try:
        message = Message(
            exchange="receipts", routing_key="receipts", body=b"poison", headers={"events": 1}, message_id="p"
        )
        await ours.publish(message)
        consumer = await ours.consume(topology.work, prefetch=1)
        dead = await ours.consume(topology.dead, prefetch=1)
        for attempt in range(3):
            delivery = await take(consumer)
            assert delivery.redelivered == (attempt > 0)
            await delivery.nack()
        letter = await take(dead)
        assert (letter.body, letter.message_id, letter.headers["events"]) == (b"poison", "p", 1)
    finally:
        await ours.close()


async def test_other_arguments_are_named(shared: str) -> None:
    """A queue declared with another limit: TopologyMismatchError in one line that names the argument, at once."""
    first = await connect(shared, receipts_topology(delivery_limit=5))
    await first.close()
    with pytest.raises(TopologyMismatchError, match=r"receipts\.work.*x-delivery-limit.*'6'.*'5'") as caught:
        await connect(shared, receipts_topology(delivery_limit=6))
    assert "\n" not in str(caught.value)


async def test_a_standby_is_refused_until_the_active_is_gone(shared: str) -> None:
    """Only one exclusive consumer; the next is taken when the first has closed."""
    topology = receipts_topology()
    active, standby = await connect(shared, topology), await connect(shared, topology)
    try:
        held = await active.consume(topology.partials, prefetch=1, exclusive=True)
        for exclusive in (True, False):
            with pytest.raises(ConsumerRefusedError):
                await standby.consume(topology.partials, prefetch=1, exclusive=exclusive)
        await held.close()
        await (await standby.consume(topology.partials, prefetch=1, exclusive=True)).close()
    finally:
        await active.close()
        await standby.close()


async def test_an_active_consumer_that_lost_its_place_is_told(shared: str) -> None:
    """After a lost connection somebody else may hold the queue: the iteration raises ConsumerRefusedError."""
    topology = receipts_topology()
    async with CutProxy(urlsplit(shared).port or 0) as proxy:
        active, standby = await connect(through(shared, proxy.port), topology), await connect(shared, topology)
        try:
            held = await active.consume(topology.partials, prefetch=1, exclusive=True)
            proxy.set(Mode.CUT)
            await eventually(lambda: free(standby, topology), timeout=20.0)
            proxy.heal()
            with pytest.raises(ConsumerRefusedError):
                await take(held, 60.0)
        finally:
            await active.close()
            await standby.close()


async def free(standby: Broker, topology: Topology) -> bool:
    """Hold the partials if nobody does."""
    try:
        await standby.consume(topology.partials, prefetch=1, exclusive=True)
    except ConsumerRefusedError:
        return False
    return True


def through(url: str, port: int) -> str:
    """The same by another port of this machine."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()


async def test_a_standby_leaves_no_error_in_the_log_of_rabbitmq(own_rabbit: PrivateRabbit) -> None:
    """It asks whether somebody holds the partials, and is told so, without a channel that is closed with an error."""
    topology = receipts_topology()
    url = await asyncio.to_thread(own_rabbit.vhost)
    vhost = url.rpartition("/")[2]
    written = own_rabbit.folder / "log" / "rabbit.log"
    active, standby = await connect(url, topology), await connect(url, topology)
    try:
        await active.consume(topology.partials, prefetch=1, exclusive=True)
        for _ in range(5):
            with pytest.raises(ConsumerRefusedError):
                await standby.consume(topology.partials, prefetch=1, exclusive=True)
        with pytest.raises(BrokerError):  # an error of our own, so that the log is known to be written that far
            await standby.state(Queue(name="nowhere"))
        await eventually(lambda: f"no queue 'nowhere' in vhost '{vhost}'" in written.read_text())
        errors = [
            line for line in written.read_text().splitlines() if f"vhost: '{vhost}'" in line and "[error]" in line
        ]
        assert len(errors) == 1
    finally:
        await active.close()
        await standby.close()


async def test_connecting_waits_as_long_as_it_is_told() -> None:
    """Nobody listens: BrokerUnavailableError after `wait`; the password is in no error."""
    url = f"amqp://till:hunter2@127.0.0.1:{free_port()}/"
    for wait in (0.0, 0.5):
        async with asyncio.timeout(wait + 2):
            with pytest.raises(BrokerUnavailableError) as caught:
                await broker.connect(url, receipts_topology(), wait=wait)
        assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


async def test_of_several_hosts_those_that_are_away_are_passed_over(shared: str) -> None:
    """Nobody listens on two of them: whichever comes first, the third is connected to; without it, none is there."""
    away = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
    parts = urlsplit(shared)
    credentials, _, here = parts.netloc.rpartition("@")
    url = parts._replace(netloc=f"{credentials}@{','.join([*away, here])}").geturl()
    for _ in range(3):
        ours = await connect(url)
        await ours.publish(receipt())
        await ours.close()
    with pytest.raises(BrokerUnavailableError):
        await broker.connect(
            parts._replace(netloc=f"{credentials}@{','.join(away)}").geturl(), receipts_topology(), wait=0
        )


async def test_a_wrong_password_at_several_hosts_is_told_at_once(shared: str) -> None:
    """One of them is away, the other refuses: waiting does not mend that."""
    parts = urlsplit(shared)
    netloc = f"{parts.username}:hunter2@127.0.0.1:{free_port()},127.0.0.1:{parts.port}"
    async with asyncio.timeout(10):
        with pytest.raises(BrokerError) as caught:
            await broker.connect(parts._replace(netloc=netloc).geturl(), receipts_topology(), wait=60.0)
    assert not isinstance(caught.value, BrokerUnavailableError)
    assert "hunter2" not in str(caught.value)


async def test_a_wrong_password_and_a_missing_vhost_are_said_at_once(rabbit: Rabbit, shared: str) -> None:
    """What waiting does not mend is raised at once, without the password."""
    scheme, _, rest = rabbit.url.partition("://")
    credentials, _, place = rest.rpartition("@")
    user = credentials.partition(":")[0]
    for url in (f"{scheme}://{user}:hunter2@{place}", f"{scheme}://{credentials}@{place}no-such-vhost"):
        async with asyncio.timeout(30):
            with pytest.raises(BrokerError) as caught:
                await broker.connect(url, receipts_topology(), wait=60.0)
        assert not isinstance(caught.value, BrokerUnavailableError)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost/", "sqlite:", "amqp:", "amqp://host:port/"])
async def test_a_url_of_no_broker_is_a_configuration_error(url: str) -> None:
    """The front door refuses what it does not know."""
    with pytest.raises(ConfigurationError):
        await broker.connect(url, receipts_topology(), wait=0)


async def test_a_closed_broker_says_so(shared: str) -> None:
    """After close every call raises; closing twice is fine; iterations end."""
    topology = receipts_topology()
    ours = await connect(shared, topology)
    consumer = await ours.consume(topology.work, prefetch=1)
    waiting = asyncio.create_task(take(consumer))
    await asyncio.sleep(0)
    await ours.close()
    await ours.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert ours.blocked
    for call in (
        ours.publish(receipt()),
        ours.announce(receipt()),
        ours.ping(),
        ours.consume(topology.work, prefetch=1),
    ):
        with pytest.raises(BrokerUnavailableError):
            await call
