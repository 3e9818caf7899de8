"""The embedded broker's queues hold their invariants: any operations, failing turns, kills."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.embedded_file import BrokerFile, Record
from broker.embedded_queues import Inspect, Join, Leave, Operation, Outcome, Publish, Queues, Settle, TurnFailedError
from broker.errors import BrokerFullError, ConsumerRefusedError
from broker.protocol import QueueState
from tests.integration.broker.place import topology

LIMIT, MAX_BYTES, MAX_LENGTH = 2, 60, 3
TOPOLOGY = topology(limit=LIMIT, max_bytes=MAX_BYTES, max_length=MAX_LENGTH)
WORK, PARTIALS, DEAD = TOPOLOGY.work.name, TOPOLOGY.partials.name, TOPOLOGY.dead.name
QUEUES = (WORK, PARTIALS, DEAD)


class FlakyFile(BrokerFile):
    """A broker file that fails when told to: `write`, `commit` (lost) or `answer` (done, and then an error)."""

    fail: str | None = None

    def insert(self, queue: str, rows: "list[object]") -> None:  # type: ignore[override]
        self._trip("write")
        super().insert(queue, rows)  # type: ignore[arg-type]

    def commit(self) -> None:
        self._trip("commit")
        super().commit()
        self._trip("answer")

    def _trip(self, point: str) -> None:
        if self.fail == point:
            self.fail = None
            raise sqlite3.OperationalError("disk I/O error")


class QueuesMachine(RuleBasedStateMachine):
    """Any operations in any turns; after each the file and what consumers have in hand add up."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tillstream-test-"))
        self.file = FlakyFile(self.folder / "broker.db", QUEUES)
        self.queues = Queues(self.file, TOPOLOGY.queues)
        self.eyes = sqlite3.connect(self.folder / "broker.db", isolation_level=None)
        self.waiting: list[Operation] = []
        self.sent = 0
        self.consumers = 0
        self.taken: dict[str, set[bytes]] = {WORK: set(), PARTIALS: set(), DEAD: set()}  # accepted, not acknowledged
        self.in_hand: dict[int, dict[int, bytes]] = {}
        self.prefetch: dict[int, int] = {}
        self.queue_of: dict[int, str] = {}
        self.serving: dict[str, set[int]] = {name: set() for name in QUEUES}
        self.exclusive: set[int] = set()
        self.handed: dict[bytes, int] = {}

    def teardown(self) -> None:
        """Remove the folder."""
        self.eyes.close()
        self.file.close()
        shutil.rmtree(self.folder)

    # What may be asked for: it waits for the next turn.

    @rule(queue=st.sampled_from([WORK, PARTIALS]), size=st.integers(6, 30))
    def publish(self, queue: str, size: int) -> None:
        self.sent += 1
        body = (b"%06d" % self.sent).ljust(size, b".")
        exchange = "receipts" if queue == WORK else "partials"
        self.waiting.append(Publish(Record(exchange, "receipts", None, "{}", body), (queue,)))

    @rule(queue=st.sampled_from(QUEUES), prefetch=st.integers(1, 3), exclusive=st.sampled_from([False, False, True]))
    def join(self, queue: str, prefetch: int, exclusive: bool) -> None:
        self.consumers += 1
        self.waiting.append(Join(self.consumers, queue, prefetch, exclusive))

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data(), give_back=st.booleans())
    def leave(self, data: st.DataObject, give_back: bool) -> None:
        self.waiting.append(Leave(data.draw(st.sampled_from(sorted(self.in_hand))), give_back))

    @precondition(lambda self: any(self.in_hand.values()))
    @rule(data=st.data(), give_back=st.booleans())
    def settle(self, data: st.DataObject, give_back: bool) -> None:
        held = [(consumer, id) for consumer, ids in self.in_hand.items() for id in ids]
        consumer, number = data.draw(st.sampled_from(sorted(held)))
        self.waiting.append(Settle(consumer, number, give_back))

    # What may happen then.

    @rule()
    def turn(self) -> None:
        operations, self.waiting = self.waiting, []
        self.take(self.queues.turn([*operations, *(Inspect(name) for name in QUEUES)]))

    @precondition(lambda self: self.waiting)
    @rule(point=st.sampled_from(["write", "commit", "answer"]))
    def turn_fails(self, point: str) -> None:
        """What nobody waits for is tried again; a publish is gone, or stored where only the answer was lost."""
        before = self.stored()
        self.file.fail = point
        try:
            self.take(self.queues.turn(self.waiting))
            self.waiting = []
            self.file.fail = None
            return  # nothing was to be written
        except TurnFailedError as exc:
            unknown = exc.unknown
        assert unknown is (point != "write")
        self.file.reopen()
        self.queues.recount()
        if point != "answer":
            assert self.stored() == before
        for operation in self.waiting:
            if isinstance(operation, Publish) and operation.record.body in self.where(operation.queues[0]):
                self.taken[operation.queues[0]].add(operation.record.body)
        self.waiting = [operation for operation in self.waiting if isinstance(operation, Settle | Leave)]
        self.settle_up()
        self.turn()

    @rule()
    def kill(self) -> None:
        """Everything in memory is gone; what was in hand is ready again, or dead."""
        self.file.close()
        self.file = FlakyFile(self.folder / "broker.db", QUEUES)
        self.queues = Queues(self.file, TOPOLOGY.queues)
        self.waiting = []
        self.in_hand.clear()
        self.serving = {name: set() for name in QUEUES}
        self.exclusive.clear()
        self.settle_up()
        assert all(attempts <= LIMIT for _, attempts in self.stored()[WORK].values())
        self.turn()

    # What has to hold.

    def take(self, outcome: Outcome) -> None:
        """Note what a turn did, checking each answer and delivery."""
        states = {}
        for operation, answer in outcome.answers:
            match operation:
                case Publish():
                    if answer is None:
                        self.taken[operation.queues[0]].add(operation.record.body)
                    else:
                        assert isinstance(answer, BrokerFullError)
                        assert operation.queues == (WORK,)
                case Join():
                    self.joined(operation, answer)
                case Leave():
                    self.serving[self.queue_of[operation.consumer]].discard(operation.consumer)
                    self.exclusive.discard(operation.consumer)
                    if operation.give_back:
                        self.in_hand.pop(operation.consumer, None)
                case Settle():
                    body = self.in_hand.get(operation.consumer, {}).pop(operation.id, None)
                    if body is not None and not operation.give_back:
                        self.taken[self.queue_of[operation.consumer]].discard(body)
                case Inspect():
                    states[operation.queue] = answer
        for consumer, row in outcome.handed:
            queue, body = self.queue_of[consumer], row.record.body
            assert consumer in self.serving[queue]
            assert body not in self.everything_in_hand(queue)
            assert row.attempts == self.handed.get(body, 0) + 1
            self.handed[body] = row.attempts
            self.in_hand[consumer][row.id] = body
            assert len(self.in_hand[consumer]) <= self.prefetch[consumer]
        self.settle_up()
        for name, state in states.items():
            assert state == QueueState(len(self.ready(name)), len(self.serving[name]))
        for name in QUEUES:
            handed = [row.record.body for consumer, row in outcome.handed if self.queue_of[consumer] == name]
            if handed and name != DEAD:
                assert all(max(handed)[:6] < body[:6] for body in self.ready(name)), "the oldest goes first"

    def joined(self, operation: Join, answer: object) -> None:
        """A consumer is refused exactly when somebody does not share, or it does not and somebody is there."""
        serving = self.serving[operation.queue]
        if (serving & self.exclusive) or (operation.exclusive and serving):
            assert isinstance(answer, ConsumerRefusedError)
            return
        assert answer is None
        serving.add(operation.consumer)
        if operation.exclusive:
            self.exclusive.add(operation.consumer)
        self.in_hand[operation.consumer] = {}
        self.prefetch[operation.consumer] = operation.prefetch
        self.queue_of[operation.consumer] = operation.queue

    def settle_up(self) -> None:
        """Follow what the file did by itself: dead letters moved, capped queues cut, attempts of an unknown turn."""
        stored = self.stored()
        for body in list(self.taken[WORK]):
            if body in stored[DEAD]:
                self.taken[WORK].discard(body)
                self.taken[DEAD].add(body)
                assert self.handed[body] > LIMIT
                self.handed[body] = 0
        self.taken[PARTIALS] &= set(stored[PARTIALS])
        for name in QUEUES:
            for body, (_, attempts) in stored[name].items():
                assert attempts >= self.handed.get(body, 0)
                self.handed[body] = attempts

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Every message that was taken and not acknowledged is stored once, and nothing else is."""
        stored = self.stored()
        for name in QUEUES:
            assert set(stored[name]) == self.taken[name] | (self.everything_in_hand(name) - self.taken[name])
            assert self.everything_in_hand(name) <= set(stored[name])
        assert not set(stored[WORK]) & set(stored[DEAD])
        assert len(self.ready(PARTIALS)) <= MAX_LENGTH

    @invariant()
    def nobody_waits_for_what_is_ready(self) -> None:
        """While a message is ready, no consumer of its queue has a hand free."""
        for name in QUEUES:
            if self.ready(name):
                for consumer in self.serving[name]:
                    assert len(self.in_hand[consumer]) == self.prefetch[consumer]

    def stored(self) -> dict[str, dict[bytes, tuple[int, int]]]:
        """Body → (id, attempts) of every queue, read by a connection of our own."""
        return {
            name: {
                body: (number, attempts)
                for body, number, attempts in self.eyes.execute(f'SELECT body, id, attempts FROM "queue:{name}"')
            }
            for name in QUEUES
        }

    def where(self, name: str) -> set[bytes]:
        """The bodies in a queue, dead letters of it included."""
        stored = self.stored()
        return set(stored[name]) | set(stored[DEAD])

    def everything_in_hand(self, name: str) -> set[bytes]:
        """The bodies that a queue's consumers have in hand."""
        return {
            body for consumer, held in self.in_hand.items() if self.queue_of[consumer] == name for body in held.values()
        }

    def ready(self, name: str) -> set[bytes]:
        """The bodies that are ready in a queue."""
        return set(self.stored()[name]) - self.everything_in_hand(name)


