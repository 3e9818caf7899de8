"""Lists of ids cut into pieces that fit into one query, by their number and by their bytes."""

from collections.abc import Iterable, Iterator

#: Bytes of ids in one query. MongoDB takes 16 MiB of BSON; ids may be half a kilobyte each.
MAX_BYTES = 1024**2
#: What BSON adds to each string of an array at most: type, index, lengths and ends.
_OVERHEAD_BYTES = 20


def chunks(ids: Iterable[str], at_most: int, *, max_bytes: int = MAX_BYTES) -> Iterator[list[str]]:
    """Cut ids, in the order given, into lists of at most `at_most` ids and `max_bytes` bytes; one id may be larger."""
    chunk: list[str] = []
    size = 0
    for id in ids:
        own = len(id.encode(errors="surrogatepass")) + _OVERHEAD_BYTES
        if chunk and (len(chunk) == at_most or size + own > max_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(id)
        size += own
    if chunk:
        yield chunk
