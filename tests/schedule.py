"""In which order, and by which of several processes, tests run: what takes longest first, so that it is not waited for
at the end, and together what shares something that takes long to start. Without pytest-xdist nothing changes.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

#: Where tests are by how long the longest file of a folder takes, the longest first; all others come after these.
LONGEST_FIRST = (
    "tests/integration/topology/",
    "tests/integration/system/",
    "tests/integration/rolling/",
    "tests/simulation/",
    "tests/browser/",
    "tests/integration/faults/",
    "tests/integration/engine/",
    "tests/integration/broker/",
    "tests/integration/",
)
#: Files that share a Storm cluster: one process runs all of them, as its Java processes take long to start.
STORM = tuple(
    f"tests/integration/topology/test_{name}.py" for name in ("cluster", "receipts", "storm_counting", "storm_switch")
)
#: Folders each of whose tests has servers of the session at most, so that none needs to run beside its neighbours.
APART = ("tests/integration/system/", "tests/integration/rolling/", "tests/simulation/")


class Files(LoadScopeScheduling):  # type: ignore[misc]  # xdist's types do not reach here
    """Hands out whole files, but for those that are better divided, or kept together."""

    @classmethod
    def of(cls, config: pytest.Config, log: Any) -> "Files":
        """The scheduler of a run; it keeps the order in which tests were collected."""
        config.option.loadscopereorder = False
        return cls(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        if file in STORM:
            return "storm"
        return nodeid if file.startswith(APART) else file


def longest_first(items: list[pytest.Item]) -> None:
    """Bring tests into the order in which they are handed out."""

    def place(item: pytest.Item) -> int:
        return next((at for at, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), len(LONGEST_FIRST))

    items.sort(key=place)  # within a folder the order stays
