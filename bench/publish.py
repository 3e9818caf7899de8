"""The frames of a benchmark, prebuilt, published with confirms: `python -m bench.publish AMQP_URL FILE SECONDS FLIGHT`.

FILE holds NDJSON lines with `receivedTime`, 500 a frame. Prints `FRAMES SECONDS`.
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

import broker as brokers
from broker.exchanges import receipts_topology
from broker.frames import Frame
from broker.protocol import Message
from runtime import configure_logging, run


async def main(url: str, file: str, seconds: float, in_flight: int) -> None:
    """Publish for a while with so many frames unconfirmed at once."""
    lines = Path(file).read_bytes().splitlines()
    frames = [Frame.of("receipts", lines[start : start + 500]) for start in range(0, len(lines) - 499, 500)]
    source = itertools.cycle(frames)
    broker = await brokers.connect(url, receipts_topology())
    published = 0
    began = time.perf_counter()

    async def publisher() -> None:
        nonlocal published
        while time.perf_counter() - began < seconds:
            frame = next(source)
            await broker.publish(
                Message(
                    exchange="receipts",
                    routing_key="receipts",
                    body=frame.body,
                    headers=frame.headers,
                    message_id=frame.id,
                )
            )
            published += 1

    await asyncio.gather(*(publisher() for _ in range(in_flight)))
    print(published, time.perf_counter() - began, flush=True)
    await broker.close()


if __name__ == "__main__":
    configure_logging("warning")
    run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
