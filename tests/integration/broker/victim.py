"""A process that owns an embedded broker until a test kills it: `python victim.py FILE publish|hold|take|own`.

`publish`: publishes 0, 1, 2… with 16 in flight for ever, and prints each number once it is confirmed.
`hold`: takes three messages of the work queue, prints their bodies, acknowledges the first, and waits.
`take`: the same, without acknowledging.
`own`: prints `open` and waits.
"""

import asyncio
import sys

from broker.embedded import EmbeddedBroker
from tests.integration.broker.place import topology
from tests.integration.broker.talk import receipt, take


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(path: str, what: str) -> None:
    """Do what was asked for, for ever."""
    small = topology(limit=1)
    broker = await EmbeddedBroker.open(path, small)
    numbers = iter(range(10**9))

    async def publish() -> None:
        for number in numbers:
            await broker.publish(receipt(b"%d" % number))
            say(str(number))

    if what == "publish":
        await asyncio.gather(*(publish() for _ in range(16)))
    elif what in {"hold", "take"}:
        deliveries = await take(await broker.consume(small.work, prefetch=3), 3)
        if what == "hold":
            await deliveries[0].ack()
            await broker.ping()  # one turn later: the acknowledgement is on disk
        for delivery in deliveries:
            say(delivery.body.decode())
    else:
        say("open")
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
