"""`tillstream generate` and `tillstream post` as a user calls them: whole processes, real sockets."""

import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

import store as stores
from feeds import Generator, GeneratorOptions
from streams import ReceiptStream
from tests.integration.feeds.server import StandIn, Taken, accepted, refuse, stand_in
from tests.support import eventually, free_port

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """A stand-in that accepts everything."""
    async with stand_in() as running:
        yield running


class Ended:
    """What a command left behind."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode()
        self.err = err.decode()


async def start(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """Start the command with nothing of ours in its environment but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        *arguments,
        cwd=ROOT,
        env={**clean, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=16 << 20,
    )


async def finish(process: asyncio.subprocess.Process, stdin: bytes | None = None) -> Ended:
    """Wait for the end, bounded."""
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out, err)


async def tillstream(*arguments: str, stdin: bytes | None = None, **environ: str) -> Ended:
    """Run the command to its end."""
    return await finish(await start(*arguments, **environ), stdin)


def receipts(count: int) -> list[bytes]:
    """Generated receipts."""
    generator = Generator(GeneratorOptions(seed=2), lambda: 1.7e9)
    return [generator.receipt() for _ in range(count)]


async def test_a_burst_arrives_whole(server: StandIn) -> None:
    """So many receipts, copies on top, in requests of the size asked for; exit code 0."""
    ended = await tillstream(
        *("generate", "--burst", "500", "--seed", "1", "--duplicates", "0.1", "--conflicts", "0.1"),
        *("--batch", "50", "--to", server.url),
    )
    assert (ended.code, ended.err) == (0, "")
    identities = {(r["storeID"], r["terminalID"], r["cashReceiptID"]) for r in server.accepted}
    assert len(identities) == 500
    assert 560 < len(server.accepted) < 640
    assert max(len(request.lines) for request in server.requests) == 50
    assert ended.out.startswith(f"{len(server.accepted):,} accepted, 0 refused in ")


async def test_a_rate_is_kept_for_a_time(server: StandIn) -> None:
    """Single posts at the rate, to the port of the settings."""
    port = server.url.rpartition(":")[2]
    ended = await tillstream("generate", "--rate", "100", "--for", "2s", TILLSTREAM_PORT=port)
    assert ended.code == 0
    assert 150 <= len(server.accepted) <= 201
    assert all(len(request.lines) == 1 for request in server.requests)


async def test_receipts_go_to_standard_output(server: StandIn) -> None:
    """NDJSON on stdout and nothing else, local time of the time zone."""
    ended = await tillstream("generate", "--burst", "20", "--to", "-", "--timezone", "Asia/Tokyo")
    assert ended.code == 0
    assert len([json.loads(line) for line in ended.out.splitlines()]) == 20
    assert ended.err == "20 written to standard output\n"


async def test_a_reader_that_leaves_ends_the_writer() -> None:
    """As in `tillstream generate --to - | head -n 1`: no traceback."""
    process = await start("generate", "--burst", "1000000", "--to", "-")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]  # streams of a process have no close
        assert process.stderr is not None
        err = await process.stderr.read()
        await process.wait()
    assert b"Traceback" not in err
    assert process.returncode != 0


async def test_an_interrupted_file_is_readable(tmp_path: Path) -> None:
    """Ctrl-C ends a gzip file properly, and says what is in it."""
    path = tmp_path / "receipts.ndjson.gz"
    process = await start("generate", "--to", str(path), "--burst", "100000000")
    await eventually(lambda: path.exists() and path.stat().st_size > 100_000, timeout=30)
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    assert ended.code == 130
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert ended.err == f"{len(lines):,} written to {path}\n"
    json.loads(lines[-1])


async def test_files_are_posted_in_every_form(server: StandIn, tmp_path: Path) -> None:
    """NDJSON as gzip, an array, and one object, after one another; exit code 0 and the counts."""
    lines = receipts(1201)
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines[:1000])))
    (tmp_path / "b.json").write_bytes(b"[" + b",".join(lines[1000:1200]) + b"]")
    (tmp_path / "c.json").write_text(json.dumps(json.loads(lines[1200]), indent=2))
    names = [str(tmp_path / name) for name in ("a.ndjson.gz", "b.json", "c.json")]
    ended = await tillstream("post", *names, "--to", server.url, "--batch", "300")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("1,201 accepted, 0 refused in ")
    assert sorted(map(str, server.accepted)) == sorted(str(json.loads(line)) for line in lines)


