"""The embedded broker's queues: who gets what next, in turns that happen wholly or not at all.

A turn takes everything that waits (publishes, settlements, consumers coming and going), works on a copy of the small
state in memory and within one transaction of the file, and only then replaces the state. So an error anywhere leaves
both as they were. Messages ready in a queue stay in the file; memory holds counts, and what consumers have in hand.

No threads and no event loop here: `broker.embedded_thread` calls it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec

from broker.embedded_file import BrokerFile, Record, Row
from broker.errors import BrokerError, BrokerFullError, ConsumerRefusedError, UnroutableError
from broker.exchanges import Queue
from broker.protocol import QueueState

#: A queue that was full takes messages again below this share of its limit, as RabbitMQ's quorum queues do.
REOPEN_SHARE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Publish:
    """Put a message into queues, all or none. Nobody waits for one that is `announced`."""

    record: Record
    queues: tuple[str, ...]
    announced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Settle:
    """Forget a delivered message, or give it back."""

    consumer: int
    id: int
    give_back: bool


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Begin to consume."""

    consumer: int
    queue: str
    prefetch: int
    exclusive: bool


@dataclass(frozen=True, slots=True, eq=False)
class Leave:
    """Deliver nothing more to a consumer; `give_back` ends it and returns what it has in hand."""

    consumer: int
    give_back: bool


@dataclass(frozen=True, slots=True, eq=False)
class Inspect:
    """How many messages are ready, and how many consumers take them?"""

    queue: str


Operation = Publish | Settle | Join | Leave | Inspect


class InHand(NamedTuple):
    """A message that a consumer has not settled."""

    size: int
    attempts: int


class Handed(NamedTuple):
    """A message on its way to a consumer."""

    consumer: int
    row: Row


@dataclass(slots=True)
class Outcome:
    """What a turn did: an answer per operation (a value, or an error for its caller), and what was handed out."""

    answers: list[tuple[Operation, Any]] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)


class TurnFailedError(Exception):
    """A turn did not happen; or, where `unknown` is set, it may have."""

    def __init__(self, cause: Exception, *, unknown: bool) -> None:
        super().__init__(str(cause))
        self.unknown = unknown


@dataclass(slots=True)
class _QueueState:
    """Attributes:
    cursor: every message up to this id is gone, in hand or in `returned`; all past it are ready.
    last: the highest id in use.
    returned: heap of (id, size) of messages given back: ready, and older than any past the cursor.
    serving: consumers that take deliveries, whose turn is next first.
    """

    queue: Queue
    cursor: int = 0
    last: int = 0
    ready: int = 0
    ready_bytes: int = 0
    full: bool = False
    exclusive: bool = False
    returned: list[tuple[int, int]] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)

    def copy(self) -> _QueueState:
        return replace(self, returned=list(self.returned), serving=list(self.serving))

    def grew(self, size: int) -> None:
        self.ready += 1
        self.ready_bytes += size
        if self.queue.max_bytes is not None and self.ready_bytes > self.queue.max_bytes:
            self.full = True

    def shrank(self, count: int, size: int) -> None:
        self.ready -= count
        self.ready_bytes -= size
        if self.full and self.ready_bytes <= (self.queue.max_bytes or 0) * REOPEN_SHARE:
            self.full = False


@dataclass(slots=True)
class _ConsumerState:
    queue: str
    prefetch: int
    in_hand: dict[int, InHand] = field(default_factory=dict)

    def copy(self) -> _ConsumerState:
        return replace(self, in_hand=dict(self.in_hand))

    @property
    def credit(self) -> int:
        return self.prefetch - len(self.in_hand)


@dataclass(slots=True)
class _State:
    queues: dict[str, _QueueState]
    consumers: dict[int, _ConsumerState] = field(default_factory=dict)

    def copy(self) -> _State:
        return _State(
            {name: queue.copy() for name, queue in self.queues.items()},
            {number: consumer.copy() for number, consumer in self.consumers.items()},
        )


