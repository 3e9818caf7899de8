"""The asyncio engine.

- `workers.worker`: stores receipts and appends to the ledger; scale it
- `workers.totals`: merges and publishes; one is active
- `workers.queues`: how the broker's queues are doing
- `workers.metrics`: what both tell Prometheus
"""

from workers.metrics import TotalsMetrics, WorkerMetrics
from workers.totals import TotalsConfig, TotalsKeeper
from workers.worker import Worker, WorkerConfig

__all__ = ["TotalsConfig", "TotalsKeeper", "TotalsMetrics", "Worker", "WorkerConfig", "WorkerMetrics"]
