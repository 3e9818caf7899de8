"""Gzip of every kind: it comes out as Python's own module has it or is refused, in little memory and time."""

import gzip
import io
import random
import time
import tracemalloc
import zlib

import pytest

from entrypoint.bodies import Bodies
from entrypoint.config import EntrypointConfig
from entrypoint.problems import ProblemError

LIMIT = 1_000_000


def subject() -> Bodies:
    """With a limit of a megabyte."""
    return Bodies(EntrypointConfig(body_max_bytes=LIMIT))


async def unpacked(bodies: Bodies, packed: bytes) -> bytes | int:
    """What it holds, or the status of its refusal."""
    with bodies.hold() as hold:
        try:
            return await bodies.gunzip(packed, hold)
        except ProblemError as exc:
            return exc.type.status


def members(chance: random.Random) -> bytes:
    """A few members of different sizes, levels and headers."""
    parts = []
    for _ in range(chance.randint(1, 5)):
        size = chance.choice([0, 1, 100, 8192, 50_000, 300_000])
        data = chance.choice([bytes(size), chance.randbytes(size), b'{"storeID": 612}\n' * (size // 17)])
        out = io.BytesIO()
        name = chance.choice(["", "a" * 100])
        with gzip.GzipFile(name, "wb", chance.choice([0, 1, 9]), out, mtime=0) as file:
            file.write(data)
        parts.append(out.getvalue())
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(4))
async def test_members_and_damage_are_read_or_refused(seed: int) -> None:
    """Whole members as Python reads them; cut, overwritten or continued with rubbish, refused or as Python does."""
    chance = random.Random(seed)
    bodies = subject()
    for _ in range(40):
        packed = members(chance)
        whole = gzip.decompress(packed)
        assert await unpacked(bodies, packed) == (whole if len(whole) <= LIMIT else 413)
        damaged = bytearray(packed)
        match chance.randrange(3):
            case 0:
                del damaged[chance.randrange(len(damaged)) :]
            case 1:
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            case _:
                damaged += chance.randbytes(chance.randint(1, 30))
        found = await unpacked(bodies, bytes(damaged))
        try:
            expected = gzip.decompress(bytes(damaged))
        except (OSError, EOFError, zlib.error):
            assert found in {400, 413}
        else:
            assert found in ({expected, 400} if len(expected) <= LIMIT else {400, 413})
    with bodies.hold() as hold:
        hold.grow(EntrypointConfig().receiving_max_bytes)  # nothing is held any more


BOMBS = {
    "one member": gzip.compress(bytes(200_000_000), 9),
    "many members": gzip.compress(bytes(500_000), 9) * 400,
    "empty members": gzip.compress(b"") * 500_000,
    "empty blocks": gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 2_000_000,
    "a long name": b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"a" * 10_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_cost_little(name: str) -> None:
    """Whatever it would come to, little more than the limit is ever there, and it takes a moment."""
    packed = BOMBS[name]
    tracemalloc.start()
    began = time.process_time()
    try:
        status = await unpacked(subject(), packed)
    finally:
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    print(f"{name}: {len(packed)} bytes, {status!r}, {took:.3f} s, {peak / 1e6:.1f} MB")
    assert status in {400, 413}
    assert took < 5  # seconds of the processor: fifty times what it is
    assert peak < 4 * LIMIT