class Queues:
    """All queues of one file."""

    def __init__(self, file: BrokerFile, queues: Sequence[Queue]) -> None:
        """Take stock of the file: what was in hand when the last owner ended is ready again, or a dead letter."""
        self._file = file
        self._state = _State({queue.name: _QueueState(queue) for queue in queues})
        self.recount()
        self._file.begin()
        for queue in queues:
            if queue.held is not None:  # its holder ended with the last owner
                self._file.empty(queue.name)
        _Turn(self._file, self._state.copy()).bury_worn_out()
        self._file.commit()
        self.recount()

    def recount(self) -> None:
        """Count anew what is ready, from the file: at the start, and after an error that left its outcome unknown."""
        state = self._state
        for name, queue in state.queues.items():
            found = self._file.ready(name)
            in_hand = [
                number for holder in state.consumers.values() if holder.queue == name for number in holder.in_hand
            ]
            held = self._file.ready_among(name, in_hand)
            queue.last = max(queue.last, found.last)
            queue.ready = queue.ready_bytes = 0
            queue.full = False
            queue.grew(found.size - held.size)
            queue.ready = found.messages - held.messages
            if queue.returned:  # an acknowledgement thought to have failed may have happened
                present = {row.id for row in self._file.some(name, [number for number, _ in queue.returned])}
                queue.returned = [entry for entry in queue.returned if entry[0] in present]
                heapq.heapify(queue.returned)

    def turn(self, operations: Iterable[Operation]) -> Outcome:
        """Carry operations out, in order, and hand out what consumers have room for; durable on return.

        Raises TurnFailedError: nothing has changed in memory.
        """
        committing = False
        try:
            turn = _Turn(self._file, self._state.copy())
            self._file.begin()
            for operation in operations:
                turn.carry_out(operation)
            turn.finish()
            committing = True
            self._file.commit()
        except Exception as exc:
            self._file.rollback()
            raise TurnFailedError(exc, unknown=committing) from exc
        self._state = turn.state
        return turn.outcome


