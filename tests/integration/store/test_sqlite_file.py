"""What only a file can show: kills, second processes, locks, full disks, newer releases."""

import asyncio
import dataclasses
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import store as stores
from store import (
    EventQuery,
    RejectedStep,
    StoreDataError,
    StoreError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
    sqlite_lists,
)
from store.embedded import EmbeddedStore
from store.sqlite_thread import SqliteThread
from tests.integration.store.examples import DAY, KEY_NAMES, STREAM, entry, event, frame, ledger, rejected
from tests.support import eventually

#: Writes events `0`, `1`, … one call after another, and says each id once its call returned.
_WRITER = """
import asyncio, sys
import store as stores
from tests.integration.store.examples import KEY_NAMES, STREAM, entry, event, frame

async def main():
    store = await stores.connect(sys.argv[1])
    await store.prepare(STREAM, KEY_NAMES)
    for number in range(1_000_000):
        await store.insert_events(STREAM, [store.encode(event(str(number)), frame("writer"))], 1.0)
        await store.append([entry("writer", number + 1)])
        print(number, flush=True)

asyncio.run(main())
"""
#: Writes until its files may not grow any more, then again when they may.
_FULL = """
import asyncio, resource, signal, sys
import store as stores
from tests.integration.store.examples import KEY_NAMES, STREAM, event, frame

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = await stores.connect(sys.argv[1])
    await store.prepare(STREAM, KEY_NAMES)
    await store.insert_events(STREAM, [store.encode(event("before"), frame())], 1.0)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    batch = [event(f"big{n}", fields={"x": "y" * 5_000}) for n in range(200)]
    for _ in range(2):
        try:
            await store.insert_events(STREAM, [store.encode(one, frame()) for one in batch], 1.0)
            sys.exit("no error")
        except stores.StoreError as exc:
            print(f"refused: {exc}", flush=True)
    assert await store.event(STREAM, "before") is not None
    assert await store.event(STREAM, "big0") is None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert await store.insert_events(STREAM, [store.encode(one, frame()) for one in batch], 1.0) == set()
    assert await store.event(STREAM, "big199") is not None
    print("recovered")

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """kill -9 in the middle of writing: everything that a call returned for is there, and the file is sound."""
    path = tmp_path / "store.db"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, f"sqlite:{path}"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = -1
    while said < 50:
        said = int(await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30))
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    said = max([said, *(int(line) for line in rest.split(b"\n")[:-1])])

    store = await stores.connect(f"sqlite:{path}")
    ids = {one.id async for one in store.scan_events(STREAM)}
    assert {str(number) for number in range(said + 1)} <= ids
    seqs = [one.seq for one in await ledger(store)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= said + 1
    await store.prepare(STREAM, KEY_NAMES)
    assert await store.insert_events(STREAM, [store.encode(event("after"), frame())], 1.0) == set()
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_second_process_reads_while_the_first_writes(tmp_path: Path) -> None:
    """Neither fails, and the reader sees what was acknowledged before it asked."""
    url = f"sqlite:{tmp_path / 'store.db'}"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)
        store = await stores.connect(url)
        for _ in range(10):
            said = int(await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30))
            assert await store.event(STREAM, str(said)) is not None
            assert len([one async for one in store.scan_ledger(STREAM)]) > said
        await store.close()
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


async def test_a_disk_that_is_full_fails_the_write_and_then_recovers() -> None:
    """StoreError while the file cannot grow, nothing half done, and it works again by itself."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _FULL, f"sqlite:{folder}/store.db"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert [line.split(":")[0] for line in ran.stdout.splitlines()] == ["refused", "refused", "recovered"]


async def test_another_process_that_holds_the_file_too_long_makes_it_unavailable(tmp_path: Path) -> None:
    """Writes fail after a time limit, reads go on, and all works once the file is free."""
    path = tmp_path / "store.db"
    store = await stores.connect(f"sqlite:{path}")
    await store.prepare(STREAM, KEY_NAMES)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    assert await store.events(STREAM, EventQuery()) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0) == set()
    await store.close()


async def test_a_read_does_not_wait_for_a_long_write(tmp_path: Path) -> None:
    """Reads are answered while a large insert runs."""
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    await store.prepare(STREAM, KEY_NAMES)
    await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    batch = [store.encode(event(), frame()) for _ in range(20_000)]
    write = asyncio.create_task(store.insert_events(STREAM, batch, 1.0))
    reads = 0
    while not write.done():
        assert await store.event(STREAM, "x") is not None
        reads += 1
    assert await write == set()
    assert reads > 5
    await store.close()


