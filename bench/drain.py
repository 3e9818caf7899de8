"""A consumer that takes frames from `receipts.work` and acknowledges them: `python -m bench.drain AMQP_URL`."""

import sys

import broker as brokers
from broker.exchanges import receipts_topology
from runtime import configure_logging, run


async def main(url: str) -> None:
    """Consume until killed."""
    topology = receipts_topology()
    broker = await brokers.connect(url, topology)
    consumer = await broker.consume(topology.work, prefetch=64)
    print("ready", flush=True)
    async for delivery in consumer:
        await delivery.ack()


if __name__ == "__main__":
    configure_logging("warning")
    run(main(sys.argv[1]))
