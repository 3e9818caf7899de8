"""How the broker's queues are doing, asked apart from publishing: a broker that is slow to say holds nothing up."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from broker.errors import BrokerError
from broker.exchanges import Queue
from broker.protocol import Broker, QueueState

log = structlog.get_logger()

#: What was said of a queue is no longer told when it is so old, seconds.
KNOWN_FOR = 10.0


@dataclass(frozen=True, slots=True)
class _Answer:
    state: QueueState
    at: float


class QueueWatch:
    """Asks for the states of some queues and remembers them for a while."""

    def __init__(self, broker: Broker, queues: Sequence[Queue], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._queues = queues
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._silent: set[str] = set()

    async def ask(self) -> None:
        """Ask for all of them, side by side. A queue that cannot be asked for is unknown; that is no error."""
        answers = await asyncio.gather(*(self._broker.state(queue) for queue in self._queues), return_exceptions=True)
        for queue, answer in zip(self._queues, answers, strict=True):
            if isinstance(answer, QueueState):
                self._answers[queue.name] = _Answer(answer, self._clock())
                self._silent.discard(queue.name)
            elif isinstance(answer, BrokerError):
                self._answers.pop(queue.name, None)
                if queue.name not in self._silent:  # said once, not every second
                    log.warning("the broker does not say how a queue is doing", queue=queue.name, error=str(answer))
                self._silent.add(queue.name)
            else:
                raise answer

    def latest(self, queue: Queue) -> QueueState | None:
        """What was said of a queue last; None if nothing was, or nothing lately."""
        answer = self._answers.get(queue.name)
        return answer.state if answer and self._clock() - answer.at < KNOWN_FOR else None