async def test_writes_that_wait_together_stand_or_fall_alone(tmp_path: Path) -> None:
    """One that fails leaves those beside it in the same transaction alone."""
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    await store.prepare(STREAM, KEY_NAMES)
    good = [store.insert_events(STREAM, [store.encode(event(f"good{n}"), frame())], 1.0) for n in range(20)]
    bad = store.insert_events("unprepared", [store.encode(event("bad"), frame())], 1.0)
    answers = await asyncio.gather(*good[:10], bad, *good[10:], return_exceptions=True)
    assert isinstance(answers.pop(10), StoreError)
    assert answers == [set()] * 20
    assert len(await store.events(STREAM, EventQuery())) == 20
    await store.close()


async def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """An insert is all or nothing, and the next one works."""
    path = tmp_path / "store.db"
    store = await stores.connect(f"sqlite:{path}")
    await store.prepare(STREAM, KEY_NAMES)
    with sqlite3.connect(path) as connection:
        connection.execute(
            f"CREATE TRIGGER fails BEFORE INSERT ON events_{STREAM} WHEN NEW.id = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'as told'); END"
        )
    connection.close()
    batch = [store.encode(event(name), frame()) for name in ("first", "bad", "last")]
    with pytest.raises(StoreError, match="as told"):
        await store.insert_events(STREAM, batch, 1.0)
    assert await store.events(STREAM, EventQuery()) == []
    assert await store.insert_events(STREAM, batch[:1], 1.0) == set()
    await store.close()


@pytest.mark.parametrize("version", [1, 999])
async def test_a_file_of_another_release_is_refused(tmp_path: Path, version: int) -> None:
    """Never guessed at, and left as it is."""
    path = tmp_path / "store.db"
    await (await stores.connect(f"sqlite:{path}")).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreDataError, match=rf"store\.db is of version {version}, this release reads version \d+$"):
        await stores.connect(f"sqlite:{path}")


async def test_a_file_of_the_version_before_gets_what_it_lacks(tmp_path: Path) -> None:
    """And keeps what it has."""
    path = tmp_path / "store.db"
    before, item = await stores.connect(f"sqlite:{path}"), rejected("1")
    await before.reject([item])
    await before.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE rejected_steps")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    after = await stores.connect(f"sqlite:{path}")
    step = RejectedStep(item="1", stream=STREAM, what="discarded", at=1.0)
    await after.note([step])
    assert await after.rejected_item(STREAM, "1") == dataclasses.replace(item, steps=(step,))
    await after.close()


@pytest.mark.parametrize(
    "query",
    [
        EventQuery(),
        EventQuery(day=DAY),
        EventQuery(keys={"store": "1"}),
        EventQuery(keys={"store": "1"}, day=DAY),
        EventQuery(keys={"store": "1", "customer": "2"}, category="Pain", at_least=1),
    ],
    ids=lambda query: ",".join([*query.keys, query.day or "all days"]),
)
@pytest.mark.parametrize("behind", [False, True])
async def test_a_page_is_read_from_an_index_in_its_order(tmp_path: Path, query: EventQuery, behind: bool) -> None:
    """By a search where there is something to search for, and nothing is sorted."""
    path = tmp_path / "store.db"
    store = await stores.connect(f"sqlite:{path}")
    await store.prepare(STREAM, KEY_NAMES)
    await store.insert_events(STREAM, [store.encode(event("x"), frame())], 1.0)
    await store.close()
    asked: list[str] = []
    connection = sqlite3.connect(path)
    connection.set_trace_callback(asked.append)
    sqlite_lists.event_page(connection, STREAM, KEY_NAMES, dataclasses.replace(query, after="x" if behind else None))
    connection.set_trace_callback(None)
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}"))
    connection.close()
    assert "TEMP B-TREE" not in plan
    assert ("SEARCH" in plan) == (behind or query != EventQuery())
    if behind:
        assert "time" in plan
    for name in query.keys:
        assert name == "customer" or f"key_{name}=?" in plan or len(query.keys) > 1
    assert ("day=?" in plan) == (query.day is not None)


