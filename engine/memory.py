"""What a worker may hold at once, from the memory that its process may take.

Measured with frames of 9.7 MiB (`python -m bench --only worker-memory`): a frame that is read, encoded and being stored
takes up to twenty times its bytes as delivered, all of that included; a frame that only waits takes its bytes.
"""

from dataclasses import dataclass

_MIB = 1 << 20
#: The default of TILLSTREAM_WORKER_MEMORY.
WORKER_MEMORY = 768 * _MIB
#: The interpreter with all libraries (128 MiB), and the largest frame that a broker carries (16 MiB) twenty times.
LEAST_WORKER_MEMORY = 512 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBytes:
    """Bounds of a worker, in bytes of frames as they were delivered.

    Attributes:
        unsettled: no further frame is asked for while the unacknowledged ones are so large together.
        prepared: frames that are read and encoded, and not yet flushed, are so large together at most; or there is one.
        flush: a flush takes no further frame once its frames are so large together.
    """

    unsettled: int
    prepared: int
    flush: int

    @classmethod
    def within(cls, memory: int) -> "HeldBytes":
        """The bounds of a process that may take so much memory, bytes; LEAST_WORKER_MEMORY or more.

        With 768 MiB: 128 for the interpreter, 96 unsettled, 16 prepared and so up to 320 in use; the rest is room for
        buffers of the connections and for fragments.
        """
        return cls(unsettled=memory // 8, prepared=memory // 48, flush=memory // 96)