class _Turn:
    """One turn, on a copy of the state: thrown away if anything fails."""

    def __init__(self, file: BrokerFile, state: _State) -> None:
        self._file = file
        self.state = state
        self.outcome = Outcome()
        self._fresh: dict[str, list[Row]] = {name: [] for name in state.queues}
        self._settled: dict[str, list[int]] = {name: [] for name in state.queues}

    def carry_out(self, operation: Operation) -> None:
        """Do one operation and note its answer."""
        answer: Any = None
        try:
            match operation:
                case Publish():
                    self._publish(operation)
                case Settle():
                    self._settle(operation)
                case Join():
                    self._join(operation)
                case Leave():
                    self._leave(operation)
                case Inspect():
                    pass  # answered at the end
        except BrokerError as refusal:
            answer = refusal
        self.outcome.answers.append((operation, answer))

    def finish(self) -> None:
        """Write what the operations left to write, dead letters first, and deliver."""
        for name in self.state.queues:
            if self._settled[name]:
                self._file.delete(name, self._settled[name])
        for queue in self.state.queues.values():
            self._deliver(queue)
            self._drop_oldest(queue)
        for index, (operation, _) in enumerate(self.outcome.answers):
            if isinstance(operation, Inspect):
                queue = self.state.queues[operation.queue]
                self.outcome.answers[index] = (operation, QueueState(queue.ready, len(queue.serving)))

    def _publish(self, operation: Publish) -> None:
        queues = [self.state.queues[name] for name in operation.queues]
        targets = [queue for queue in queues if queue.queue.held is None or queue.serving]
        if not targets:
            raise UnroutableError(f"nobody holds {' or '.join(operation.queues)}")
        for queue in targets:
            if queue.full:
                raise BrokerFullError(f"the queue {queue.queue.name} holds {queue.ready_bytes} bytes: at its limit")
        for queue in targets:
            queue.last += 1
            queue.grew(len(operation.record.body))
            self._fresh[queue.queue.name].append(Row(queue.last, 0, operation.record))

    def _settle(self, operation: Settle) -> None:
        consumer = self.state.consumers.get(operation.consumer)
        held = consumer.in_hand.pop(operation.id, None) if consumer is not None else None
        if consumer is None or held is None:
            return  # it was given back when its consumer closed
        if operation.give_back:
            self._give_back(self.state.queues[consumer.queue], operation.id, held)
        else:
            self._settled[consumer.queue].append(operation.id)

    def _give_back(self, queue: _QueueState, id: int, held: InHand) -> None:
        limit = queue.queue.delivery_limit
        if queue.queue.held is not None and not queue.serving:
            self._settled[queue.queue.name].append(id)
        elif limit is not None and held.attempts > limit:
            self._bury(queue, id, held.attempts)
        else:
            heapq.heappush(queue.returned, (id, held.size))
            queue.grew(held.size)

    def _bury(self, queue: _QueueState, id: int, attempts: int) -> None:
        """Move a message, whole, to the dead letters (or forget it where the queue has none, as RabbitMQ does)."""
        for row in self._file.some(queue.queue.name, [id]):
            if queue.queue.dead_letter is not None:
                headers = msgspec.json.decode(row.record.headers)
                headers.setdefault("x-first-death-exchange", row.record.exchange)
                headers.setdefault("x-first-death-queue", queue.queue.name)
                headers.setdefault("x-first-death-reason", "delivery_limit")
                headers["x-delivery-count"] = attempts
                dead = self.state.queues[queue.queue.dead_letter]
                dead.last += 1
                dead.grew(len(row.record.body))
                record = replace(row.record, headers=msgspec.json.encode(headers).decode())
                self._file.insert(dead.queue.name, [Row(dead.last, 0, record)])
            self._settled[queue.queue.name].append(id)

    def bury_worn_out(self) -> None:
        """Dead-letter what came back too often because its consumers' process died each time."""
        for name, queue in self.state.queues.items():
            limit = queue.queue.delivery_limit
            if limit is not None:
                for number, attempts in self._file.tried_more_than(name, limit):
                    self._bury(queue, number, attempts)
                self._file.delete(name, self._settled[name])

    def _join(self, operation: Join) -> None:
        queue = self.state.queues[operation.queue]
        if queue.exclusive or (operation.exclusive and queue.serving):
            raise ConsumerRefusedError(f"the queue {operation.queue} has a consumer that does not share it")
        queue.exclusive = operation.exclusive or queue.queue.held is not None
        queue.serving.append(operation.consumer)
        self.state.consumers[operation.consumer] = _ConsumerState(operation.queue, operation.prefetch)

    def _leave(self, operation: Leave) -> None:
        consumer = self.state.consumers.get(operation.consumer)
        if consumer is None:
            return
        queue = self.state.queues[consumer.queue]
        if operation.consumer in queue.serving:
            queue.serving.remove(operation.consumer)
            queue.exclusive = False
            if queue.queue.held is not None:
                self._empty(queue)
        if operation.give_back:
            for number, held in consumer.in_hand.items():
                self._give_back(queue, number, held)
            del self.state.consumers[operation.consumer]

    def _empty(self, queue: _QueueState) -> None:
        """Forget all messages of a queue, as if it were gone."""
        self._file.empty(queue.queue.name)
        self._fresh[queue.queue.name].clear()
        queue.returned.clear()
        queue.cursor, queue.ready, queue.ready_bytes, queue.full = queue.last, 0, 0, False

    def _deliver(self, queue: _QueueState) -> None:
        """Hand out the oldest ready messages, one consumer after the other, and write what came in."""
        name, fresh = queue.queue.name, self._fresh[queue.queue.name]
        room = min(queue.ready, sum(max(0, self.state.consumers[name].credit) for name in queue.serving))
        taken = self._take_returned(queue, room)
        if room > len(taken) and queue.ready - len(queue.returned) - len(taken) > len(fresh):
            self._file.insert(name, fresh)  # older ones wait in the file: read all from there, in order
            fresh = []
            taken += self._file.after(name, queue.cursor, room - len(taken))
        if taken:
            self._file.mark(name, [row.id for row in taken])
        direct = fresh[: room - len(taken)]
        rows = [Row(row.id, 1, row.record) for row in direct] + fresh[len(direct) :]
        if rows:
            self._file.insert(name, rows)
        for row in (*taken, *direct):
            queue.cursor = max(queue.cursor, row.id)
            queue.shrank(1, len(row.record.body))
            self._hand(queue, Row(row.id, row.attempts + 1, row.record))

    def _take_returned(self, queue: _QueueState, room: int) -> list[Row]:
        ids = [heapq.heappop(queue.returned)[0] for _ in range(min(room, len(queue.returned)))]
        return self._file.some(queue.queue.name, ids) if ids else []

    def _hand(self, queue: _QueueState, row: Row) -> None:
        """Give a message to the next consumer with room; the caller knows that there is one."""
        while True:
            name = queue.serving.pop(0)
            queue.serving.append(name)
            consumer = self.state.consumers[name]
            if consumer.credit > 0:
                consumer.in_hand[row.id] = InHand(len(row.record.body), row.attempts)
                self.outcome.handed.append(Handed(name, row))
                return

    def _drop_oldest(self, queue: _QueueState) -> None:
        """Keep a capped queue within its length."""
        limit = queue.queue.max_length
        excess = queue.ready - limit if limit is not None else 0
        if excess <= 0:
            return
        dropped = [heapq.heappop(queue.returned) for _ in range(min(excess, len(queue.returned)))]
        if excess > len(dropped):
            dropped += self._file.sizes_after(queue.queue.name, queue.cursor, excess - len(dropped))
            queue.cursor = max(queue.cursor, dropped[-1][0])
        self._file.delete(queue.queue.name, [number for number, _ in dropped])
        queue.shrank(len(dropped), sum(size for _, size in dropped))
