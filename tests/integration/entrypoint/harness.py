"""An entrypoint on a free port, its broker and store, and receipts to send."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import aiohttp

import broker
import store
from broker import Broker, Message, receipts_topology
from broker.frames import frame_id
from entrypoint import Bound, EntrypointConfig, serve
from store import Store
from streams import ReceiptStream

TOPOLOGY = receipts_topology()
WAIT = 30.0
DAY = "2026-11-18"
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


def receipt(number: int | str, **fields: Any) -> dict[str, Any]:
    """A valid receipt with this number."""
    return {
        "cashReceiptID": number,
        "storeID": 612,
        "terminalID": 3,
        "customerID": 85320,
        "date": f"{DAY} 11:06:40",
        "lines": [
            {
                "lineNumber": 1,
                "productCode": "00000017",
                "productDescription": "Baguette tradition",
                "productCategoryCode": "E",
                "productCategoryName": "Pain",
                "quantity": 2,
                "unitOfMeasure": "piece",
                "unitPrice": 1.14,
                "creditAmount": 2.28,
                "taxPercentage": 5.5,
                "settlementAmount": 2.41,
            }
        ],
        "documentTotal": {"taxPayable": 0.13, "netTotal": 2.28, "grossTotal": 2.41},
        "settlements": [{"settlementAmount": 2.41, "paymentMechanism": "CB"}],
        **fields,
    }


def body(number: int | str, **fields: Any) -> bytes:
    """A valid receipt as JSON."""
    return json.dumps(receipt(number, **fields)).encode()


def lines(numbers: range) -> bytes:
    """Valid receipts as NDJSON."""
    return b"\n".join(body(number) for number in numbers)


class Gate:
    """A broker before the real one: it can hold publishes back, fail them, and keeps what passed."""

    def __init__(self, inner: Broker) -> None:
        self.inner = inner
        self.open = asyncio.Event()
        self.open.set()
        self.refuse: Exception | None = None
        self.blocked_now = False
        self.waiting = asyncio.Event()
        self.published: list[Message] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def blocked(self) -> bool:
        return self.blocked_now or self.inner.blocked

    async def publish(self, message: Message) -> None:
        self.waiting.set()
        await self.open.wait()
        if self.refuse is not None:
            raise self.refuse
        await self.inner.publish(message)
        self.published.append(message)


class GateToStore:
    """A store before the real one, that can be made to fail."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.refuse: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if self.refuse is not None:
            raise self.refuse
        return getattr(self.inner, name)


@dataclass(kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def problem(self, status: int, slug: str) -> Any:
        """The problem document, after a look at its form."""
        assert self.status == status, (self.status, self.body[:500])
        assert self.headers["Content-Type"] == "application/problem+json"
        document = self.json
        assert document["type"] == f"/docs#problem-{slug}"
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]
        return document


@dataclass(kw_only=True)
class Entry:
    """A running entrypoint."""

    bound: Bound
    stream: ReceiptStream
    gate: Gate
    store: GateToStore
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    client: aiohttp.ClientSession
    asked_days: list[str | None] = field(default_factory=list)

    async def request(self, method: str, path: str, data: Any = None, headers: Any = None) -> Answer:
        """Send one request and read its answer."""
        async with (
            asyncio.timeout(WAIT),
            self.client.request(
                method, f"{self.bound.url}{path}", data=data, headers=headers, allow_redirects=False
            ) as response,
        ):
            return Answer(status=response.status, headers=dict(response.headers), body=await response.read())

    async def post(self, data: Any, headers: Any = JSON, path: str = "/receipts") -> Answer:
        """POST events."""
        return await self.request("POST", path, data, headers)

    async def get(self, path: str, headers: Any = None) -> Answer:
        """GET a path."""
        return await self.request("GET", path, headers=headers)

    async def metrics(self) -> dict[str, float]:
        """The samples of /metrics, name with labels → value."""
        text = (await self.get("/metrics")).body.decode()
        rows = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def numbers(self) -> list[Any]:
        """The cashReceiptIDs that were published, in order; every frame is looked at whole."""
        found = []
        for message in self.gate.published:
            assert message.message_id == frame_id("receipts", message.body)
            events = [json.loads(line) for line in message.body.split(b"\n")]
            assert message.headers["events"] == len(events)
            assert all(event["receivedTime"] > 0 for event in events)
            found += [event["cashReceiptID"] for event in events]
        return found


@asynccontextmanager
async def entrypoint(
    folder: Path,
    config: EntrypointConfig | None = None,
    *,
    broker_url: str = "",
    stream: ReceiptStream | None = None,
    **more: Any,
) -> AsyncIterator[Entry]:
    """An entrypoint with an embedded store in `folder`, and an embedded broker unless another is named."""
    loop = asyncio.get_running_loop()
    opened = Gate(await broker.connect(broker_url or f"sqlite:{folder / 'broker.db'}", TOPOLOGY))
    kept = GateToStore(await store.connect(f"sqlite:{folder / 'store.db'}"))
    stream = stream or ReceiptStream(ZoneInfo("UTC"))
    await kept.prepare(stream.name, stream.key_names)
    asked: list[str | None] = []

    async def totals(day: str | None) -> dict[str, Any]:
        asked.append(day)
        if kept.refuse is not None:
            raise kept.refuse
        return {"stream": "receipts", "day": day or DAY, "sum": 2.41, "count": 1}

    stop = asyncio.Event()
    ready: asyncio.Future[Bound] = loop.create_future()
    serving = asyncio.create_task(
        serve(
            replace(config or EntrypointConfig(), port=0),
            broker=cast(Broker, opened),
            store=cast(Store, kept),
            stream=stream,
            stop=stop,
            totals_reader=totals,
            on_ready=ready.set_result,
            **more,
        )
    )
    try:
        either: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT)
        if serving.done():
            await serving
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            yield Entry(
                bound=ready.result(),
                stream=stream,
                gate=opened,
                store=kept,
                stop=stop,
                serving=serving,
                client=client,
                asked_days=asked,
            )
    finally:
        stop.set()
        opened.open.set()
        async with asyncio.timeout(3 * WAIT):
            await asyncio.gather(serving, return_exceptions=True)
        await opened.inner.close()
        await kept.inner.close()
