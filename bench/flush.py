"""Storing: a worker that drains its queue, against bare bulk inserts of the same documents."""

import asyncio
import secrets
import time
from zoneinfo import ZoneInfo

from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry

import broker as brokers
import store as stores
from bench.results import Comparison
from bench.servers import mongo_database, rabbit_vhost
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from engine import Worker, WorkerConfig, WorkerMetrics
from feeds import Generator, GeneratorOptions
from runtime import run
from streams import ReceiptStream
from workers import QueueSource

BATCH = 500


def flush(rounds: int, frames: int) -> Comparison:
    """A worker on RabbitMQ and FerretDB, everything that it does included, against `insert_many` by 500, unordered."""
    result = Comparison(name="worker / bare bulk inserts", unit="receipts/s", target=0.75)
    with rabbit_vhost() as broker, mongo_database() as database:
        run(_compare(result, broker, database, rounds, frames))
    return result


async def _compare(result: Comparison, broker_url: str, database: str, rounds: int, frames: int) -> None:
    stream = ReceiptStream(ZoneInfo("UTC"))
    generator = Generator(GeneratorOptions())
    for _ in range(rounds):
        made = []
        for events in generator.requests(frames * BATCH, BATCH):
            lines = [stream.accept(event, time.time()) for event in events]
            made.append(Frame.of(stream.name, lines))
        result.bare.append(await _bare(f"{database}_{secrets.token_hex(3)}", made, stream))
        result.ours.append(await _ours(f"{database}_{secrets.token_hex(3)}", broker_url, made, stream))


async def _bare(database: str, frames: list[Frame], stream: ReceiptStream) -> float:
    """The same documents into a collection with the same indexes, one bulk after the other, made beforehand."""
    store = await stores.connect(database)
    await store.prepare(stream.name, stream.key_names)
    await store.close()
    bulks: list[list[dict[str, object]]] = []
    for frame in frames:
        events = [stream.parse(line) for line in frame.lines()]
        bulks.append(
            [
                {
                    "_id": event.id,
                    "frame": frame.id,
                    "hash": event.hash,
                    "day": event.day,
                    "time": event.time,
                    "amount": event.amount,
                    "categories": event.categories,
                    **event.keys,
                    "received": event.received,
                    "stored": event.received,
                    "event": event.document,
                }
                for event in events
            ]
        )
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(database, w="majority", journal=True)
    collection = client.get_default_database()[stream.name]
    await collection.find_one({"_id": "nobody"})
    began = time.perf_counter()
    for bulk in bulks:
        await collection.insert_many(bulk, ordered=False)
    took = time.perf_counter() - began
    client.close()
    return len(frames) * BATCH / took


async def _ours(database: str, broker_url: str, frames: list[Frame], stream: ReceiptStream) -> float:
    """The worker itself: from the first delivery to the last acknowledgement."""
    topology = receipts_topology()
    broker = await brokers.connect(broker_url, topology)
    store = await stores.connect(database)
    await store.prepare(stream.name, stream.key_names)
    for frame in frames:
        await broker.publish(
            Message(exchange=stream.name, routing_key=stream.name, body=frame.body, headers=frame.headers)
        )
    registry = CollectorRegistry()
    worker = Worker(
        WorkerConfig(),
        source=QueueSource(broker, topology.work),
        broker=broker,
        store=store,
        stream=stream,
        metrics=WorkerMetrics(registry),
    )
    stop = asyncio.Event()
    began = time.perf_counter()
    working = asyncio.create_task(worker.run(stop))
    while registry.get_sample_value("tillstream_worker_frames_total") != len(frames):
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    stop.set()
    await working
    await broker.close()
    await store.close()
    return len(frames) * BATCH / took
