"""The smallest topology there is: numbers from a spout to a bolt, which acknowledges them."""

from typing import Any

from streamparse import Bolt, Grouping, Spout, Topology

#: Numbers on their way at once.
PENDING = 50


class Numbers(Spout):  # type: ignore[misc]  # streamparse has no types
    """Emits 0, 1, 2…"""

    outputs = ("number",)

    def initialize(self, storm_conf: dict[str, Any], context: dict[str, Any]) -> None:
        self._next, self._waiting = 0, 0

    def next_tuple(self) -> None:
        if self._waiting < PENDING:
            self.emit([self._next], tup_id=self._next)
            self._next, self._waiting = self._next + 1, self._waiting + 1

    def ack(self, tup_id: int) -> None:
        self._waiting -= 1

    def fail(self, tup_id: int) -> None:
        self._waiting -= 1


class Sink(Bolt):  # type: ignore[misc]
    """Acknowledges what comes."""

    def process(self, tup: Any) -> None:
        """Nothing more: pystorm acknowledges the tuple when this returns."""


class Probe(Topology):  # type: ignore[misc]
    """Numbers to two sinks."""

    numbers = Numbers.spec()
    sink = Sink.spec(inputs={numbers: Grouping.SHUFFLE}, par=2)