async def test_a_tally_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    """A StoreDataError that names the frame."""
    path = tmp_path / "store.db"
    store = await stores.connect(f"sqlite:{path}")
    one = entry("w", 1)
    await store.append([one])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger SET tally = '{\"v\": 999}'")
    connection.close()
    with pytest.raises(StoreDataError, match=one.frame):
        await ledger(store)
    await store.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """With a StoreError, and it is left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("these are somebody's notes, not a database; " * 100)
    with pytest.raises(StoreError):
        await stores.connect(f"sqlite:{path}")
    assert path.read_text().startswith("these are")


async def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    """Not an OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        await stores.connect(f"sqlite:{tmp_path / 'file' / 'store.db'}")


async def test_a_folder_is_made_if_it_is_not_there(tmp_path: Path) -> None:
    """The data folder of a first start."""
    path = tmp_path / "a" / "b" / "store.db"
    await (await stores.connect(f"sqlite:{path}")).close()
    await eventually(path.exists)


async def test_what_somebody_looks_up_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that takes for ever holds up neither the engine's reads nor, once nobody waits for it, other lists."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    store = await stores.connect(f"sqlite:{tmp_path}/store.db")
    await store.prepare(STREAM, KEY_NAMES)
    await store.insert_events(STREAM, [store.encode(event("1"), frame())], 1.0)
    with monkeypatch.context() as patch:
        patch.setattr("store.embedded.event_page", lambda connection, *_: connection.execute(endless).fetchall())
        lists = [asyncio.create_task(store.events(STREAM, EventQuery())) for _ in range(3)]
        async with asyncio.timeout(30):
            assert await store.event(STREAM, "1") is not None
            assert await store.owners(STREAM, ["1"])
            assert await ledger(store) == []
            await store.ping()
        for each in lists:
            each.cancel()
        await asyncio.wait(lists, timeout=5)
        waiting = asyncio.create_task(store.rejected_count(STREAM))
        async with asyncio.timeout(30):
            assert await waiting == {}
    async with asyncio.timeout(30):
        assert len(await store.events(STREAM, EventQuery())) == 1
        await store.close()


async def test_a_body_beyond_the_limit_of_sqlite_is_refused_alone(tmp_path: Path) -> None:
    """For good; a write that shares its transaction is kept."""
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    assert isinstance(store, EmbeddedStore)
    await store.prepare(STREAM, KEY_NAMES)
    await store._writer.run(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000))
    large, small = (store.encode(event(str(size), fields={"x": "y" * size}), frame()) for size in (20_000, 20))
    results = await asyncio.gather(
        store.insert_events(STREAM, [large], 1.0), store.insert_events(STREAM, [small], 1.0), return_exceptions=True
    )
    assert isinstance(results[0], StoreRefusedError)
    assert results[1] == set()
    await store.close()


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO ledger (frame) VALUES ('x')", "INSERT INTO rejected (rowid, id) VALUES ('no number', 'x')"],
)
async def test_a_constraint_or_a_type_that_refuses_a_row_refuses_it_for_good(tmp_path: Path, statement: str) -> None:
    """Unlike a lock or a full disk, that stays so."""
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    assert isinstance(store, EmbeddedStore)
    with pytest.raises(StoreRefusedError):
        await store._writer.run(lambda connection: connection.execute(statement).fetchall())
    with pytest.raises(StoreRefusedError, match="type"):
        await store._writer.run(lambda connection: connection.execute("SELECT ?", (object(),)).fetchall())
    await store.close()


async def test_a_list_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """With an error that says so, and the next list is answered."""
    path = tmp_path / "store.db"
    await (await stores.connect(f"sqlite:{path}")).close()
    thread = SqliteThread(path, writes=False, limit_s=0.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(StoreTimeoutError, match="took too long"):
        await thread.run(lambda connection: connection.execute(endless).fetchone())
    assert await thread.run(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
    await thread.close()


async def test_a_scan_of_large_rows_holds_few_of_them_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte and a row, however many rows there are; every row comes once."""
    store = await stores.connect(f"sqlite:{tmp_path / 'store.db'}")
    assert isinstance(store, EmbeddedStore)
    await store.prepare(STREAM, KEY_NAMES)
    for n in range(8):
        large = store.encode(event(str(n), fields={"x": "y" * 600_000}), frame())
        await store.insert_events(STREAM, [large], 1.0)
    pages: list[int] = []
    run = store._reader.run

    async def counted(work: Any) -> Any:
        found = await run(work)
        pages.append(len(found))
        return found

    monkeypatch.setattr(store._reader, "run", counted)
    assert [one.id async for one in store.scan_events(STREAM)] == [str(n) for n in range(8)]
    assert pages == [2, 2, 2, 2, 0]
    await store.close()
