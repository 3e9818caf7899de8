"""In which order, and by which of several processes, tests run: what takes longest first, so that none waits for it at
the end, and together what shares something that takes long to start. Without pytest-xdist nothing changes.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

#: Where tests are by how long the longest file of a folder takes, the longest first; all others come after these.
LONGEST_FIRST = (
    "tests/integration/system/",
    "tests/integration/rolling/",
    "tests/simulation/",
    "tests/browser/",
    "tests/integration/topology/",
    "tests/integration/faults/",
    "tests/integration/engine/",
    "tests/integration/broker/",
    "tests/integration/",
)
#: Folders each of whose tests has servers of the session at most, so that none needs to run beside its neighbours.
APART = ("tests/integration/system/", "tests/integration/rolling/", "tests/simulation/")
#: Files that look at the one site with a day behind it.
SITE = ("tests/browser/test_accessibility.py", "tests/browser/test_hosts.py")


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist's types do not reach here
    """Hands out files, but for those that are better divided or taken together."""

    @classmethod
    def of(cls, config: pytest.Config, log: Any) -> "Together":
        """The scheduler of a run; it keeps the order in which tests were collected."""
        config.option.loadscopereorder = False
        return cls(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        if file.startswith(APART):
            return nodeid
        return "the site" if file in SITE else file


def longest_first(items: list[pytest.Item]) -> None:
    """Bring tests into the order in which they are handed out."""

    def place(item: pytest.Item) -> int:
        return next((at for at, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), len(LONGEST_FIRST))

    items.sort(key=place)  # within a folder the order stays
