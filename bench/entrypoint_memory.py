"""Memory of an entrypoint that answers heavy queries, against its container's limit, and receipts beside them."""

import asyncio
import hashlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import store as stores
from analytics import Tally
from bench.audit import container_limit_mib
from bench.servers import entrypoint, rabbit_vhost
from bench.worker_memory import peak_bytes
from feeds import Generator, GeneratorOptions
from runtime import run
from store import Head, LedgerEntry
from store.protocol import Store
from streams import ReceiptStream

#: Ledger entries above the checkpoint, and receipts in each.
ENTRIES = 5_000
RECEIPTS = 600
#: Receipts that fill a list, just below the largest body of a request.
LARGE = 40
LARGE_BYTES = 9_625 * 1024
_WRITERS = 20
_READERS = 3
_KINDS = 10
_AT_ONCE = 100
_MIB = 1 << 20
_PATIENCE_S = 900.0


def entrypoint_memory() -> dict[str, Any]:
    """Measure totals that are far behind, and a list of large receipts, on RabbitMQ and a store of SQLite.

    Not on FerretDB, which reads its whole collection for every page: a run would take minutes.
    """
    limit = container_limit_mib("entrypoint")
    with TemporaryDirectory() as folder:
        store = f"sqlite:{Path(folder) / 'store.db'}"
        run(_fill(store))
        found = {"totals": _measured(store, _totals), "list": _measured(store, _list)}
    exceeded = [situation for situation, figures in found.items() if figures["peak_mib"] > limit]
    return {"limit_mib": limit, "exceeded": exceeded, **found}


def _measured(store: str, situation: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What a situation shows, and the most memory that a fresh entrypoint had in it."""
    with rabbit_vhost() as broker, entrypoint(broker, store) as (url, pid):
        began = time.monotonic()
        figures = situation(url)
        took = time.monotonic() - began
        return {**figures, "seconds": round(took, 1), "peak_mib": round(peak_bytes(pid) / _MIB, 1)}


# Totals that are far behind


def _totals(url: str) -> dict[str, Any]:
    """Ask for the totals, several at once, until all have them; post receipts one after the other meanwhile."""
    answered = threading.Event()
    with ThreadPoolExecutor() as threads:
        posting = threads.submit(_post, url, answered)
        try:
            answers = list(threads.map(_ask, [url] * _READERS))
        finally:
            answered.set()
        posts = posting.result()
    revisions = {revision for _, _, revision in answers}
    assert revisions == {ENTRIES}, revisions
    return {
        "entries": ENTRIES,
        "receipts": ENTRIES * RECEIPTS,
        "unavailable": sum(count for count, _, _ in answers),
        "longest_get_s": round(max(longest for _, longest, _ in answers), 2),
        "posts": len(posts),
        "median_post_s": round(sorted(posts)[len(posts) // 2], 3),
        "longest_post_s": round(max(posts), 3),
    }


def _ask(url: str) -> tuple[int, float, int]:
    """How often the totals were not there yet, the longest time of an answer, and the revision in the end."""
    unavailable, longest, until = 0, 0.0, time.monotonic() + _PATIENCE_S
    while True:
        began = time.monotonic()
        status, headers, body = _request(url, "GET", "/totals")
        longest = max(longest, time.monotonic() - began)
        if status == 200:
            return unavailable, longest, json.loads(body)["revision"]
        assert status == 503, (status, body)
        assert time.monotonic() < until, body
        unavailable += 1
        time.sleep(int(headers["Retry-After"]))


def _post(url: str, answered: threading.Event) -> list[float]:
    """Seconds that each receipt took."""
    took: list[float] = []
    lines = itertools.chain.from_iterable(Generator(GeneratorOptions(seed=2)).requests(10**9, 100))
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    while not (answered.is_set() and took):
        line = next(lines)
        began = time.monotonic()
        connection.request("POST", "/receipt", line, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        took.append(time.monotonic() - began)
        assert answer.status == 202, body
    connection.close()
    return took


# Lists of large receipts


def _list(url: str) -> dict[str, Any]:
    """Read the list of receipts to its end."""
    ids: set[str] = set()
    pages, largest, longest, after = 0, 0, 0.0, ""
    while True:
        began = time.monotonic()
        status, _, body = _request(url, "GET", f"/receipts?limit=1000{after}")
        longest = max(longest, time.monotonic() - began)
        assert status == 200, (status, body[:500])
        page = json.loads(body)
        pages, largest = pages + 1, max(largest, len(body))
        ids |= {receipt["id"] for receipt in page["receipts"]}
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'], safe='')}"
    assert len(ids) == LARGE, len(ids)
    return {
        "receipts": len(ids),
        "receipt_mib": round(LARGE_BYTES / _MIB, 1),
        "pages": pages,
        "largest_page_mib": round(largest / _MIB, 1),
        "longest_get_s": round(longest, 2),
    }


def _request(url: str, method: str, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# What the store holds


async def _fill(url: str) -> None:
    """A ledger above an empty checkpoint, and large receipts, straight into a store."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    store = await stores.connect(url)
    try:
        await store.prepare(stream.name, stream.key_names)
        await store.identify(stream.name, "UTC")
        assert await store.swap_head(Head(stream=stream.name, version=1, offsets={}, days={}, seconds={}))
        await _fill_ledger(store, stream)
        await _fill_receipts(store, stream)
    finally:
        await store.close()


async def _fill_ledger(store: Store, stream: ReceiptStream) -> None:
    tallies = await asyncio.to_thread(lambda: list(_tallies(stream)))
    for start in range(0, ENTRIES, _AT_ONCE):
        entries = [
            LedgerEntry(
                frame=_frame(f"entry {number}"),
                stream=stream.name,
                writer=f"writer-{number % _WRITERS}",
                seq=number // _WRITERS + 1,
                tally=tallies[number % _KINDS],
                at=time.time(),
            )
            for number in range(start, min(start + _AT_ONCE, ENTRIES))
        ]
        assert await store.append(entries) == len(entries)


def _tallies(stream: ReceiptStream) -> Iterator[Tally]:
    """Tallies of frames of made-up receipts of now."""
    for lines in itertools.islice(Generator(GeneratorOptions(seed=1)).requests(10**9, RECEIPTS), _KINDS):
        tally, now = Tally(), time.time()
        for line in lines:
            stream.fold(tally, stream.parse(stream.accept(line, now)), now)
        yield tally


async def _fill_receipts(store: Store, stream: ReceiptStream) -> None:
    lines = itertools.chain.from_iterable(Generator(GeneratorOptions(seed=3)).requests(10**9, LARGE))
    for number, line in enumerate(itertools.islice(lines, LARGE)):
        receipt = {**json.loads(line), "note": "x" * (LARGE_BYTES - len(line))}
        event = stream.parse(stream.accept(json.dumps(receipt).encode(), time.time()))
        taken = await store.insert_events(stream.name, [store.encode(event, _frame(f"large {number}"))], time.time())
        assert not taken


def _frame(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
