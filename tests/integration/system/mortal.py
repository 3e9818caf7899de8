"""A worker that a frame kills: it stores the events of what it is given, and dies before it counts them.

Run as `python -m tests.integration.system.mortal BROKER STORE LIMIT`; it ends with DIED by the frame, or with 0 when
nothing came.
"""

import asyncio
import os
import sys
import time
from zoneinfo import ZoneInfo

import broker as brokers
import store as stores
from broker.exchanges import receipts_topology
from broker.frames import Frame
from engine import prepare
from streams import ReceiptStream

#: How it ends.
DIED = 66
#: A frame that is there comes at once, and one that its last holder's death gave back soon after.
_WAIT_S = 3.0


async def main(broker_url: str, store_url: str, delivery_limit: int) -> None:
    """Take one frame and die of it."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    store = await stores.connect(store_url)
    await store.prepare(stream.name, stream.key_names)
    topology = receipts_topology(delivery_limit=delivery_limit)
    broker = await brokers.connect(broker_url, topology)
    consumer = await broker.consume(topology.work, prefetch=1)
    try:
        async with asyncio.timeout(_WAIT_S):
            delivery = await anext(aiter(consumer))
            prepared = await prepare(Frame.from_body(stream.name, delivery.body), stream, store, time.time)
            await store.insert_events(stream.name, prepared.encoded, time.time())
            os._exit(DIED)
    except TimeoutError:
        await consumer.close()
        await broker.close()
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