async def test_standard_input_is_posted_as_it_comes(server: StandIn) -> None:
    """Events of a pipe do not wait for its end, and Ctrl-C does not wait for more of them."""
    process = await start("post", "-", "--to", server.url)
    assert process.stdin is not None
    lines = receipts(3)
    process.stdin.write(lines[0] + b"\n" + lines[1] + b"\n")
    await eventually(lambda: len(server.accepted) == 2, timeout=30)
    process.stdin.write(lines[2] + b"\n")
    await eventually(lambda: len(server.accepted) == 3, timeout=30)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await process.wait()
    ended = await finish(process)
    assert ended.code == 130
    assert ended.out.startswith("3 accepted, 0 refused in ")


async def test_refusals_are_told_with_their_reasons(server: StandIn, tmp_path: Path) -> None:
    """Exit code 1, how many, why, and which was the first."""
    server.answer = lambda taken: refuse(taken, lambda event: event["n"] in {3, 7})
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(json.dumps({"n": n}) for n in range(10)))
    ended = await tillstream("post", str(path), "--to", server.url)
    assert ended.code == 1
    first, second = ended.out.splitlines()
    assert first.startswith("8 accepted, 2 refused in ")
    assert second == "  2 x $.n: a good number (first: event 4)"


async def test_an_interrupt_ends_with_the_counts(server: StandIn) -> None:
    """Ctrl-C in the middle: what was accepted, and what is unknown because no answer came."""

    async def answer(taken: Taken) -> web.Response:
        if len(server.accepted) >= 50:
            await asyncio.sleep(60)
        return accepted(taken)

    server.answer = answer
    process = await start("generate", "--rate", "1000", "--to", server.url, "--concurrency", "2")
    await eventually(lambda: len(server.requests) >= 52, timeout=30)
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    assert ended.code == 130
    assert "accepted, 0 refused, 2 unknown" in ended.out or "accepted, 0 refused, 1 unknown" in ended.out
    assert "Traceback" not in ended.err


async def test_the_token_comes_from_the_tokens_file(server: StandIn, tmp_path: Path) -> None:
    """The first one, without its name; never shown."""
    tokens = tmp_path / "tokens"
    tokens.write_text("# tills\n\nlyon: s3cret\nother\n")
    ended = await tillstream("generate", "--burst", "1", "--to", server.url, TILLSTREAM_TOKENS_FILE=str(tokens))
    assert ended.code == 0
    assert server.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("post", "nothing.json"), "error: nothing.json: No such file or directory"),
        (("post", "tests"), "error: tests: is a folder"),
        (("post", "LICENSE", "--to", "http://127.0.0.1:1"), "error: LICENSE: expected JSON objects"),
        (("post", "-", "--to", "localhost:3000"), "error: expected an address such as"),
        (("generate", "--to", "ftp://host"), "error: expected an address such as"),
        (("generate", "--to", "no/where/r.ndjson"), "error: no/where/r.ndjson: No such file or directory"),
        (("generate", "--for", "soon"), "expected a duration such as 60s"),
        (("generate", "--tokens-file", "nothing"), "error: the tokens file nothing cannot be read"),
    ],
)
async def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    """What was wrong, exit code 2, no traceback."""
    ended = await tillstream(*arguments, stdin=b"")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


async def test_an_unreachable_server_is_told_in_one_line() -> None:
    """Soon, with what was not sent."""
    url = f"http://127.0.0.1:{free_port()}"
    ended = await tillstream("generate", "--burst", "5", "--to", url)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"error: {url}/receipts: cannot connect: Connection refused")
    assert "5 not sent" in ended.out


async def test_a_damaged_file_is_told_after_what_came_before_was_sent(server: StandIn, tmp_path: Path) -> None:
    """The next file is sent, too; exit code 2."""
    lines = receipts(200)
    whole = gzip.compress(b"\n".join(lines[:150]))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "good.ndjson").write_bytes(b"\n".join(lines[150:]))
    ended = await tillstream("post", str(tmp_path / "cut.gz"), str(tmp_path / "good.ndjson"), "--to", server.url)
    assert ended.code == 2
    assert 50 + 10 < len(server.accepted) < 200
    assert ended.err.endswith("cut.gz: the gzip data is damaged or ends early\n")


