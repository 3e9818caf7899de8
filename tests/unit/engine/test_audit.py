import asyncio
import dataclasses
import json
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest

from broker.frames import Frame
from broker.protocol import Message
from engine import Flusher, audit, prepare
from store.protocol import Head
from streams import ReceiptStream
from tests.simulation.memory import MemoryStore
from tests.unit.streams.sample import receipt

STREAM = ReceiptStream(ZoneInfo("UTC"))


class Nobody:
    """A broker that nobody listens to."""

    async def announce(self, message: Message) -> None:
        """Nobody hears it."""


async def counted(frames: int = 3) -> MemoryStore:
    """A store with two receipts in each of some frames."""
    store = MemoryStore()
    flusher = Flusher(store=store, broker=Nobody(), stream=STREAM)
    for number in range(frames):
        await flusher.flush([await prepare(frame(number), STREAM, store, lambda: 2000.0)])
    return store


def frame(number: int) -> Frame:
    """A frame of two receipts."""
    receipts = [receipt({"cashReceiptID": 2 * number + more}) for more in (0, 1)]
    return Frame.of(STREAM.name, [STREAM.accept(json.dumps(one).encode(), 1000.0) for one in receipts])


async def test_what_adds_up_is_found_to_add_up() -> None:
    """No differences, and the figures of what was looked at."""
    report = await audit(await counted(), STREAM)
    assert report.listed == []
    assert (report.events, report.entries, report.writers, report.days) == (6, 3, 1, 1)


def lose_an_event(store: MemoryStore) -> None:
    """An event is gone."""
    del store.stored[min(store.stored)]


def change_an_amount(store: MemoryStore) -> None:
    """An event's content is another."""
    name = min(store.stored)
    event = store.stored[name]
    store.stored[name] = dataclasses.replace(event, body=event.body.replace(b"26.53", b"26.54"))


def lose_an_entry(store: MemoryStore) -> None:
    """The last frame's ledger entry is gone."""
    last = max(store.ledger.values(), key=lambda entry: entry.seq)
    del store.ledger[last.frame]


def lose_an_entry_in_the_middle(store: MemoryStore) -> None:
    """There is a gap, and what follows it cannot be merged."""
    middle = next(entry for entry in store.ledger.values() if entry.seq == 2)
    del store.ledger[middle.frame]


def change_a_tally(store: MemoryStore) -> None:
    """An entry says a cent more."""
    entry = next(iter(store.ledger.values()))
    assert entry.tally is not None
    entry.tally.day("2026-11-18").add("total", "", 100, 0)


def steal_an_event(store: MemoryStore) -> None:
    """An event is said to be another frame's."""
    name = min(store.stored)
    store.stored[name] = dataclasses.replace(store.stored[name], frame=max(store.ledger))
    other = max(store.stored)
    store.stored[other] = dataclasses.replace(store.stored[other], frame=min(store.ledger))


def run_ahead(store: MemoryStore) -> None:
    """A checkpoint claims entries that nobody wrote."""
    writer = next(iter(store.ledger.values())).writer
    store.heads[STREAM.name] = Head(stream=STREAM.name, version=1, offsets={writer: 9}, days={}, seconds={})


@pytest.mark.parametrize(
    "damage",
    [
        lose_an_event,
        change_an_amount,
        lose_an_entry,
        lose_an_entry_in_the_middle,
        change_a_tally,
        steal_an_event,
        run_ahead,
    ],
    ids=lambda damage: damage.__name__,
)
async def test_damage_is_found(damage: Callable[[MemoryStore], None]) -> None:
    """Whatever is wrong with the store, the audit differs and says where."""
    store = await counted()
    damage(store)
    report = await audit(store, STREAM, patience_s=0.0)
    assert report.differences > 0
    assert report.listed


async def test_traffic_is_no_difference() -> None:
    """Frames that are flushed while the audit reads are left out, or waited for."""
    store = await counted()
    flusher = Flusher(store=store, broker=Nobody(), stream=STREAM)

    async def traffic() -> None:
        for number in range(3, 40):
            await flusher.flush([await prepare(frame(number), STREAM, store, lambda: 2000.0)])

    running = asyncio.create_task(traffic())
    while not running.done():
        assert (await audit(store, STREAM)).listed == []
    await running
    assert (await audit(store, STREAM)).entries == 40


async def test_an_orphan_is_found_after_a_while() -> None:
    """Events of a frame that never gets its entry are reported, once the patience is over."""
    store = await counted()
    prepared = await prepare(frame(9), STREAM, store, lambda: 2000.0)
    await store.insert_events(STREAM.name, prepared.encoded, 2000.0)
    report = await audit(store, STREAM, patience_s=0.2)
    assert report.listed == [f"2 events are claimed by frame {prepared.id}, which has no ledger entry"]
