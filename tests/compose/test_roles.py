"""What a role's user at RabbitMQ may not do, is refused by the RabbitMQ of the compose file."""

import json

import pytest

from tests.compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300, func_only=True)]

#: Tries things as the user of a service, each on a channel of its own, and prints what came of them.
PROGRAM = """
import asyncio, json, os, pathlib
import aio_pika

async def main():
    url = pathlib.Path(os.environ["TILLSTREAM_BROKER_FILE"]).read_text().strip()
    connection = await aio_pika.connect(url, timeout=20)
    told = {}

    async def attempt(name, action):
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            async with asyncio.timeout(30):
                await action(channel)
            told[name] = "allowed"
        except aio_pika.exceptions.PublishError:  # it went nowhere, but it went
            told[name] = "allowed"
        except BaseException as exc:  # the driver cancels a publish whose channel is closed, too
            told[name] = "refused" if "ACCESS_REFUSED" in f"{exc!r} {exc.__cause__!r}" else repr(exc)

    def publishing(exchange):
        async def publish(channel):
            to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
            key = "receipts.work" if not exchange else "receipts"
            await to.publish(aio_pika.Message(b"{}"), routing_key=key, mandatory=True)
        return publish

    def getting(name):
        async def get(channel):
            await (await channel.get_queue(name, ensure=False)).get(no_ack=False, fail=False)
        return get

    async def declare(channel):
        await channel.declare_queue("anything", durable=True)

    async def delete(channel):
        await channel.queue_delete("receipts.work")

    async def unbind(channel):
        await (await channel.get_queue("receipts.work", ensure=False)).unbind("receipts", "receipts")

    for exchange in WANTED["publish"]:
        await attempt("publish " + exchange, publishing(exchange))
    for queue in WANTED["get"]:
        await attempt("get " + queue, getting(queue))
    await attempt("declare", declare)
    await attempt("delete", delete)
    await attempt("unbind", unbind)
    await connection.close()
    print(json.dumps(told))

asyncio.run(main())
"""
EXCHANGES = ("", "receipts", "partials", "rejected", "count", "categories", "metrics")
QUEUES = ("receipts.work", "receipts.dead", "partials.active")
#: Service → what its user may publish to and consume. All else is tried.
MAY = {
    "entrypoint": ({"receipts"}, set()),
    "worker": ({"partials", "rejected"}, {"receipts.work"}),
    "totals": ({"count", "categories", "metrics"}, {"partials.active"}),
    "dashboard": (set(), set()),
    "tillstream": ({"receipts", "partials"}, {"receipts.dead"}),
}


@pytest.mark.parametrize("service", MAY)
async def test_a_role_is_refused_what_it_may_not_do(stack: Stack, service: str) -> None:
    """Publish to another's exchange or around all of them, read another's queue, declare, delete, unbind."""
    publishes, reads = MAY[service]
    wanted = {
        "publish": [name for name in EXCHANGES if name not in publishes],
        "get": [name for name in QUEUES if name not in reads],
    }
    told = json.loads(await stack.python(f"WANTED = {wanted!r}\n{PROGRAM}", service))
    assert len(told) == len(wanted["publish"]) + len(wanted["get"]) + 3
    assert set(told.values()) == {"refused"}, told


#: Logs in to MongoDB with an address, with that of a service by default; prints what came of it.
LOGIN = """
import os, pathlib, sys
import pymongo
url = URL or pathlib.Path(os.environ["TILLSTREAM_STORE_FILE"]).read_text().strip()
client = pymongo.MongoClient(url, serverSelectionTimeoutMS=20000)
try:
    client.tillstream.ledger.find_one()
    print("in as " + client.tillstream.command("connectionStatus")["authInfo"]["authenticatedUsers"][0]["user"])
except pymongo.errors.OperationFailure as exc:
    print("refused" if exc.code in (13, 18) else exc)
"""


@pytest.mark.parametrize("service", MAY)
async def test_each_role_logs_in_to_mongodb_as_itself(stack: Stack, service: str) -> None:
    """With its own password. (What a role may do there is MongoDB's to hold; the stand-in for it knows no roles.)"""
    role = "tools" if service == "tillstream" else service
    assert (await stack.python(f"URL = None\n{LOGIN}", service)).strip() == f"in as tillstream-{role}"


async def test_nobody_logs_in_to_mongodb_without_a_password(stack: Stack) -> None:
    """Nor with another role's."""
    other = stack.secret("store-worker-url").replace("tillstream-worker:", "tillstream-totals:")
    for url in ("mongodb://mongo:27017/tillstream", other):
        assert (await stack.python(f"URL = {url!r}\n{LOGIN}")).strip() == "refused", url


async def test_guest_may_not_come_in(stack: Stack) -> None:
    """The user and password that every RabbitMQ is known by are not there."""
    program = """
import asyncio, aio_pika
async def main():
    try:
        await aio_pika.connect("amqp://guest:guest@rabbitmq/tillstream", timeout=20)
    except aio_pika.exceptions.ProbableAuthenticationError:
        print("refused")
asyncio.run(main())
"""
    assert (await stack.python(program)).strip() == "refused"
