"""How long somebody who guesses passwords has to wait. Pure but for its memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

#: So many wrong passwords are typing errors.
FREE_FAILURES = 5
#: From then on each failure doubles the wait, from one second up to this. Not longer: it also keeps those out who know
#: their password.
WAIT_MAX_SECONDS = 60.0
#: What is so long ago is forgotten.
FORGET_SECONDS = 900.0
#: Names and addresses that are remembered; then the oldest goes. Each costs its owner a try.
REMEMBERED = 10_000


class Throttle:
    """Counts failures by name and by address.

    A try is counted as a failure when it begins, and taken back when it succeeds: many at the same moment count, too.

    Arguments:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Key → (failures, when the last one was), oldest first.
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, *keys: str) -> float:
        """Seconds until these may try again; 0 now."""
        now = self._clock()
        return max((self._due(key, now) - now for key in keys if key in self._failures), default=0.0)

    def tried(self, *keys: str) -> None:
        """Count a try as a failure."""
        now = self._clock()
        for key in keys:
            failures, last = self._failures.pop(key, (0, now))
            self._failures[key] = (failures + 1 if now - last < FORGET_SECONDS else 1, now)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget a name's failures; but of an address only this try, or one right password would buy it many wrong
        ones."""
        self._failures.pop(name, None)
        if address in self._failures:
            failures, last = self._failures[address]
            self._failures[address] = (failures - 1, last)

    def _due(self, key: str, now: float) -> float:
        failures, last = self._failures[key]
        if failures < FREE_FAILURES or now - last >= FORGET_SECONDS:
            return now
        return max(now, last + min(WAIT_MAX_SECONDS, 2.0 ** min(failures - FREE_FAILURES, 16)))


def name_key(name: str) -> str:
    """The key of a name."""
    return f"name {name[:256]}"


def address_key(address: str) -> str:
    """The key of an address; one network of IPv6 is one, as its owner has all its addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"address {address[:64]}"
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if isinstance(found, ipaddress.IPv6Address):
        return f"address {ipaddress.ip_network((int(found), 64), strict=False)}"
    return f"address {found}"
