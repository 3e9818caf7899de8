"""A set of frame ids in constant memory, which may take a frame for a member that is none: a Bloom filter.

Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13 (1970). A frame that is not in it was
certainly never added. With 5 million frames in 16 MiB, one of 2,000 others is taken for a member.
"""

import hashlib
import secrets
import struct

#: Bits of the filter: 16 MiB.
_BITS = 1 << 27
_MASK = _BITS - 1
_FOUR = struct.Struct("<4I")


class FrameFilter:
    """Frame ids that were added. Each filter has a salt of its own, so that two err in different frames."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)
        self._salt = secrets.token_bytes(16)

    def add(self, frame: str) -> None:
        """Add a frame."""
        for place in self._places(frame):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, frame: str) -> bool:
        bits = self._bits
        return all(bits[place >> 3] >> (place & 7) & 1 for place in self._places(frame))

    def _places(self, frame: str) -> list[int]:
        digest = hashlib.blake2b(frame.encode(), digest_size=16, key=self._salt).digest()
        return [number & _MASK for number in _FOUR.unpack(digest)]
