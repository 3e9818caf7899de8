"""The asyncio engine: what it has beyond the engine room, whose `Worker` and `TotalsKeeper` its two processes run.

- `workers.sources`: workers take their frames from a queue of the broker

The processes are `tillstream worker` and `tillstream totals`, put together in `cli.roles`.
"""

from workers.sources import QueueSource

__all__ = ["QueueSource"]