TestQueues = QueuesMachine.TestCase
TestQueues.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@contextmanager
def queues_at(folder: Path) -> Iterator[Queues]:
    """Queues on a file."""
    file = BrokerFile(folder / "broker.db", QUEUES)
    yield Queues(file, TOPOLOGY.queues)
    file.close()


def send(body: bytes) -> Publish:
    """A publish to the work queue."""
    return Publish(Record("receipts", "receipts", None, "{}", body), (WORK,))


def test_messages_given_back_out_of_order_come_in_order(tmp_path: Path) -> None:
    """Each message given back regains its own place, whatever the order of giving back."""
    with queues_at(tmp_path) as queues:
        queues.turn([send(b"%d" % number) for number in range(6)])
        handed = queues.turn([Join(1, WORK, 4, exclusive=False)]).handed
        assert [row.record.body for _, row in handed] == [b"0", b"1", b"2", b"3"]
        ids = [row.id for _, row in handed]
        again = queues.turn(
            [Settle(1, ids[2], give_back=True), Settle(1, ids[0], give_back=True), Settle(1, ids[3], give_back=True)]
        ).handed
        assert [(row.record.body, row.attempts) for _, row in again] == [(b"0", 2), (b"2", 2), (b"3", 2)]


def test_memory_holds_only_what_consumers_hold(tmp_path: Path) -> None:
    """Ready messages stay in the file: a long queue is counted at the start, not loaded."""
    with queues_at(tmp_path) as queues:
        for _ in range(20):
            queues.turn([Publish(Record("partials", "receipts", None, "{}", b"x"), (DEAD,)) for _ in range(100)])
    with queues_at(tmp_path) as queues:
        outcome = queues.turn([Join(1, DEAD, 5, exclusive=False), Inspect(DEAD)])
        assert len(outcome.handed) == 5
        assert outcome.answers[-1][1] == QueueState(ready=1995, consumers=1)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_a_turn_of_any_size(tmp_path: Path, count: int) -> None:
    """Batches below, at and beyond the rows of one statement are stored whole and in order."""
    with queues_at(tmp_path) as queues:
        queues.turn([Publish(Record("", DEAD, None, "{}", b"%d" % number), (DEAD,)) for number in range(count)])
    with queues_at(tmp_path) as queues:
        handed = queues.turn([Join(1, DEAD, 1000, exclusive=False)]).handed
        assert [row.record.body for _, row in handed] == [b"%d" % number for number in range(count)]