async def test_a_stray_stores_receipts_are_brought_home(server: StandIn, tmp_path: Path) -> None:
    """Every receipt of the store is posted as it was received, in requests of the size asked for; the store is read."""
    lines = receipts(1203)
    path = tmp_path / "stray.db"
    await stored(path, lines)
    before = path.read_bytes()
    posted = await tillstream("post", "--from-store", f"sqlite:{path}", "--to", server.url, "--batch", "100")
    assert posted.code == 0, posted.err
    assert posted.out.startswith("1,203 accepted")
    assert sorted(map(as_received, server.accepted)) == sorted(as_received(json.loads(line)) for line in lines)
    assert max(len(request.events) for request in server.requests) == 100
    server.answer = lambda _: web.Response(status=401)
    refused = await tillstream("post", "--from-store", f"sqlite:{path}", "--to", server.url)
    assert refused.code == 2
    assert refused.out.startswith("0 accepted, 0 refused, 1,203 not sent in ")
    assert path.read_bytes() == before


async def test_a_stray_store_without_receipts_is_empty_and_one_that_is_not_there_an_error(
    server: StandIn, tmp_path: Path
) -> None:
    """Neither sends anything, and nothing is made."""
    await stored(tmp_path / "empty.db", [])
    empty = await tillstream("post", "--from-store", f"sqlite:{tmp_path}/empty.db", "--to", server.url)
    assert (empty.code, empty.out.splitlines()[-1]) == (0, f"sqlite:{tmp_path}/empty.db is empty")
    missing = await tillstream("post", "--from-store", f"sqlite:{tmp_path}/no/x.db", "--to", server.url)
    assert (missing.code, missing.err) == (2, f"error: there is no store at {tmp_path}/no/x.db\n")
    assert not (tmp_path / "no").exists()
    neither = await tillstream("post", "--to", server.url)
    assert (neither.code, neither.err.count("\n")) == (2, 1)
    assert server.requests == []


async def stored(path: Path, lines: list[bytes]) -> None:
    """Make a store that holds these receipts, as a worker does."""
    store = await stores.connect(f"sqlite:{path}")
    stream = ReceiptStream(ZoneInfo("UTC"))
    await store.prepare(stream.name, stream.key_names)
    events = [stream.parse(stream.accept(line, 1.7e9)) for line in lines]
    await store.insert_events(stream.name, [store.encode(event, "f" * 32) for event in events], 1.7e9)
    await store.close()


def as_received(receipt: dict[str, Any]) -> str:
    """A receipt without the moment of its reception."""
    return json.dumps({name: value for name, value in receipt.items() if name != "receivedTime"}, sort_keys=True)


async def test_what_a_server_takes_nothing_of_is_counted_whole(server: StandIn, tmp_path: Path) -> None:
    """A wrong token: every receipt of the files, and of a burst, is counted as not sent; exit code 2."""
    server.answer = lambda _: web.json_response({"title": "no"}, status=401)
    lines = receipts(3000)
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines[:2500])))
    (tmp_path / "b.ndjson").write_bytes(b"\n".join(lines[2500:]))
    names = [str(tmp_path / name) for name in ("a.ndjson.gz", "b.ndjson")]
    for arguments in (
        ("post", *names, "--batch", "100", "--token", "lyon:s3cret"),
        ("generate", "--burst", "3000", "--batch", "100", "--token", "lyon:s3cret"),
    ):
        ended = await tillstream(*arguments, "--to", server.url)
        assert ended.code == 2
        assert ended.out.startswith("0 accepted, 0 refused, 3,000 not sent in ")
        assert "wants a valid token (401): of name:token, send only what is behind the colon" in ended.err
        assert "s3cret" not in ended.out + ended.err


async def test_a_pipe_and_a_pace_are_not_waited_for_after_all_was_given_up(server: StandIn) -> None:
    """They may never end: what was read is counted, and the command ends at once."""
    server.answer = lambda _: web.Response(status=401)
    process = await start("post", "-", "--to", server.url)
    assert process.stdin is not None
    process.stdin.write(b"\n".join(receipts(2)) + b"\n")
    async with asyncio.timeout(30):
        await process.wait()  # its standard input stays open
    ended = await finish(process)
    assert ended.code == 2
    assert ended.out.startswith("0 accepted, 0 refused, 2 not sent in ")
    ended = await tillstream("generate", "--rate", "1", "--burst", "1000", "--to", server.url)
    assert ended.code == 2
    assert ended.out.startswith("0 accepted, 0 refused, ")
    assert "1,000 not sent" not in ended.out


async def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    """The file is named, and nothing is said to be written to it."""
    ended = await tillstream("generate", "--burst", "10", "--to", "/dev/full")
    assert (ended.code, ended.err) == (2, "error: /dev/full: No space left on device\n")
