"""The engine room: what both engines, the entrypoint's queries and the audit share. It knows broker and store.

- `engine.worker`: takes frames as they are delivered, flushes them, acknowledges them; scale it
- `engine.doubtful`: frames whose flush failed; `engine.holding`: frames that are not for this process;
  `engine.memory`: how much a worker holds
- `engine.keeper`: merges the totals and has `engine.publisher` publish them; one is active
- `engine.queue_watch`: how the broker's queues are doing
- `engine.metrics`: what both tell Prometheus

- `engine.prepare`: reading a frame before anything is written
- `engine.flush`: claims, ledger entries, partials; `engine.contents`: repetition or conflict, across releases
- `engine.rejecting`: keeping what cannot be counted; `engine.announcing`: saying what the store holds
- `engine.partials`: partials on the wire
- `engine.totals`: merging the ledger, checkpoints; `engine.checkpoint`: where a checkpoint's documents are
- `engine.queries`: totals as of a request
- `engine.messages`: what is published every second; of that, `engine.activity` knows who did something in the last
  minute, and `engine.recent` that minute's delays
- `engine.audit`: do the stored data add up? Its rooms are `engine.audit_snapshot` for what is compared,
  `engine.audit_writers` for the numbers of entries, `engine.audit_loose` for events without an entry,
  `engine.audit_detail` for differences one by one, `engine.fingerprints`, `engine.frame_filter`
- `engine.repair`: counting what a lost frame left behind; `engine.rebuild`: the totals anew from the stored events
- `engine.quarantine`: what was rejected, replayed or discarded; `engine.dead_letters`: frames that nobody could count
"""

from engine.activity import Activity, WorkerShare
from engine.announcing import Announcer
from engine.audit import audit
from engine.audit_report import AuditReport
from engine.dead_letters import DeadLetter, dead_letters, discard_dead_letter, replay_dead_letter
from engine.flush import Flushed, Flusher
from engine.holding import FrameCheck, Identified
from engine.keeper import TotalsConfig, TotalsKeeper
from engine.memory import LEAST_WORKER_MEMORY, WORKER_MEMORY, HeldBytes
from engine.messages import EngineState, View, messages
from engine.metrics import TotalsMetrics, WorkerMetrics
from engine.partials import Partial, PartialError, partial_message, read_partial, worker_name
from engine.prepare import PreparedFrame, prepare
from engine.quarantine import NotReplayedError, describe, discard, replay
from engine.queries import TotalsNotReadError, TotalsReader, read_day, read_totals
from engine.rebuild import NotRebuiltError, Rebuilt, rebuild
from engine.recent import DelayWindow, RecentDelays
from engine.repair import NotRepairableError, Repaired, repair, unrest
from engine.totals import REMEMBERED_SECONDS, Merged, Totals
from engine.worker import GIVE_BACK_AFTER_S, Source, Worker, WorkerConfig

__all__ = [
    "GIVE_BACK_AFTER_S",
    "LEAST_WORKER_MEMORY",
    "REMEMBERED_SECONDS",
    "WORKER_MEMORY",
    "Activity",
    "Announcer",
    "AuditReport",
    "DeadLetter",
    "DelayWindow",
    "EngineState",
    "Flushed",
    "Flusher",
    "FrameCheck",
    "HeldBytes",
    "Identified",
    "Merged",
    "NotRebuiltError",
    "NotRepairableError",
    "NotReplayedError",
    "Partial",
    "PartialError",
    "PreparedFrame",
    "Rebuilt",
    "RecentDelays",
    "Repaired",
    "Source",
    "Totals",
    "TotalsConfig",
    "TotalsKeeper",
    "TotalsMetrics",
    "TotalsNotReadError",
    "TotalsReader",
    "View",
    "Worker",
    "WorkerConfig",
    "WorkerMetrics",
    "WorkerShare",
    "audit",
    "dead_letters",
    "describe",
    "discard",
    "discard_dead_letter",
    "messages",
    "partial_message",
    "prepare",
    "read_day",
    "read_partial",
    "read_totals",
    "rebuild",
    "repair",
    "replay",
    "replay_dead_letter",
    "unrest",
    "worker_name",
]
