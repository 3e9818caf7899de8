import asyncio

import pytest

from broker import QueueState
from broker.errors import BrokerUnavailableError
from broker.exchanges import Queue
from engine.queue_watch import KNOWN_FOR, QueueWatch

WORK, DEAD = Queue(name="work"), Queue(name="dead")


class Asked:
    """A broker that answers as the test says."""

    def __init__(self) -> None:
        self.answers: dict[str, QueueState | Exception] = {"work": QueueState(3, 2), "dead": QueueState(1, 0)}
        self.waiting = 0
        self.most = 0

    async def state(self, queue: Queue) -> QueueState:
        """The answer, after others were asked, too."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        answer = self.answers[queue.name]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_queues_are_asked_side_by_side_and_remembered_for_a_while() -> None:
    """An answer is told until it is too old; before the first one nothing is known."""
    now, broker = 100.0, Asked()
    watch = QueueWatch(broker, (WORK, DEAD), clock=lambda: now)  # type: ignore[arg-type]
    assert watch.latest(WORK) is None
    await watch.ask()
    assert (watch.latest(WORK), watch.latest(DEAD), broker.most) == (QueueState(3, 2), QueueState(1, 0), 2)
    now += KNOWN_FOR
    assert watch.latest(WORK) is None


async def test_a_queue_that_cannot_be_asked_for_is_unknown_by_itself() -> None:
    """The others are told; when it answers again, it is known again."""
    broker = Asked()
    watch = QueueWatch(broker, (WORK, DEAD))  # type: ignore[arg-type]
    await watch.ask()
    broker.answers["dead"] = BrokerUnavailableError("not now")
    await watch.ask()
    assert (watch.latest(WORK), watch.latest(DEAD)) == (QueueState(3, 2), None)
    broker.answers["dead"] = QueueState(0, 0)
    await watch.ask()
    assert watch.latest(DEAD) == QueueState(0, 0)


async def test_a_bug_is_not_taken_for_silence() -> None:
    """What is no failure of the broker is raised."""
    broker = Asked()
    broker.answers["work"] = KeyError("work")
    with pytest.raises(KeyError):
        await QueueWatch(broker, (WORK, DEAD)).ask()  # type: ignore[arg-type]
